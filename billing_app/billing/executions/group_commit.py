"""Group commit: requests gather while the last transaction commits, then share the next one.

No timer: a lone request starts its transaction at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog

from billing_app.billing.errors import CannotDecideError
from billing_app.billing.executions import measures
from billing_app.billing.executions.connection import Connection
from billing_app.billing.executions.decide import Decision
from billing_app.billing.executions.requests import Ask, Request

MAX_BATCH: Final = 1000
MAX_QUEUED: Final = 20_000
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

Transact = Callable[[Connection, Sequence[Request]], Awaitable[list[Decision]]]
Connect = Callable[[], Awaitable[Connection]]
_Waiting = tuple[Sequence[Request], asyncio.Future[list[Decision]]]


class GroupCommit:
    """One lane: one connection, one transaction at a time, any number of waiting requests."""

    def __init__(self, name: str, connect: Connect, transact: Transact) -> None:
        self._name = name
        self._connect = connect
        self._transact = transact
        self._connection: Connection | None = None
        self._waiting: deque[_Waiting] = deque()
        self._queued = 0
        self._running: asyncio.Task[None] | None = None

    def submit(self, requests: Sequence[Request]) -> "asyncio.Future[list[Decision]]":
        """Enqueue requests that are decided in one transaction, in order.

        Raises CannotDecideError when too many wait. Cancelling the future cancels nothing.
        """
        if self._queued + len(requests) > MAX_QUEUED:
            raise CannotDecideError("Too many requests are waiting. Try again shortly.")
        future: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        self._waiting.append((requests, future))
        self._queued += len(requests)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"group commit {self._name}")
        return future

    async def close(self) -> None:
        if self._running is not None:
            await self._running
        if self._connection is not None:
            await self._connection.close(timeout=1)
            self._connection = None

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                requests = [request for group, _ in batch for request in group]
                measures.batch_size.labels(self._name).observe(len(requests))
                decisions = await self._decide(requests)
                _resolve(batch, decisions)
        finally:
            self._running = None

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size = len(batch[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= MAX_BATCH:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0])
        self._queued -= size
        return batch

    async def _decide(self, requests: Sequence[Request]) -> list[Decision]:
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
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                return await self._transact(self._connection, requests)
            except (*LOST_CONNECTION, *PASSING) as error:
                await self._forget_broken(error)
                if attempt == MAX_ATTEMPTS:
                    raise
                measures.retries.labels(self._name).inc()
                await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    async def _forget_broken(self, error: Exception) -> None:
        if isinstance(error, LOST_CONNECTION) and self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _holder(request: Request) -> object:
    if isinstance(request, Ask):
        return request.organization_id, request.user_id
    return request.account_id


def _resolve(batch: list[_Waiting], decisions: list[Decision]) -> None:
    start = 0
    for group, future in batch:
        end = start + len(group)
        if not future.done():
            future.set_result(decisions[start:end])
        start = end
