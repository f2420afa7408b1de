"""Where the statements of the hot path are executed, by Citus' own log of what it sends."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from billing_app.billing.errors import BillingError
from billing_app.billing.executions import shards, store
from billing_app.billing.executions.driver import Connection, Row
from billing_app.billing.executions.requests import (
    Accepted,
    Commit,
    Decision,
    Mode,
    Refund,
    Release,
    Renewal,
)
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.shards import Node
from billing_app.db.distribution import DISTRIBUTED
from tests.billing.leasing import lease_request, settlement, total
from tests.distributed.counted_load import consume, holders_of_all_shards, service
from tests.factories import PLATFORM, PLATFORM_SERVICE, Holder, check_request, connect

LOG_WHAT_IS_SENT = "SET citus.log_remote_commands = on"
SHARD_TABLE = re.compile(rf"\b({'|'.join(DISTRIBUTED)})_(\d+)\b")
TABLE = re.compile(rf"\b({'|'.join(DISTRIBUTED)})\b")


@dataclass
class Sent:
    """A statement, the node it was sent to, and what that sent to others."""

    statement: str
    node: Node
    onward: list[str] = field(default_factory=list)

    @property
    def is_distributed(self) -> bool:
        """It reads or changes tables of the ledger, not Citus' metadata of them."""
        is_metadata = "pg_dist_shard" in self.statement or "pg_extension" in self.statement
        return not is_metadata and TABLE.search(SHARD_TABLE.sub(r"\1", self.statement)) is not None

    @property
    def shards(self) -> set[int]:
        return {int(match[2]) for match in SHARD_TABLE.finditer(self.statement)}


class Recorder:
    """A connection that remembers each statement, with what Citus says about it."""

    def __init__(self, connection: Any, node: Node, sent: list[Sent]) -> None:
        self._connection = connection
        self._node = node
        self._sent = sent

    async def fetch(self, query: str, *args: Any) -> Sequence[Row]:
        with self._remembered(query):
            return await self._connection.fetch(query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        with self._remembered(query):
            return await self._connection.execute(query, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextmanager
    def _remembered(self, query: str) -> Iterator[None]:
        one = Sent(query, self._node)
        self._sent.append(one)

        def hear(_: object, message: Any) -> None:
            if message.message.startswith("issuing"):
                one.onward.append(f"{message.detail}: {message.message}")

        self._connection.add_log_listener(hear)
        try:
            yield
        finally:
            self._connection.remove_log_listener(hear)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    statements: list[Sent] = []
    connect_really = store.connect

    async def connect(url: str, node: Node | None = None) -> Connection:
        connection = await connect_really(url, node)
        await connection.execute(LOG_WHAT_IS_SENT)
        recorder: Any = Recorder(connection, node or Node(), statements)
        return recorder

    monkeypatch.setattr(store, "connect", connect)
    return statements


@pytest.fixture
async def executions(own_database_url: str) -> AsyncIterator[Executions]:
    made = service(own_database_url)
    yield made
    await made.close()


@pytest.fixture
def holders(own_database_url: str) -> list[Holder]:
    return holders_of_all_shards(own_database_url, 1)


async def test_every_hot_statement_is_sent_to_the_node_that_holds_its_shard(
    executions: Executions, own_database_url: str, holders: list[Holder], sent: list[Sent]
) -> None:
    await _everything(executions, own_database_url, holders)
    node_of = _nodes(own_database_url)
    hot = [each for each in sent if each.shards]
    assert {table for each in hot for table in _tables(each)} >= {*DISTRIBUTED} - {
        "daily_overage",
        "carried_forward",
        "account_events",
        "alerts",
        "given_back_counts",
    }
    start_of = _starts(own_database_url)
    for each in hot:
        assert {node_of[shard] for shard in each.shards} == {(each.node.host, each.node.port)}
        assert len({start_of[shard] for shard in each.shards}) == 1
        assert not each.onward, each
    assert [each for each in sent if each.is_distributed and not each.shards] == []


async def test_through_the_coordinator_each_statement_goes_to_one_node(
    executions: Executions,
    own_database_url: str,
    holders: list[Holder],
    sent: list[Sent],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the nodes cannot be reached from the app."""
    monkeypatch.setattr(
        shards,
        "_node",
        lambda row: Node(row["nodename"], row["nodeport"], row["groupid"], is_direct=False),
    )
    await _everything(executions, own_database_url, holders)
    assert {each.node for each in sent} == {Node()}
    hot = [each for each in sent if each.is_distributed]
    assert len(hot) > 100
    for each in hot:
        assert len({_server(line) for line in each.onward}) == 1, each


async def _everything(executions: Executions, url: str, holders: list[Holder]) -> None:
    """Every kind of request, alone and together with those of other shards."""

    async def decide(*requests: Any) -> list[Decision]:
        together = executions.decide_each(PLATFORM_SERVICE, requests)
        return await asyncio.wait_for(together, 30)

    checks = [check_request(Mode.CHECK, 1, organization_id=h.organization_id) for h in holders]
    await asyncio.gather(*[executions.decide(PLATFORM_SERVICE, check) for check in checks])
    await asyncio.gather(*[executions.decide(PLATFORM_SERVICE, check) for check in checks])
    first = await decide(*[consume(h, "first") for h in holders])
    again = await decide(*[consume(h, "first") for h in holders])
    assert all(isinstance(decision, Accepted) and decision.replayed for decision in again)
    assert all(isinstance(decision, Accepted) for decision in first)
    denied = await decide(*[consume(h, "denied", 1_000_000) for h in holders])
    assert all(isinstance(decision, BillingError) for decision in denied)
    for turn in "ab":
        await decide(
            *[
                check_request(Mode.RESERVE, 2, turn, organization_id=h.organization_id)
                for h in holders
            ]
        )
    with connect(url) as connection:
        held = connection.execute("SELECT account_id, number FROM reservations").fetchall()
        used = connection.execute("SELECT account_id, number FROM execution_events").fetchall()
    half = len(held) // 2
    commits = [Commit(account, number, 1, PLATFORM) for account, number in held[:half]]
    releases = [Release(account, number, PLATFORM) for account, number in held[half:]]
    refunds = [Refund(account, number, 1, "", "", PLATFORM) for account, number in used]
    settled = await decide(*commits, *releases, *refunds)
    assert all(isinstance(decision, Accepted) for decision in settled)
    opened = await decide(*[lease_request(h, 3) for h in holders])
    leases = [msgspec.json.decode(each.answer) for each in opened if isinstance(each, Accepted)]
    assert len(leases) == len(holders)
    today, renewal = datetime.now(UTC).date(), Renewal(3, 3_600)
    reports = [settlement(lease, total(2, today), renewal=renewal) for lease in leases]
    closings = [settlement(lease, total(3, today), closes=True, sequence=1) for lease in leases]
    for each in (reports, closings):
        assert all(isinstance(decision, Accepted) for decision in await decide(*each))
    # The last execution of a plan ends it; then the newest one that has ended explains a denial.
    with connect(url) as connection:
        connection.execute("UPDATE plans SET executions = used + held + 1")
    assert all(
        isinstance(d, Accepted) for d in await decide(*[consume(h, "last") for h in holders])
    )
    assert all(
        isinstance(d, BillingError)
        for d in await decide(*[consume(h, "too late") for h in holders])
    )


def _nodes(url: str) -> dict[int, tuple[str, int]]:
    query = """SELECT shardid, nodename, nodeport FROM pg_dist_placement
               JOIN pg_dist_node USING (groupid)"""
    with connect(url) as connection:
        return {shard: (host, port) for shard, host, port in connection.execute(query).fetchall()}


def _starts(url: str) -> dict[int, str]:
    """Where the range of hashes of each shard starts: the same for all shards of an account."""
    with connect(url) as connection:
        rows = connection.execute("SELECT shardid, shardminvalue FROM pg_dist_shard").fetchall()
    return dict(rows)


def _tables(each: Sent) -> set[str]:
    return {match[1] for match in SHARD_TABLE.finditer(each.statement)}


def _server(line: str) -> str:
    found = re.search(r"on server (\S+)", line)
    assert found, line
    return found[1]
