"""Group commit: requests gather while the last transaction commits, then share the next one.

No timer: a lone request starts its transaction at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from billing_app.billing.errors import CannotDecideError
from billing_app.billing.executions import measures
from billing_app.billing.executions.decisions import Decision
from billing_app.billing.executions.lanes import Lane
from billing_app.billing.executions.requests import Request
from billing_app.billing.executions.retrying import RetryingLane

MAX_BATCH: Final = 1000
LARGE_BATCH: Final = 100
MAX_QUEUED: Final = 20_000

OpenLane = Callable[[Callable[[], bool]], Awaitable[Lane]]
"""Connects a lane, which may ask whether more requests wait."""

_Waiting = tuple[Sequence[Request], asyncio.Future[list[Decision]]]


class GroupCommit:
    """Any number of waiting requests and one lane, which takes them in one transaction at a time.

    A second lane helps only while a large batch waits: small ones over two lanes cost more than
    they gain, but the work of large ones in this process and in the database overlaps.
    """

    def __init__(self, name: str, open_lane: OpenLane, *, has_helper: bool = False) -> None:
        self._name = name
        self._waiting: deque[_Waiting] = deque()
        self._queued = 0

        self._lane = RetryingLane(name, lambda: open_lane(self._is_any_waiting))
        self._helper = (
            RetryingLane(name, lambda: open_lane(self._is_large_batch_waiting))
            if has_helper
            else None
        )
        self._running: asyncio.Task[None] | None = None
        self._helping: asyncio.Task[None] | None = None

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
        elif self._helper and self._helping is None and self._is_large_batch_waiting():
            self._helping = asyncio.create_task(
                self._help(self._helper), name=f"group commit {self._name}, helping"
            )
        return future

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
        requests = [request for group, _ in batch for request in group]
        measures.batch_size.labels(self._name).observe(len(requests))
        _resolve(batch, await lane.decide(requests))

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size = len(batch[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= MAX_BATCH:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0])
        self._queued -= size
        return batch

    def _is_any_waiting(self) -> bool:
        return bool(self._waiting)

    def _is_large_batch_waiting(self) -> bool:
        return self._queued >= LARGE_BATCH


def _resolve(batch: list[_Waiting], decisions: list[Decision]) -> None:
    start = 0
    for group, future in batch:
        end = start + len(group)
        if not future.done():
            future.set_result(decisions[start:end])
        start = end
