"""Lanes to the nodes of a Citus cluster.

A batch is one transaction on one node. It names the tables of the shards themselves, so that Citus
plans nothing, and holds the lock by which Citus keeps a shard where it is.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.executions import store
from billing_app.billing.executions.by_shard import account_of, by_shard, targets_of
from billing_app.billing.executions.decide import decide
from billing_app.billing.executions.directory import Directory, Targets
from billing_app.billing.executions.driver import Connection
from billing_app.billing.executions.group_commit import RETRY, Lane, ReadLane, Spent, WritingLane
from billing_app.billing.executions.requests import (
    Accepted,
    CheckRequest,
    Decision,
    Request,
)
from billing_app.billing.executions.shards import MisroutedError, Shard, ShardMap
from billing_app.billing.executions.state import EPOCH, LedgerState
from billing_app.billing.executions.statements import LOCK_SHARDS, ROUTED, Statements

LOCKED_SECONDS: Final = 1.0
MOVING: Final = CannotDecideError(f"The account is being moved to another node. {RETRY}")
FOUND: Final = Accepted(b"")

Form = Callable[[Shard], Statements]
"""How a connection reaches a shard."""


def on_its_node(shard: Shard) -> Statements:
    return shard.statements


def through_coordinator(_: Shard) -> Statements:
    return ROUTED


class ShardLockedError(Exception):
    """A shard of the batch is being moved and did not become free in time."""


class NodeWritingLane(WritingLane):
    """Decides and writes for the shards of one node."""

    def __init__(
        self,
        connection: Connection,
        directory: Directory,
        is_more_waiting: Callable[[], bool],
        *,
        form: Form,
        spent: Spent | None = None,
    ) -> None:
        super().__init__(connection, directory, is_more_waiting, spent=spent)
        self._form = form
        self._locked_until: dict[int, float] = {}
        if form is through_coordinator:
            # That a key is known comes back as an internal error.
            self._read_keys_first_until = math.inf

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        now = time.monotonic()
        self._locked_until = {s: until for s, until in self._locked_until.items() if until > now}
        if not self._locked_until:
            try:
                return await super().decide(requests)
            except ShardLockedError:
                pass
        targets = kept_targets(self._directory, requests)
        return await by_shard(self._directory.shards, requests, targets, self._decide_alone)

    async def _decide_alone(
        self, shard: Shard, requests: Sequence[Request], _: Targets
    ) -> list[Decision]:
        """A shard in a transaction of its own: while one is being moved, the others go on."""
        if shard.number in self._locked_until:
            return [MOVING for _ in requests]
        try:
            return await super().decide(requests)
        except ShardLockedError:
            self._locked_until[shard.number] = time.monotonic() + LOCKED_SECONDS
            return [MOVING for _ in requests]
        except MisroutedError as error:
            return [error for _ in requests]

    async def _transact(
        self, requests: Sequence[Request], *, read_keys_first: bool
    ) -> list[Decision]:
        shards = self._directory.shards
        targets = kept_targets(self._directory, requests)

        async def decide_part(
            shard: Shard, part: Sequence[Request], owned: Targets
        ) -> list[Decision]:
            return await store.decide_in_transaction(
                connection,
                self._directory,
                part,
                owned,
                read_keys_first=read_keys_first,
                sql=self._form(shard),
            )

        try:
            async with self._transactions as connection:
                if self._form is on_its_node:
                    await _lock(connection, _numbers(shards, requests, targets))
                decisions = await by_shard(shards, requests, targets, decide_part)
        except asyncpg.UndefinedTableError:
            raise MisroutedError from None
        self._report_spent(targets)
        return decisions


def _numbers(shards: ShardMap, requests: Sequence[Request], targets: Targets) -> set[int]:
    accounts = {account_of(request, targets) for request in requests}
    return {shards.shard_of(account).number for account in accounts if isinstance(account, int)}


async def _lock(connection: Connection, shards: set[int]) -> None:
    """In a statement of its own: those that follow see what a move has left."""
    try:
        await connection.execute(LOCK_SHARDS, sorted(shards))
    except asyncpg.LockNotAvailableError:
        raise ShardLockedError from None


class NodeReadLane(ReadLane):
    """Decides checks for the shards of one node."""

    def __init__(self, connection: Connection, directory: Directory, *, form: Form) -> None:
        super().__init__(connection, directory)
        self._form = form

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        targets = kept_targets(self._directory, requests)

        async def decide_part(
            shard: Shard, part: Sequence[Request], owned: Targets
        ) -> list[Decision]:
            checks = [request for request in part if isinstance(request, CheckRequest)]
            return await store.check_without_locks(
                self._connection, self._directory, checks, owned, self._form(shard)
            )

        try:
            return await by_shard(self._directory.shards, requests, targets, decide_part)
        except asyncpg.UndefinedTableError:
            raise MisroutedError from None


class DirectoryLane(Lane):
    """Finds accounts through the coordinator, and adds new public users; decides nothing."""

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        """FOUND, or why there is no such account."""
        async with self._connection.transaction():
            targets, new = await store.resolve(self._connection, self._directory, requests)
            named = {r.account_id for r in requests if not isinstance(r, CheckRequest)}
            owners = await self._directory.owners(self._connection, named)
        self._directory.keep(new)
        found: list[Decision] = []
        for request in requests:
            account = account_of(request, targets)
            if isinstance(account, BillingError):
                found.append(account)
            elif isinstance(request, CheckRequest) or account in owners:
                found.append(FOUND)
            else:
                found.extend(decide([request], LedgerState.empty(EPOCH))[0])
        return found


def kept_targets(directory: Directory, requests: Sequence[Request]) -> Targets:
    """Raises MisroutedError when this process has forgotten an account meanwhile."""
    targets: Targets = {}
    for target in targets_of(requests):
        account = directory.kept(target)
        if account is None:
            raise MisroutedError
        targets[target] = account
    return targets
