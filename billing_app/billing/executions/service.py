"""Executions: check, consume, reserve, commit, release, refund.

The service authorizes the caller and passes requests to a group commit; requests that name an
account by id are authorized inside the decision, where the account's owner is known.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog

from billing_app.billing.accounts.service import refusal_of_name
from billing_app.billing.actors import ServiceActor, require_scope
from billing_app.billing.errors import (
    BillingError,
    CannotDecideError,
    ForbiddenError,
    WorkflowNotAllowedError,
)
from billing_app.billing.executions import store
from billing_app.billing.executions.cluster import Cluster
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.driver import Connection
from billing_app.billing.executions.group_commit import (
    LOST_CONNECTION,
    TRANSIENT,
    UNREACHABLE,
    Alerts,
    GroupCommit,
    Lane,
    ReadLane,
    Spent,
    WritingLane,
)
from billing_app.billing.executions.requests import (
    CHECK,
    Adjust,
    Caller,
    CheckRequest,
    Decision,
    LeaseRequest,
    Refund,
    Request,
)
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.enums import Scope

# Looked up once, as CHECK is.
_SCOPE: Final = Scope.EXECUTIONS

log = structlog.get_logger(__name__)


class Ledger:
    """An open transaction: decisions and other writes in it are committed together."""

    def __init__(self, connection: Connection, directory: Directory) -> None:
        self.connection = connection
        self.account_ids: set[int] = set()
        self._directory = directory

    async def decide(self, requests: Sequence[Refund | Adjust]) -> list[Decision]:
        """Correct accounts that the caller is authorized for. A refused request changes nothing."""
        self.account_ids.update(request.account_id for request in requests)
        return await store.decide_beside(self.connection, self._directory, requests)


class Executions:
    """One per process: a queue for requests that write, and one for checks."""

    def __init__(
        self,
        database_url: str,
        terms: TrialTerms,
        spent: Spent | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        """`database_url` is `postgresql://…`. Nothing connects before the first request."""
        self._database_url = database_url
        self._spent = spent
        self._alerts = alerts
        self._directory = Directory(terms, alerts.rule_book if alerts else None)

        async def open_writing(is_more_waiting: Callable[[], bool]) -> Lane:
            connection = await store.connect(database_url)
            return WritingLane(
                connection, self._directory, is_more_waiting, spent=spent, alerts=alerts
            )

        async def open_reading(_: Callable[[], bool]) -> Lane:
            return ReadLane(await store.connect(database_url), self._directory)

        self._writes = GroupCommit("write", open_writing, has_helper=True)
        self._checks = GroupCommit("check", open_reading)
        self._cluster: Cluster | None = None
        self._is_cluster_known = False
        self._finding: asyncio.Task[None] | None = None

    async def decide(self, actor: ServiceActor, request: Request) -> Decision:
        """Decide one request. Raises ScopeMissingError, ForbiddenError, CannotDecideError."""
        require_scope(actor, _SCOPE)
        refusal = _refusal(actor, request)
        if refusal is not None:
            return refusal
        if not self._is_cluster_known:
            await self._find_cluster()
        if self._cluster is not None:
            return await self._cluster.decide_one(request)
        lane = self._checks if self._is_read_only(request) else self._writes
        return (await lane.submit((request,)))[0]

    async def decide_each(self, actor: ServiceActor, requests: Sequence[Request]) -> list[Decision]:
        """Decide requests in order and in one transaction; each is accepted or denied alone.

        On a cluster, in one transaction those of accounts on the same node.
        """
        require_scope(actor, _SCOPE)
        refusals = [_refusal(actor, request) for request in requests]
        allowed = [
            request for request, refusal in zip(requests, refusals, strict=True) if refusal is None
        ]
        decided = iter(await self._decide_allowed(allowed) if allowed else [])
        return [refusal or next(decided) for refusal in refusals]

    async def _decide_allowed(self, requests: Sequence[Request]) -> list[Decision]:
        if not self._is_cluster_known:
            await self._find_cluster()
        if self._cluster is not None:
            return await self._cluster.decide(requests)
        return await self._writes.submit(requests)

    def waiting(self) -> dict[str, int]:
        """Requests that wait, by lane."""
        if self._cluster is not None:
            return self._cluster.waiting()
        return {"write": self._writes.waiting, "check": self._checks.waiting}

    @asynccontextmanager
    async def ledger(self) -> AsyncGenerator[Ledger]:
        """A separate transaction: commits when the block ends, rolls back when it raises.

        Raises CannotDecideError when the database does not answer in time.
        """
        try:
            connection = await store.connect(self._database_url)
        except LOST_CONNECTION:
            raise CannotDecideError("The database is not reachable. Try again.") from None
        try:
            ledger = Ledger(connection, self._directory)
            async with connection.transaction():
                await store.find_shards(connection, self._directory)
                await self._read_rules()
                yield ledger
            if self._spent is not None:
                self._spent(ledger.account_ids)
        except (*LOST_CONNECTION, *TRANSIENT, asyncpg.LockNotAvailableError) as error:
            log.warning("repair_undecided", error=repr(error))
            raise CannotDecideError("The database did not respond. Try again.") from None
        finally:
            await connection.close(timeout=1)

    async def unready_because(self) -> str:
        """Why executions cannot be decided, in one line; "" when they can."""
        return await store.unready_because(self._database_url)

    async def close(self) -> None:
        if self._finding is not None:
            await asyncio.wait([self._finding])
        await self._writes.close()
        await self._checks.close()
        if self._cluster is not None:
            await self._cluster.close()

    async def _find_cluster(self) -> None:
        """Find out, once, whether the tables are distributed. Raises CannotDecideError."""
        if self._finding is None:
            self._finding = asyncio.create_task(self._look_for_cluster(), name="find cluster")
        await asyncio.shield(self._finding)

    async def _look_for_cluster(self) -> None:
        try:
            await self._read_rules()
            connection = await store.connect(self._database_url)
            try:
                shards = await self._directory.find_shards(connection)
            finally:
                await connection.close(timeout=1)
        except Exception as error:
            log.warning("cluster_unknown", error=repr(error))
            raise CannotDecideError(UNREACHABLE) from None
        else:
            if shards is not None:
                self._cluster = Cluster(
                    self._database_url, self._directory, self._spent, self._alerts
                )
            self._is_cluster_known = True
        finally:
            self._finding = None

    async def _read_rules(self) -> None:
        if self._alerts is not None:
            await self._alerts.rule_book.load()

    def _is_read_only(self, request: Request) -> bool:
        return (
            isinstance(request, CheckRequest)
            and request.mode is CHECK
            and self._directory.known((request.organization_id, request.user_id)) is not None
        )


def caller_of(actor: ServiceActor) -> Caller:
    return Caller(actor.key_id, actor.organization_id, actor.account_number)


def _refusal(actor: ServiceActor, request: Request) -> BillingError | None:
    """A key of one organization, or of one person, cannot name another, whether that exists or not;
    a key of a workflow counts for that one."""
    if not isinstance(request, CheckRequest) or actor.organization_id is None:
        return None
    reason = refusal_of_name(actor, request.organization_id, request.user_id)
    if reason:
        return ForbiddenError(reason)
    if actor.workflow and request.workflow != actor.workflow:
        if request.workflow or isinstance(request, LeaseRequest):
            return WorkflowNotAllowedError(workflow=actor.workflow)
        request.workflow = actor.workflow
    return None
