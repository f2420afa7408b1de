"""Deciding a batch in spite of lost connections, locks, and single requests that fail it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog

from billing_app.billing.errors import CannotDecideError
from billing_app.billing.executions import measures
from billing_app.billing.executions.decisions import Decision
from billing_app.billing.executions.lanes import Lane
from billing_app.billing.executions.requests import CheckRequest, Request

MAX_ATTEMPTS: Final = 4
RETRY_SECONDS: Final = 0.1

LOST_CONNECTION: Final = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
PASSING: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
)

log = structlog.get_logger(__name__)


class RetryingLane:
    """A lane that is opened by its first batch, and again when its connection is lost."""

    def __init__(self, name: str, open_lane: Callable[[], Awaitable[Lane]]) -> None:
        self._name = name
        self._open_lane = open_lane
        self._lane: Lane | None = None

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        """Decide all in one transaction; when that fails for what one of them is, each alone."""
        try:
            return await self._attempt(requests)
        except Exception as error:
            if len(requests) == 1:
                log.warning("request_undecided", lane=self._name, error=repr(error))
                return [CannotDecideError("The database could not answer. Try again.")]
            if isinstance(error, LOST_CONNECTION):
                log.warning("batch_undecided", lane=self._name, size=len(requests))
                reason = "The database is not reachable. Try again."
                return [CannotDecideError(reason) for _ in requests]
            log.warning("batch_split", lane=self._name, size=len(requests), error=repr(error))
        return await self._decide_singly(requests)

    async def rest(self) -> None:
        """Nothing waits any more."""
        if self._lane is None:
            return
        try:
            await self._lane.rest()
        except LOST_CONNECTION as error:
            self._forget_broken(error)

    async def close(self) -> None:
        if self._lane is not None:
            await self._lane.close()
            self._lane = None

    async def _decide_singly(self, requests: Sequence[Request]) -> list[Decision]:
        """One locked account costs its own requests one wait in all, the others none."""
        decided: list[Decision] = []
        locked: set[object] = set()
        for request in requests:
            holder = _holder(request)
            if holder in locked:
                decided.append(CannotDecideError("The account is locked. Try again."))
                continue
            try:
                decided.extend(await self._attempt([request]))
            except Exception as error:
                log.warning("request_undecided", lane=self._name, error=repr(error))
                decided.append(CannotDecideError("The database could not answer. Try again."))
                if isinstance(error, asyncpg.LockNotAvailableError):
                    locked.add(holder)
        return decided

    async def _attempt(self, requests: Sequence[Request]) -> list[Decision]:
        """Retry what passes by itself; idempotency keys make that safe after a lost commit."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                if self._lane is None or self._lane.is_closed:
                    self._lane = await self._open_lane()
                return await self._lane.decide(requests)
            except (*LOST_CONNECTION, *PASSING) as error:
                self._forget_broken(error)
                if attempt == MAX_ATTEMPTS:
                    raise
                measures.retries.labels(self._name).inc()
                await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _forget_broken(self, error: Exception) -> None:
        if isinstance(error, LOST_CONNECTION) and self._lane is not None:
            self._lane.terminate()
            self._lane = None


def _holder(request: Request) -> object:
    if isinstance(request, CheckRequest):
        return request.organization_id, request.user_id
    return request.account_id
