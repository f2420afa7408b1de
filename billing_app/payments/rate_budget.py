"""One rate budget for requests to Stripe, shared by all processes (docs.stripe.com/rate-limits).

A bucket of tokens in the database, from which a process takes a few at a time: one for each
request. Less important requests leave a part of the bucket to those that are more important. When
Stripe answers 429, the rate is halved for everybody and comes back within seconds.

It slows requests down and never stops them for long: a customer's request goes on after a short
wait, and without a database each process keeps to a small rate of its own.
"""

import asyncio
import math
import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy import text

from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.db.engine import Database

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """Of requests: those that somebody waits for come first."""

    CUSTOMER = 0
    WEBHOOK = 1
    RECONCILE = 2


# The bucket holds so many seconds of requests; of which each priority leaves a part to others.
BUCKET_SECONDS: Final = 0.2
LEFT_TO_OTHERS: Final = {Priority.CUSTOMER: 0.0, Priority.WEBHOOK: 0.25, Priority.RECONCILE: 0.5}
# How long a request waits for its token. Then a customer's goes on, and others fail as if Stripe
# did not respond: they are tried again.
PATIENCE_SECONDS: Final = {
    Priority.CUSTOMER: 2.0,
    Priority.WEBHOOK: 15.0,
    Priority.RECONCILE: 25.0,
}
DATABASE_SECONDS: Final = 0.5
# A process takes the tokens of so much time at once, and uses them soon.
BLOCK_SECONDS: Final = 0.06
BLOCK_LIVES_SECONDS: Final = 0.25
# Without a database, each process keeps to this share.
ALONE_SHARE: Final = 0.1
ALONE_SECONDS: Final = 5.0
SLOWEST_SHARE: Final = 0.05
RECOVERY_SECONDS: Final = 30.0
RETRY_AFTER_MOST_SECONDS: Final = 10.0
MIN_PAUSE_SECONDS: Final = 0.02

TAKE: Final = text("""
    WITH found AS (
        SELECT tokens, per_second,
               extract(epoch FROM clock_timestamp() - refilled_at)::float8 AS elapsed
        FROM provider_budget WHERE id = 1 FOR UPDATE
    ), passed AS (
        SELECT tokens, per_second, least(greatest(elapsed, 0), 10) AS passed FROM found
    ), refilled AS (
        SELECT least(per_second * :bucket_seconds, tokens + per_second * passed) AS tokens,
               least(:most, per_second + :most * passed / :recovery_seconds) AS per_second
        FROM passed
    ), granted AS (
        SELECT tokens, per_second,
               greatest(0, least(:wanted, floor(
                   tokens - :left_to_others * per_second * :bucket_seconds)))::int AS granted
        FROM refilled
    )
    UPDATE provider_budget AS budget
    SET tokens = granted.tokens - granted.granted, per_second = granted.per_second,
        refilled_at = clock_timestamp()
    FROM granted WHERE budget.id = 1
    RETURNING granted.granted, budget.tokens, budget.per_second,
              set_config('synchronous_commit', 'off', true)
""")
BEGIN: Final = text("""
    INSERT INTO provider_budget (id, tokens, per_second, refilled_at)
    VALUES (1, 1, :most, clock_timestamp()) ON CONFLICT DO NOTHING
""")
SLOW_DOWN: Final = text("""
    UPDATE provider_budget
    SET per_second = greatest(:least, per_second / 2), slowed_at = clock_timestamp(),
        tokens = least(tokens, 0) - per_second / 2 * :pause_seconds, refilled_at = clock_timestamp()
    WHERE id = 1 AND (slowed_at IS NULL
                      OR slowed_at NOT BETWEEN clock_timestamp() - interval '1 second'
                                           AND clock_timestamp())
""")

requests_total: Final = Counter(
    "billing_stripe_budget_requests_total",
    "Requests to Stripe by what the rate budget said: granted, overdrawn, alone, gave_up",
    ["priority", "result"],
)
wait_seconds: Final = Histogram(
    "billing_stripe_budget_wait_seconds",
    "How long requests to Stripe waited for the rate budget",
    ["priority"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 30),
)

_priority: Final[ContextVar[Priority]] = ContextVar("stripe_priority", default=Priority.CUSTOMER)


@contextmanager
def at_priority(priority: Priority) -> Generator[None]:
    """Requests to Stripe in the block have this priority, or that of a block around it if it is
    less important."""
    token = _priority.set(max(priority, _priority.get()))
    try:
        yield
    finally:
        _priority.reset(token)


@dataclass(slots=True)
class _Block:
    """Tokens of this process, not for requests that are less important than `priority`."""

    priority: Priority
    tokens: int
    ends_at: float


@dataclass(slots=True)
class RateBudget:
    """Of one process. `per_second`: what all processes together may send."""

    _database: Database
    per_second: float
    _blocks: list[_Block] = field(default_factory=list[_Block], init=False)
    _turns: dict[Priority, asyncio.Lock] = field(
        default_factory=dict[Priority, asyncio.Lock], init=False
    )
    _loop: Any = field(default=None, init=False)
    _alone_until: float = field(default=0.0, init=False)
    _alone_at: float = field(default=0.0, init=False)

    async def take(self) -> None:
        """Wait for the token of one request. Raises PaymentProviderUnavailableError when there is
        none in time, unless a customer waits."""
        priority, began_at = _priority.get(), time.monotonic()
        result = await self._taken(priority, began_at + PATIENCE_SECONDS[priority])
        requests_total.labels(priority.name.lower(), result).inc()
        wait_seconds.labels(priority.name.lower()).observe(time.monotonic() - began_at)
        if result == "gave_up":
            raise PaymentProviderUnavailableError("Too many requests wait for Stripe.")

    async def slow_down(self, retry_after_seconds: float) -> None:
        """Stripe refused a request: halve the rate, once a second at most, and pause."""
        pause = min(max(retry_after_seconds, 0.0), RETRY_AFTER_MOST_SECONDS)
        values = {"least": self.per_second * SLOWEST_SHARE, "pause_seconds": pause}
        self._blocks.clear()
        try:
            async with asyncio.timeout(DATABASE_SECONDS), self._database.transaction() as session:
                await (await session.connection()).execute(SLOW_DOWN, values)
        except Exception as error:
            self._go_alone(error)

    async def _taken(self, priority: Priority, until: float) -> str:
        while True:
            async with self._turn(priority):
                if self._from_block(priority):
                    return "granted"
                now = time.monotonic()
                pause = self._alone(now) if now < self._alone_until else await self._fetch(priority)
                if pause is None:
                    is_alone = time.monotonic() < self._alone_until
                    return "alone" if is_alone else "granted"
                left = until - time.monotonic()
                if left <= 0:
                    return "overdrawn" if priority is Priority.CUSTOMER else "gave_up"
                await asyncio.sleep(min(pause * random.uniform(1, 1.3), left))  # noqa: S311

    def _turn(self, priority: Priority) -> asyncio.Lock:
        """One of each priority asks at a time; the others then share its block."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._turns = loop, {}
        return self._turns.setdefault(priority, asyncio.Lock())

    def _from_block(self, priority: Priority) -> bool:
        now = time.monotonic()
        self._blocks = [each for each in self._blocks if each.tokens and each.ends_at > now]
        usable = [each for each in self._blocks if each.priority >= priority]
        if not usable:
            return False
        max(usable, key=lambda each: each.priority).tokens -= 1
        return True

    async def _fetch(self, priority: Priority) -> float | None:
        """Take a block and one token of it; else how long to wait."""
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                granted, tokens, per_second = await self._grant(priority)
        except Exception as error:
            self._go_alone(error)
            return self._alone(time.monotonic())
        if granted:
            ends_at = time.monotonic() + BLOCK_LIVES_SECONDS
            self._blocks.append(_Block(priority, granted - 1, ends_at))
            return None
        left = LEFT_TO_OTHERS[priority] * per_second * BUCKET_SECONDS
        return max(MIN_PAUSE_SECONDS, (left + 1 - tokens) / per_second)

    async def _grant(self, priority: Priority) -> tuple[int, float, float]:
        values = {
            "most": self.per_second,
            "wanted": max(1, math.floor(self.per_second * BLOCK_SECONDS)),
            "left_to_others": LEFT_TO_OTHERS[priority],
            "bucket_seconds": BUCKET_SECONDS,
            "recovery_seconds": RECOVERY_SECONDS,
        }
        async with self._database.transaction() as session:
            connection = await session.connection()
            row = (await connection.execute(TAKE, values)).first()
            if row is None:
                await connection.execute(BEGIN, {"most": self.per_second})
                return 0, 1.0, self.per_second
        return row[0], row[1], row[2]

    def _go_alone(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._alone_until:
            log.warning("stripe_budget_unreachable", error=type(error).__name__)
            self._alone_at = now
        self._alone_until = now + ALONE_SECONDS

    def _alone(self, now: float) -> float | None:
        """Keep to this process's own small rate; None: go on."""
        if now < self._alone_at:
            return self._alone_at - now
        self._alone_at = max(self._alone_at, now - 1) + 1 / (self.per_second * ALONE_SHARE)
        return None
