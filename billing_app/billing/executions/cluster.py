"""Decisions on a Citus cluster: a group commit for writes and one for checks on each node.

A node's shards share its lanes, so a process opens as many connections to a node as it does to a
plain PostgreSQL.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.executions import store
from billing_app.billing.executions.by_shard import NOT_DECIDED
from billing_app.billing.executions.decision_metrics import count_waits
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.driver import Connection
from billing_app.billing.executions.group_commit import Alerts, GroupCommit, Lane, Spent
from billing_app.billing.executions.node_lanes import (
    DirectoryLane,
    Form,
    NodeReadLane,
    NodeWritingLane,
    on_its_node,
    through_coordinator,
)
from billing_app.billing.executions.requests import CHECK, CheckRequest, Decision, Request
from billing_app.billing.executions.shards import LOCAL_GROUP, MisroutedError, Node

NODE_SETTINGS: Final = f"SET {store.SHOW_SHARDS}"
COORDINATOR_SETTINGS: Final = f"SET {store.CUSTOM_PLANS}; SET {store.SHOW_SHARDS}"
# Who adds the same new users at the same time waits for a transaction on several nodes.
DIRECTORY_SETTINGS: Final = f"{COORDINATOR_SETTINGS}; SET lock_timeout = 4000"
MAX_ROUTES: Final = 5
ROUTE_AGAIN_SECONDS: Final = 0.05
READ_AGAIN_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Cluster:
    """Sends each request to the node that holds its account, as the directory's map says."""

    def __init__(
        self,
        database_url: str,
        directory: Directory,
        spent: Spent | None,
        alerts: Alerts | None = None,
    ) -> None:
        self._database_url = database_url
        self._directory = directory
        self._spent = spent
        self._alerts = alerts
        self._writes: dict[Node, GroupCommit] = {}
        self._checks: dict[Node, GroupCommit] = {}
        self._accounts = GroupCommit("directory", self._open_directory, count=count_waits)
        self._reached: set[Node] = set()
        self._reading: asyncio.Task[None] | None = None
        self._read_at = time.monotonic()

    async def decide_one(self, request: Request) -> Decision:
        """Decide one request; a check does not wait for those that write."""
        account = self._known(request)
        if account is not None:
            shard = self._directory.shards.shard_of(account)
            lanes = self._lanes(shard.node, request, checks_apart=True)
            (decision,) = await lanes.submit((request,), shard.number)
            if not isinstance(decision, MisroutedError):
                if isinstance(decision, CannotDecideError):
                    self._read_shards_again()
                return decision
        return (await self.decide((request,), checks_apart=True))[0]

    async def decide(
        self, requests: Sequence[Request], *, checks_apart: bool = False
    ) -> list[Decision]:
        """Decide in order those of one account; each is accepted or denied alone.

        `checks_apart`: checks may overtake the other requests.
        """
        decisions: list[Decision] = [NOT_DECIDED] * len(requests)
        pending = list(range(len(requests)))
        for attempt in range(MAX_ROUTES):
            if attempt:
                await asyncio.sleep(ROUTE_AGAIN_SECONDS * attempt)
                await self._read_shards()
            decided = await self._route([requests[place] for place in pending], checks_apart)
            for place, decision in zip(pending, decided, strict=True):
                decisions[place] = decision
            pending = [place for place in pending if isinstance(decisions[place], MisroutedError)]
            if not pending:
                break
        if any(isinstance(decision, CannotDecideError) for decision in decisions):
            self._read_shards_again()
        return decisions

    def waiting(self) -> dict[str, int]:
        """Requests that wait, by kind of lane."""
        return {
            "write": sum(lanes.waiting for lanes in self._writes.values()),
            "check": sum(lanes.waiting for lanes in self._checks.values()),
            "directory": self._accounts.waiting,
        }

    async def close(self) -> None:
        if self._reading is not None:
            await asyncio.wait([self._reading])
        for lanes in (self._accounts, *self._writes.values(), *self._checks.values()):
            await lanes.close()

    async def _route(self, requests: Sequence[Request], checks_apart: bool) -> list[Decision]:
        accounts = await self._find_accounts(requests)
        decisions: list[Decision] = [NOT_DECIDED] * len(requests)
        places: dict[tuple[GroupCommit, int], list[int]] = {}
        for place, account in enumerate(accounts):
            if isinstance(account, int):
                shard = self._directory.shards.shard_of(account)
                lanes = self._lanes(shard.node, requests[place], checks_apart=checks_apart)
                places.setdefault((lanes, shard.number), []).append(place)
            else:
                decisions[place] = account
        answers = await asyncio.gather(
            *[
                _submit(lanes, [requests[place] for place in group], shard)
                for (lanes, shard), group in places.items()
            ]
        )
        for group, decided in zip(places.values(), answers, strict=True):
            for place, decision in zip(group, decided, strict=True):
                decisions[place] = decision
        return decisions

    async def _find_accounts(self, requests: Sequence[Request]) -> list[int | Decision]:
        accounts: list[int | Decision] = [
            self._known(request) or NOT_DECIDED for request in requests
        ]
        unknown = [place for place, account in enumerate(accounts) if account is NOT_DECIDED]
        if unknown:
            missing = [requests[place] for place in unknown]
            for place, found in zip(unknown, await _submit(self._accounts, missing), strict=True):
                is_error = isinstance(found, BillingError)
                accounts[place] = (
                    found if is_error else self._known(requests[place]) or MisroutedError()
                )
        return accounts

    def _known(self, request: Request) -> int | None:
        if isinstance(request, CheckRequest):
            return self._directory.known((request.organization_id, request.user_id))
        return request.account_id if request.account_id in self._directory.kept_owners else None

    def _lanes(self, node: Node, request: Request, *, checks_apart: bool) -> GroupCommit:
        if checks_apart and isinstance(request, CheckRequest) and request.mode is CHECK:
            lanes, name, open_lane, has_helper = self._checks, "check", self._open_reading, False
        else:
            lanes, name, open_lane, has_helper = self._writes, "write", self._open_writing, True
        if node not in lanes:
            lanes[node] = GroupCommit(name, open_lane(node), has_helper=has_helper)
        return lanes[node]

    def _open_writing(self, node: Node) -> Callable[[Callable[[], bool]], Awaitable[Lane]]:
        async def open_lane(is_more_waiting: Callable[[], bool]) -> Lane:
            connection, form = await self._connect(node)
            return NodeWritingLane(
                connection,
                self._directory,
                is_more_waiting,
                form=form,
                spent=self._spent,
                alerts=self._alerts,
            )

        return open_lane

    def _open_reading(self, node: Node) -> Callable[[Callable[[], bool]], Awaitable[Lane]]:
        async def open_lane(_: Callable[[], bool]) -> Lane:
            connection, form = await self._connect(node)
            return NodeReadLane(connection, self._directory, form=form)

        return open_lane

    async def _open_directory(self, _: Callable[[], bool]) -> Lane:
        connection = await store.connect(self._database_url)
        await connection.execute(DIRECTORY_SETTINGS)
        return DirectoryLane(connection, self._directory)

    async def _connect(self, node: Node) -> tuple[Connection, Form]:
        """To the node itself; through the coordinator when it could not be reached so far."""
        if node.is_direct:
            try:
                connection = await self._connect_directly(node)
            except Exception as error:
                if node in self._reached or isinstance(error, MisroutedError):
                    raise
                log.warning("node_unreachable", host=node.host, port=node.port, error=repr(error))
            else:
                self._reached.add(node)
                return connection, on_its_node
        connection = await store.connect(self._database_url)
        await connection.execute(COORDINATOR_SETTINGS)
        return connection, through_coordinator

    async def _connect_directly(self, node: Node) -> Connection:
        connection = await store.connect(self._database_url, node)
        if (await connection.fetch(LOCAL_GROUP))[0]["groupid"] != node.group:
            await connection.close(timeout=1)
            raise MisroutedError
        await connection.execute(NODE_SETTINGS)
        return connection

    def _read_shards_again(self) -> None:
        """A node may have another address by now."""
        if self._reading is None and time.monotonic() - self._read_at > READ_AGAIN_SECONDS:
            self._begin_reading()

    async def _read_shards(self) -> None:
        await asyncio.shield(self._reading or self._begin_reading())

    def _begin_reading(self) -> "asyncio.Task[None]":
        self._reading = asyncio.create_task(self._read(), name="read shards")
        return self._reading

    async def _read(self) -> None:
        try:
            connection = await store.connect(self._database_url)
            try:
                await self._directory.read_shards(connection)
            finally:
                await connection.close(timeout=1)
        except Exception as error:
            # The map that this process has goes on to be used.
            log.warning("shards_unread", error=repr(error))
        finally:
            self._read_at = time.monotonic()
            self._reading = None


async def _submit(
    lanes: GroupCommit, requests: Sequence[Request], shard: int = 0
) -> list[Decision]:
    try:
        return await lanes.submit(requests, shard)
    except CannotDecideError as error:
        return [error for _ in requests]
