"""WSGI middleware that counts requests: reserve before, commit after."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Any, TypeAlias

from .blocking import Billing
from .counting import REFUSALS, RUN, FailedRun, Refuse, is_failure, refusal, report_uncounted
from .errors import BillingError
from .runs import Run

Environment: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
App: TypeAlias = Callable[[Environment, StartResponse], Iterable[bytes]]


class CountRequests:
    """Counts each request for which `run` gives one; None: not counted.

    The app finds the run in `environ["billing.run"]`, to say what was used. A request that raises,
    or is answered with a 5xx, is not counted. `refuse` words what the caller gets instead of a run.
    """

    def __init__(
        self,
        app: App,
        billing: Billing,
        run: Callable[[Environment], Run | None],
        refuse: Refuse = refusal,
    ) -> None:
        self._app = app
        self._billing = billing
        self._run = run
        self._refuse = refuse

    def __call__(self, environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
        run = self._run(environ)
        if run is None:
            return self._app(environ, start_response)
        counting = ExitStack()
        try:
            counting.enter_context(self._billing.open(run))
        except REFUSALS as error:
            refused = self._refuse(error)
            phrase = HTTPStatus(refused.status).phrase
            start_response(f"{refused.status} {phrase}", refused.headers())
            return [refused.content]
        return _CountedBody(self._app, {**environ, RUN: run}, start_response, counting)


class _CountedBody:
    """An answer whose run ends with it, as the server closes it."""

    def __init__(
        self, app: App, environ: Environment, start: StartResponse, counting: ExitStack
    ) -> None:
        self._start = start
        self._counting = counting
        self._run: Run = environ[RUN]
        self._status = 0
        with self._released_on_error():
            self._body = app(environ, self._watch)

    def __iter__(self) -> Iterator[bytes]:
        with self._released_on_error():
            yield from self._body

    def close(self) -> None:
        """Called by the server when the answer is sent, or its client is gone."""
        close = getattr(self._body, "close", None)
        with self._released_on_error():
            if close is not None:
                close()
        error = FailedRun() if is_failure(self._status) else None
        try:
            self._counting.__exit__(type(error) if error else None, error, None)
        except BillingError as failure:
            report_uncounted(self._run, failure)

    @contextmanager
    def _released_on_error(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            self._counting.__exit__(type(error), error, error.__traceback__)
            raise

    def _watch(self, status: str, *args: Any, **kwargs: Any) -> Callable[[bytes], object]:
        self._status = int(status.split(" ", 1)[0])
        return self._start(status, *args, **kwargs)
