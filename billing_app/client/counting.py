"""What decorators and middleware share: whose run a call is, and the answer when it is refused."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from .errors import BillingError, DeniedError, RateLimitedError, UnavailableError
from .runs import Run

P = ParamSpec("P")
Returned = TypeVar("Returned")
# A text, or a function of the call's arguments that gives it.
Name: TypeAlias = str | Callable[..., str]
REFUSALS: Final = (DeniedError, RateLimitedError, UnavailableError)
RUN: Final = "billing.run"
SERVER_ERROR: Final = 500
log: Final = logging.getLogger("billing_client")


@dataclass(frozen=True, slots=True)
class Counted:
    """Which run each call of a function is."""

    organization_id: Name
    user_id: Name | None = None
    executions: int = 1
    workflow: str | None = None
    hold_seconds: int | None = None

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
        """`workflow` None: the function's name."""
        return Run(
            _name(self.organization_id, args, kwargs),
            user_id=None if self.user_id is None else _name(self.user_id, args, kwargs),
            executions=self.executions,
            workflow=function.__name__ if self.workflow is None else self.workflow,
            hold_seconds=self.hold_seconds,
        )


class Decorator(Protocol):
    """Gives back a function that is called as before."""

    def __call__(self, function: Callable[P, Returned]) -> Callable[P, Returned]: ...


class AsyncDecorator(Protocol):
    """The same of a coroutine function."""

    def __call__(
        self, function: Callable[P, Awaitable[Returned]]
    ) -> Callable[P, Coroutine[Any, Any, Returned]]: ...


def _name(name: Name, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return name if isinstance(name, str) else name(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the caller of a web service is answered instead of a run."""

    status: int
    content: bytes
    content_type: str = "application/problem+json"
    retry_after_seconds: int | None = None

    def headers(self) -> list[tuple[str, str]]:
        found = [("content-type", self.content_type), ("content-length", str(len(self.content)))]
        if self.retry_after_seconds is not None:
            found.append(("retry-after", str(self.retry_after_seconds)))
        return found


Refuse: TypeAlias = Callable[[BillingError], Refusal]


def refusal(error: BillingError) -> Refusal:
    """402 with the figures for a denial; 429 or 503 to be tried again for no decision."""
    if isinstance(error, DeniedError):
        # `type` would be looked for at this service's own address.
        problem = msgspec.structs.replace(error.problem, status=402, type="about:blank")
        return Refusal(402, msgspec.json.encode(problem))
    status = 429 if isinstance(error, RateLimitedError) else 503
    content = {"type": "about:blank", "status": status, "title": "Try again in a moment"}
    return Refusal(status, msgspec.json.encode(content), retry_after_seconds=1)


def is_failure(status: int) -> bool:
    """Whether the service failed, so that the run is released."""
    return status >= SERVER_ERROR


class FailedRun(Exception):  # noqa: N818
    """Ends the run of a request that the service answered with a server error."""


def report_uncounted(run: Run, error: BillingError) -> None:
    """The answer has been sent: that the run may not be counted can only be logged."""
    log.error("A finished run of %s was not counted: %s", run.organization_id, error)
