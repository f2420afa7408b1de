"""Group commit: requests gather while the last transaction commits, then share the next one.

No timer: a lone request starts its transaction at once. From the queue (GroupCommit) through
retries (RetryingLane) to a connection (WritingLane, ReadLane).
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog

from billing_app import tracing
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.errors import CannotDecideError
from billing_app.billing.executions import store
from billing_app.billing.executions.decision_metrics import (
    Count,
    count_batch,
    queue_full,
    retries,
)
from billing_app.billing.executions.directory import Directory, Targets
from billing_app.billing.executions.driver import Connection, Transactions
from billing_app.billing.executions.requests import CheckRequest, Decision, Request

MAX_BATCH: Final = 1000
LARGE_BATCH: Final = 100
MAX_QUEUED: Final = 20_000
MAX_ATTEMPTS: Final = 4
RETRY_SECONDS: Final = 0.1
READ_KEYS_FIRST_SECONDS: Final = 1.0
RETRY: Final = "Try again; a retry with the same Idempotency-Key counts once."
NO_ANSWER: Final = f"The database did not respond. {RETRY}"
UNREACHABLE: Final = f"The database is not reachable. {RETRY}"
LOCKED: Final = f"The account is locked. {RETRY}"

LOST_CONNECTION: Final = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
TRANSIENT: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
)

log = structlog.get_logger(__name__)


Spent = Callable[[Iterable[int]], None]
"""Is given the accounts whose executions were used or held, once that is committed."""


class Alerts(Protocol):
    """Follows what was decided, for alerts (alerts/watch.py)."""

    @property
    def rule_book(self) -> RuleBook: ...

    def committed(
        self,
        requests: Sequence[Request],
        decisions: Sequence[Decision],
        targets: Targets,
        alerted: Collection[int],
    ) -> None:
        """`alerted`: accounts with new alerts that no worker has heard of. Never waits."""
        ...


class Lane(ABC):
    """One connection; a batch is one transaction."""

    def __init__(self, connection: Connection, directory: Directory) -> None:
        self._connection = connection
        self._directory = directory

    @property
    def is_closed(self) -> bool:
        return self._connection.is_closed()

    @abstractmethod
    async def decide(self, requests: Sequence[Request]) -> list[Decision]: ...

    async def rest(self) -> None:  # noqa: B027 - only a lane that writes has a transaction to end
        """No request is waiting."""

    def terminate(self) -> None:
        self._connection.terminate()

    async def close(self) -> None:
        await self._connection.close(timeout=1)


class WritingLane(Lane):
    """Decides and writes. Idempotency keys are nearly always new, so a batch assumes that they
    are. When one turns out to be known, the batch starts again and reads its keys first, as do
    all batches of the next second, because retries come in bursts."""

    def __init__(
        self,
        connection: Connection,
        directory: Directory,
        is_more_waiting: Callable[[], bool],
        *,
        spent: Spent | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        super().__init__(connection, directory)
        self._spent = spent
        self._alerts = alerts
        self._transactions = Transactions(connection, is_more_waiting)
        self._read_keys_first_until = 0.0

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        if time.monotonic() >= self._read_keys_first_until and _are_check_requests(requests):
            try:
                return await self._transact(requests, read_keys_first=False)
            except (store.KnownKeyError, asyncpg.UniqueViolationError):
                self._read_keys_first_until = time.monotonic() + READ_KEYS_FIRST_SECONDS
        return await self._transact(requests, read_keys_first=True)

    async def rest(self) -> None:
        await self._transactions.end()

    async def _transact(
        self, requests: Sequence[Request], *, read_keys_first: bool
    ) -> list[Decision]:
        async with self._transactions as connection:
            targets, new = await store.resolve(connection, self._directory, requests)
            decisions = await store.decide_in_transaction(
                connection, self._directory, requests, targets, read_keys_first=read_keys_first
            )
        self._directory.keep(new)
        self._report(requests, decisions, targets, ())
        return decisions

    def _report(
        self,
        requests: Sequence[Request],
        decisions: Sequence[Decision],
        targets: Targets,
        alerted: Collection[int],
    ) -> None:
        """What was committed, to those who follow it."""
        if self._spent is not None:
            self._spent([account for account in targets.values() if isinstance(account, int)])
        if self._alerts is not None:
            self._alerts.committed(requests, decisions, targets, alerted)


class ReadLane(Lane):
    """Decides checks; locks and changes nothing."""

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        checks = [request for request in requests if isinstance(request, CheckRequest)]
        return await store.check(self._connection, self._directory, checks)


def _are_check_requests(requests: Sequence[Request]) -> bool:
    """Other requests often have known keys: a second commit gets the first one's answer."""
    return all(isinstance(request, CheckRequest) for request in requests)


class RetryingLane:
    """A lane that is opened by its first batch, and reopened when its connection is lost."""

    def __init__(self, name: str, open_lane: Callable[[], Awaitable[Lane]]) -> None:
        self._name = name
        self._open_lane = open_lane
        self._lane: Lane | None = None

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        """Decide all in one transaction; when one request makes that fail, decide each alone."""
        try:
            return await self._attempt(requests)
        except CannotDecideError as error:
            return [error for _ in requests]
        except Exception as error:
            if len(requests) == 1:
                log.warning("request_undecided", lane=self._name, error=repr(error))
                return [CannotDecideError(NO_ANSWER)]
            if isinstance(error, LOST_CONNECTION):
                log.warning("batch_undecided", lane=self._name, size=len(requests))
                return [CannotDecideError(UNREACHABLE) for _ in requests]
            log.warning("batch_split", lane=self._name, size=len(requests), error=repr(error))
        return await self._decide_singly(requests)

    async def rest(self) -> None:
        """No request is waiting."""
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
        """Decide each alone. A locked account delays the batch by one lock time-out at most."""
        decided: list[Decision] = []
        locked: set[object] = set()
        for request in requests:
            account = _account_of(request)
            if account in locked:
                decided.append(CannotDecideError(LOCKED))
                continue
            try:
                decided.extend(await self._attempt([request]))
            except CannotDecideError as error:
                decided.append(error)
            except Exception as error:
                log.warning("request_undecided", lane=self._name, error=repr(error))
                decided.append(CannotDecideError(NO_ANSWER))
                if isinstance(error, asyncpg.LockNotAvailableError):
                    locked.add(account)
        return decided

    async def _attempt(self, requests: Sequence[Request]) -> list[Decision]:
        """Retry transient errors; idempotency keys make that safe even after a lost commit."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                if self._lane is None or self._lane.is_closed:
                    self._lane = await self._open_lane()
                return await self._lane.decide(requests)
            except (*LOST_CONNECTION, *TRANSIENT) as error:
                self._forget_broken(error)
                if attempt == MAX_ATTEMPTS:
                    raise
                retries.labels(self._name).inc()
                await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _forget_broken(self, error: Exception) -> None:
        if isinstance(error, LOST_CONNECTION) and self._lane is not None:
            self._lane.terminate()
            self._lane = None


def _account_of(request: Request) -> object:
    if isinstance(request, CheckRequest):
        return request.organization_id, request.user_id
    return request.account_id


OpenLane = Callable[[Callable[[], bool]], Awaitable[Lane]]
"""Connects a lane; the argument tells whether more requests are waiting."""

_Waiting = tuple[Sequence[Request], asyncio.Future[list[Decision]], float]


class GroupCommit:
    """A queue of requests and one lane that decides them, one transaction at a time.

    A second lane helps only while a large batch is waiting: two lanes make small batches slower,
    but with large ones the work in this process overlaps with the work in the database.
    """

    def __init__(
        self,
        name: str,
        open_lane: OpenLane,
        *,
        has_helper: bool = False,
        count: Count = count_batch,
    ) -> None:
        self._name = name
        self._count = count
        self._waiting: dict[int, deque[_Waiting]] = {}
        self._queued = 0

        self._lane = RetryingLane(name, lambda: open_lane(self._is_any_waiting))
        self._helper = (
            RetryingLane(name, lambda: open_lane(self._is_large_batch_waiting))
            if has_helper
            else None
        )
        self._running: asyncio.Task[None] | None = None
        self._helping: asyncio.Task[None] | None = None

    def submit(
        self, requests: Sequence[Request], shard: int = 0
    ) -> "asyncio.Future[list[Decision]]":
        """Enqueue requests that are decided in one transaction, in order; all of one shard.

        Raises CannotDecideError when the queue is full. Cancelling the future cancels nothing.
        """
        if self._queued + len(requests) > MAX_QUEUED:
            queue_full.labels(self._name).inc(len(requests))
            raise CannotDecideError("Too many requests are waiting. Try again in a second.")
        future: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        tracing.queued(future)
        waiting = (requests, future, time.perf_counter())
        if shard in self._waiting:
            self._waiting[shard].append(waiting)
        else:
            self._waiting[shard] = deque((waiting,))
        self._queued += len(requests)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"group commit {self._name}")
        elif self._helper and self._helping is None and self._is_large_batch_waiting():
            self._helping = asyncio.create_task(
                self._help(self._helper), name=f"group commit {self._name}, helping"
            )
        return future

    @property
    def waiting(self) -> int:
        """Requests for which no transaction has begun."""
        return self._queued

    async def close(self) -> None:
        for task in (self._running, self._helping):
            if task is not None:
                await task
        await self._lane.close()
        if self._helper:
            await self._helper.close()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._serve(self._lane)
                if not self._waiting:
                    await self._lane.rest()
        finally:
            self._running = None

    async def _help(self, helper: RetryingLane) -> None:
        try:
            while self._is_large_batch_waiting():
                await self._serve(helper)
            await helper.rest()
        finally:
            self._helping = None

    async def _serve(self, lane: RetryingLane) -> None:
        batch = self._next_batch()
        requests = [request for group, _, _ in batch for request in group]
        with tracing.batch_span(self._name, [future for _, future, _ in batch], len(requests)):
            decisions = await lane.decide(requests)
        _resolve(batch, decisions)
        now = time.perf_counter()
        waits = [(now - since, len(group)) for group, _, since in batch]
        self._count(self._name, requests, decisions, waits)

    def _next_batch(self) -> list[_Waiting]:
        """Of the shard that has waited longest. While it is decided, those of the others gather."""
        shard = next(iter(self._waiting))
        waiting = self._waiting.pop(shard)
        batch = [waiting.popleft()]
        size = len(batch[0][0])
        while waiting and size + len(waiting[0][0]) <= MAX_BATCH:
            batch.append(waiting.popleft())
            size += len(batch[-1][0])
        if waiting:
            self._waiting[shard] = waiting
        self._queued -= size
        return batch

    def _is_any_waiting(self) -> bool:
        return bool(self._waiting)

    def _is_large_batch_waiting(self) -> bool:
        return self._queued >= LARGE_BATCH


def _resolve(batch: list[_Waiting], decisions: list[Decision]) -> None:
    start = 0
    for group, future, _ in batch:
        end = start + len(group)
        if not future.done():
            future.set_result(decisions[start:end])
        start = end
