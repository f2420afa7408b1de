"""Lanes to the nodes of a Citus cluster.

A batch is one transaction on one shard. It names the shard's own tables, so that Citus plans
nothing, and holds the lock by which Citus keeps a shard where it is.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.executions import store
from billing_app.billing.executions.by_shard import account_of, targets_of
from billing_app.billing.executions.decide import decide
from billing_app.billing.executions.directory import Directory, Targets
from billing_app.billing.executions.driver import Connection
from billing_app.billing.executions.group_commit import (
    RETRY,
    Alerts,
    Lane,
    ReadLane,
    Spent,
    WritingLane,
)
from billing_app.billing.executions.requests import (
    Accepted,
    CheckRequest,
    Decision,
    Request,
)
from billing_app.billing.executions.shards import MisroutedError, Shard
from billing_app.billing.executions.state import EPOCH, LedgerState
from billing_app.billing.executions.statements import LOCK_SHARD, ROUTED, Statements

LOCKED_SECONDS: Final = 1.0
MOVING: Final = CannotDecideError(f"The account is being moved to another node. {RETRY}")
FOUND: Final = Accepted(b"")

Form = Callable[[Shard], Statements]
"""How a connection reaches a shard."""


def on_its_node(shard: Shard) -> Statements:
    return shard.statements


def through_coordinator(_: Shard) -> Statements:
    return ROUTED


class NodeWritingLane(WritingLane):
    """Decides and writes for the shards of one node; a batch is of one shard."""

    def __init__(
        self,
        connection: Connection,
        directory: Directory,
        is_more_waiting: Callable[[], bool],
        *,
        form: Form,
        spent: Spent | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        super().__init__(connection, directory, is_more_waiting, spent=spent, alerts=alerts)
        self._form = form
        self._locked_until: dict[int, float] = {}
        if form is through_coordinator:
            # That a key is known comes back as an internal error.
            self._read_keys_first_until = math.inf

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        targets = kept_targets(self._directory, requests)
        shard = shard_of(self._directory, requests, targets)
        if self._locked_until.get(shard.number, 0.0) > time.monotonic():
            return [MOVING for _ in requests]
        try:
            return await super().decide(requests)
        except asyncpg.UndefinedTableError:
            raise MisroutedError from None
        except asyncpg.LockNotAvailableError:
            if not await self._is_moving(shard):
                raise
            # One batch has waited for as long as a lock may take. The others of this shard would
            # hold up those of all shards.
            self._locked_until[shard.number] = time.monotonic() + LOCKED_SECONDS
            return [MOVING for _ in requests]

    async def _transact(
        self, requests: Sequence[Request], *, read_keys_first: bool
    ) -> list[Decision]:
        targets = kept_targets(self._directory, requests)
        shard = shard_of(self._directory, requests, targets)
        alerted: set[int] = set()
        async with self._transactions as connection:
            decisions = await store.decide_in_transaction(
                connection,
                self._directory,
                requests,
                targets,
                read_keys_first=read_keys_first,
                sql=self._form(shard),
                alerted=alerted,
            )
        self._report(requests, decisions, targets, alerted)
        return decisions

    async def _is_moving(self, shard: Shard) -> bool:
        """Whether a lock of Citus' is in the way, or one of an account."""
        if self._form is not on_its_node:
            return False
        try:
            await self._connection.execute(LOCK_SHARD.format(shard=shard.number))
        except asyncpg.LockNotAvailableError:
            return True
        return False


class NodeReadLane(ReadLane):
    """Decides checks for the shards of one node."""

    def __init__(self, connection: Connection, directory: Directory, *, form: Form) -> None:
        super().__init__(connection, directory)
        self._form = form

    async def decide(self, requests: Sequence[Request]) -> list[Decision]:
        checks = [request for request in requests if isinstance(request, CheckRequest)]
        targets = kept_targets(self._directory, checks)
        sql = self._form(shard_of(self._directory, checks, targets))
        try:
            return await store.check_without_locks(
                self._connection, self._directory, checks, targets, sql
            )
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


def shard_of(directory: Directory, requests: Sequence[Request], targets: Targets) -> Shard:
    """The shard that all of them are about, as far as the map still knows. Raises MisroutedError
    when a shard was split."""
    accounts = {account_of(request, targets) for request in requests}
    shards = {directory.shards.shard_of(each) for each in accounts if isinstance(each, int)}
    if len(shards) != 1:
        raise MisroutedError
    return shards.pop()
