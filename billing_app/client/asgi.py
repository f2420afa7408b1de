"""ASGI middleware that counts requests: reserve before, commit after."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from .asynchronous import AsyncBilling
from .counting import (
    REFUSALS,
    RUN,
    FailedRun,
    Refusal,
    Refuse,
    is_failure,
    refusal,
    report_uncounted,
)
from .errors import BillingError
from .runs import Run

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class CountRequests:
    """Counts each HTTP request for which `run` gives one; None: not counted.

    The app finds the run in `scope["billing.run"]`, to say what was used. A request that raises, or
    is answered with a 5xx, is not counted. `refuse` words what the caller gets instead of a run.
    """

    def __init__(
        self,
        app: App,
        billing: AsyncBilling,
        run: Callable[[Scope], Run | None],
        refuse: Refuse = refusal,
    ) -> None:
        self._app = app
        self._billing = billing
        self._run = run
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        run = self._run(scope) if scope["type"] == "http" else None
        if run is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._count(run, scope, receive, send)
        except REFUSALS as error:
            if run.decision is not None:
                raise
            await _answer(send, self._refuse(error))

    async def _count(self, run: Run, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        is_done = False
        try:
            async with self._billing.open(run):
                await self._app({**scope, RUN: run}, receive, watch)
                if is_failure(status):
                    raise FailedRun  # noqa: TRY301 - ends the run
                is_done = True
        except FailedRun:
            pass
        except BillingError as error:
            if not is_done:
                raise
            report_uncounted(run, error)


async def _answer(send: Send, refused: Refusal) -> None:
    headers = [(name.encode(), value.encode()) for name, value in refused.headers()]
    start = {"type": "http.response.start", "status": refused.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": refused.content})
