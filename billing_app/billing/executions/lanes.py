"""What a lane of the group commit does with its connection: decide and write, or only look."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from billing_app.billing.executions import store
from billing_app.billing.executions.connection import Connection
from billing_app.billing.executions.decisions import Decision
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import CheckRequest, Request
from billing_app.billing.executions.transactions import Transactions

LOOK_FIRST_SECONDS: Final = 1.0

Spent = Callable[[Iterable[int]], None]
"""Told of the accounts whose executions were used or held, once that is committed."""


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

    async def rest(self) -> None:  # noqa: B027 - only a lane that writes has something to end
        """Nothing waits any more."""

    def terminate(self) -> None:
        self._connection.terminate()

    async def close(self) -> None:
        await self._connection.close(timeout=1)


class WritingLane(Lane):
    """Decides and writes. Keys are new nearly always: they are taken for new, and only when one
    turns out to be known does the batch start again with a look at the keys first, as do those
    of the next second, because retries come in swarms."""

    def __init__(
        self,
        connection: Connection,
        directory: Directory,
        is_more_waiting: Callable[[], bool],
        *,
        spent: Spent | None = None,
    ) -> None:
        super().__init__(connection, directory)
        self._spent = spent
        self._transactions = Transactions(connection, is_more_waiting)
        self._look_first_until = 0.0

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        if time.monotonic() >= self._look_first_until and _are_asks(requests):
            try:
                return await self._transact(requests, look_first=False)
            except (store.KnownKeyError, asyncpg.UniqueViolationError):
                self._look_first_until = time.monotonic() + LOOK_FIRST_SECONDS
        return await self._transact(requests, look_first=True)

    async def rest(self) -> None:
        await self._transactions.end()

    async def _transact(self, requests: Sequence[Request], *, look_first: bool) -> list[Decision]:
        async with self._transactions as connection:
            targets, new = await store.resolve(connection, self._directory, requests)
            decisions = await store.decide_in_transaction(
                connection, self._directory, requests, targets, look_first=look_first
            )
        self._directory.keep(new)
        if self._spent is not None:
            self._spent([account for account in targets.values() if isinstance(account, int)])
        return decisions


class ReadLane(Lane):
    """Decides checks, locks and changes nothing."""

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        asks = [request for request in requests if isinstance(request, CheckRequest)]
        return await store.check(self._connection, self._directory, asks)


def _are_asks(requests: Sequence[Request]) -> bool:
    """Other requests have known keys by their nature: a second commit is answered as the first."""
    return all(isinstance(request, CheckRequest) for request in requests)
