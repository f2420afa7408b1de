"""When a request is sent again, and for how long."""

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from .errors import BillingError, Problem, RateLimitedError, UnavailableError, problem_of
from .routes import Operation

# Nothing was decided. A later attempt may be.
TOO_MANY: Final = 429
UNDECIDED: Final = frozenset({408, TOO_MANY, 503})
# Of a proxy; ours are about Stripe, and are final.
GATEWAY: Final = frozenset({502, 504})
# Waiting seconds does not help.
FINAL_CODES: Final = frozenset({"provider_not_adopted", "jobs_unavailable"})
UNTOUCHED_CODES: Final = frozenset({"overloaded", "too_many_attempts", "body_timeout"})
# Errors of the caller: the same in each attempt.
CALLER_ERRORS: Final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

LEAST_SHARE: Final = 0.1

Reply = httpx.Response | httpx.RequestError


@dataclass(frozen=True, slots=True)
class Retries:
    """How long to try. `budget_seconds` covers all attempts and the waits between them, except that
    an answer that trickles in may take longer; `attempt_seconds` is the longest silence within one.
    No attempt begins with less than a tenth of that left.

    Waits are random up to a ceiling that doubles from `first_wait_seconds` to `max_wait_seconds`;
    a server's Retry-After is waited out before.
    """

    budget_seconds: float = 10.0
    attempt_seconds: float = 5.0
    first_wait_seconds: float = 0.05
    max_wait_seconds: float = 2.0


class Attempts:
    """The attempts of one operation: what to do after each reply."""

    def __init__(self, retries: Retries, operation: Operation[Any]) -> None:
        self._retries = retries
        self._operation = operation
        self._deadline = time.monotonic() + retries.budget_seconds
        self._count = 0
        self._is_unclear = False

    def timeout_seconds(self) -> float:
        """Of the next attempt."""
        remaining = self._deadline - time.monotonic()
        return max(0.001, min(self._retries.attempt_seconds, remaining))

    def wait_seconds(self, reply: Reply) -> float | None:
        """How long to wait before the next attempt; None: `reply` is the answer.

        Raises UnavailableError or RateLimitedError when the time is up or another attempt could do
        harm, and what the caller did wrong as it is.
        """
        self._count += 1
        if isinstance(reply, CALLER_ERRORS):
            raise reply
        if isinstance(reply, httpx.Response) and reply.status_code not in UNDECIDED | GATEWAY:
            return None
        problem = problem_of(reply.content) if isinstance(reply, httpx.Response) else None
        if isinstance(reply, httpx.Response) and _is_final(reply.status_code, problem):
            return None
        was_untouched = _was_untouched(reply, problem)
        is_reading = self._operation.route.method == "GET"
        self._is_unclear = self._is_unclear or not (was_untouched or is_reading)
        if not self._operation.is_repeatable and not was_untouched:
            raise self._given_up(reply, problem)
        wait_seconds = retry_after_seconds(reply) + self._jitter_seconds()
        if not self._has_time_after(wait_seconds):
            raise self._given_up(reply, problem)
        return wait_seconds

    def item_wait_seconds(self) -> float | None:
        """The same for undecided items of a batch; None: the time is up."""
        self._count += 1
        wait_seconds = self._jitter_seconds()
        return wait_seconds if self._has_time_after(wait_seconds) else None

    def _has_time_after(self, wait_seconds: float) -> bool:
        """An attempt that is cut off at once would only make the outcome unclear."""
        least_seconds = LEAST_SHARE * self._retries.attempt_seconds
        return time.monotonic() + wait_seconds + least_seconds < self._deadline

    def _jitter_seconds(self) -> float:
        ceiling = self._retries.first_wait_seconds * 2.0 ** min(self._count - 1, 30)
        return random.uniform(0, min(ceiling, self._retries.max_wait_seconds))  # noqa: S311

    def _given_up(self, reply: Reply, problem: Problem | None) -> BillingError:
        if isinstance(reply, httpx.Response):
            if reply.status_code == TOO_MANY and problem and not self._is_unclear:
                return RateLimitedError(problem)
            reason = f"HTTP {reply.status_code} {problem.code if problem else ''}".rstrip()
        else:
            reason = str(reply) or type(reply).__name__
        error = UnavailableError(
            reason,
            attempts=self._count,
            is_unclear=self._is_unclear,
            idempotency_key=self._operation.idempotency_key,
        )
        error.__cause__ = reply if isinstance(reply, Exception) else None
        return error


def _is_final(status: int, problem: Problem | None) -> bool:
    if status in GATEWAY:
        return problem is not None
    return problem is not None and problem.code in FINAL_CODES


def _was_untouched(reply: Reply, problem: Problem | None) -> bool:
    """Whether it is certain that the server changed nothing."""
    if isinstance(reply, httpx.Response):
        return problem is not None and problem.code in UNTOUCHED_CODES
    return isinstance(reply, NOT_SENT)


def retry_after_seconds(reply: Reply) -> float:
    """Seconds or an HTTP date (RFC 9110, 10.2.3); 0 without one, or with nonsense."""
    value = reply.headers.get("Retry-After", "") if isinstance(reply, httpx.Response) else ""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
