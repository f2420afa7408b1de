"""Errors by family of codes, with the figures that explain them.

Every class is a BillingError. `code` is the server's and never changes; `problem` has its members.
"""

from datetime import datetime
from typing import Final

import msgspec

from .answers import NextExecutions


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error document (RFC 9457). What this kind of error does not have is None; only
    `next_executions` is then UNSET, because None means that nothing follows."""

    status: int
    code: str
    title: str = ""
    detail: str = ""
    type: str = "about:blank"
    allowed: bool | None = None
    executions_remaining: int | None = None
    executions_requested: int | None = None
    period_end: datetime | None = None
    upgrade_url: str | None = None
    next_executions: NextExecutions | msgspec.UnsetType | None = msgspec.UNSET
    field: str | None = None
    scope: str | None = None
    payment_url: str | None = None
    decline_reason: str | None = None
    retry_after_seconds: int | None = None


class BillingError(Exception):
    """Base of all errors of this client."""


class ProblemError(BillingError):
    """The server answered with an error document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail or problem.title}")
        self.problem = problem

    @property
    def code(self) -> str:
        return self.problem.code


class DeniedError(ProblemError):
    """402, and 404 `plan_not_found`: the run must not start."""

    @property
    def executions_remaining(self) -> int:
        return self.problem.executions_remaining or 0

    @property
    def executions_requested(self) -> int:
        return self.problem.executions_requested or 0

    @property
    def period_end(self) -> datetime | None:
        return self.problem.period_end

    @property
    def upgrade_url(self) -> str | None:
        """Where the customer gets more."""
        return self.problem.upgrade_url

    @property
    def next_executions(self) -> NextExecutions | None:
        """What comes by itself. None: nothing does, unless `problem.next_executions` is UNSET: then
        the server could not tell."""
        return self.problem.next_executions or None


class PaymentError(ProblemError):
    """402: the card was declined, or the bank asks for a confirmation at `payment_url`."""

    @property
    def payment_url(self) -> str | None:
        return self.problem.payment_url


class NotAuthenticatedError(ProblemError):
    """401: the key is unknown, expired or revoked."""


class ForbiddenError(ProblemError):
    """403: another organization's, or the key lacks the scope in `problem.scope`."""


class NotFoundError(ProblemError):
    """404."""


class ConflictError(ProblemError):
    """409: conflicts with the current state."""


class InvalidRequestError(ProblemError):
    """400, 405, 408, 413, 415, 422: `problem.field` names what is wrong."""


class RateLimitedError(ProblemError):
    """429, and it lasted longer than the time budget."""


class ProviderError(ProblemError):
    """502: Stripe refused, or did not respond, and the outcome is unclear until it is looked up."""


class UndecidedError(ProblemError):
    """503: an item of a batch was not decided in time, or payments are paused
    (`provider_not_adopted`)."""


class ServerError(ProblemError):
    """500: a bug at the server. What came of the request is unclear."""


class UnavailableError(BillingError):
    """No decision within the time budget: do not start the run.

    `is_unclear`: whether something was counted or changed is unknown. Sending the same request with
    the same `idempotency_key` (None: the request needs none) is safe and finds out.
    """

    def __init__(
        self, reason: str, *, attempts: int, is_unclear: bool, idempotency_key: str | None
    ) -> None:
        outcome = "the outcome is unclear" if is_unclear else "nothing was counted or changed"
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        super().__init__(f"No decision after {tries} ({reason}); {outcome}.")
        self.attempts = attempts
        self.is_unclear = is_unclear
        self.idempotency_key = idempotency_key


class UnexpectedAnswerError(BillingError):
    """An answer that is not the billing server's, such as a proxy's page: no decision."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status} is no answer of the billing server: {reason}")
        self.status = status


class WebhookError(BillingError):
    """The webhook is not proven to be from the server: answer 400 and change nothing."""


FAMILIES: Final[dict[int, type[ProblemError]]] = {
    400: InvalidRequestError,
    401: NotAuthenticatedError,
    402: PaymentError,
    403: ForbiddenError,
    404: NotFoundError,
    405: InvalidRequestError,
    408: InvalidRequestError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    500: ServerError,
    502: ProviderError,
    503: UndecidedError,
}
_decoder: Final = msgspec.json.Decoder(Problem)


def problem_of(content: bytes) -> Problem | None:
    """None: not one of the server's documents."""
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def error_of(problem: Problem) -> ProblemError:
    """Of the family of its status; denials are told by their `allowed`."""
    if problem.allowed is False:
        return DeniedError(problem)
    return FAMILIES.get(problem.status, ProblemError)(problem)


def answer_error(status: int, content: bytes) -> BillingError:
    """The error of an answer that is no success."""
    problem = problem_of(content)
    if problem is None:
        return UnexpectedAnswerError(status, "not a problem document")
    return error_of(problem)
