"""Consumes on a Citus cluster against the same on a plain PostgreSQL, in turns.

Needs CITUS_DATABASE_URL with all nodes on this machine: the database's CPU is that of every node.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import psycopg

from billing_app.billing.executions.shards import hash_of
from tests.benchmarks.harness import FILL, make_key
from tests.benchmarks.load import Load, Result
from tests.benchmarks.processes import Server, send
from tests.benchmarks.requests import consume_head, consume_tails

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

ACCOUNTS: Final = 20_000
# So many that each is looked up during the warm-up.
ASKED: Final = 1_500
WARM_UP_SECONDS: Final = 3.0
CLIENTS: Final = 64
TARGETS: Final = {"one shard": 1.5, "eight shards": 1.8}
SHARDS: Final = """
SELECT shardid, shardminvalue::int, shardmaxvalue::int FROM pg_dist_shard
WHERE logicalrelid = 'plans'::regclass ORDER BY 1
"""
ORGANIZATIONS: Final = "SELECT organization_id, id FROM accounts ORDER BY organization_id"


class Side(msgspec.Struct, frozen=True):
    """A server, its key, and the processes of its database."""

    name: str
    server: Server
    secret: str
    database_pids: list[int]


def cluster(cases: "Cases") -> None:
    """The database's CPU for each decision, over the accounts of one shard and of eight."""
    from tests.distributed.cluster import URL, create_distributed, drop_databases

    if URL is None:
        cases.report.note("cluster: CITUS_DATABASE_URL names no cluster.")
        return
    url = create_distributed(URL)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL.format(accounts=ACCOUNTS).encode())
            pids = _postmasters(connection, url)
        _compare(cases, url, pids)
    finally:
        drop_databases()


def _compare(cases: "Cases", url: str, pids: list[int]) -> None:
    from tests.benchmarks.processes import serving

    environment = {**cases.bed.environment, "DATABASE_URL": url}
    groups = _groups(url)
    with (
        cases.start("ours") as plain_server,
        serving("ours", cases.plan.server, environment) as cluster_server,
    ):
        plain = Side("plain", plain_server, cases.bed.secret, [cases.bed.postmaster_pid])
        spread = Side("cluster", cluster_server, make_key(url), pids)
        for where, organizations in groups.items():
            rounds: defaultdict[str, list[Result]] = defaultdict(list)
            for number in range(cases.plan.rounds):
                for side in (plain, spread):
                    own = cases.bed.many[: len(organizations)] if side is plain else organizations
                    rounds[side.name].append(
                        _send(cases, side, own, f"{where[:3]}{number}{side.name}")
                    )
            cells = {
                name: cases.report.cell(f"{name}, {where}, {CLIENTS} clients", results)
                for name, results in rounds.items()
            }
            ratio = cells["cluster"].database_cpu_us / cells["plain"].database_cpu_us
            what = f"cluster, {where}: database CPU for each decision"
            cases.report.at_most(what, ratio, TARGETS[where], "x")


def _send(cases: "Cases", side: Side, organizations: list[str], run: str) -> Result:
    return send(
        Load(
            port=side.server.port,
            clients=CLIENTS,
            seconds=cases.plan.seconds,
            warm_up_seconds=WARM_UP_SECONDS,
            head=consume_head(side.secret),
            tails=consume_tails(organizations),
            run=run,
            server_pid=side.server.pid,
            database_pids=side.database_pids,
        )
    )


def _groups(url: str) -> dict[str, list[str]]:
    with psycopg.connect(url) as connection:
        _, low, high = connection.execute(SHARDS).fetchall()[0]
        owners = connection.execute(ORGANIZATIONS).fetchall()
    of_one = [name for name, account in owners if low <= hash_of(account) <= high]
    return {
        "one shard": of_one[:ASKED],
        "eight shards": [name for name, _ in owners[:ASKED]],
    }


def _postmasters(connection: "psycopg.Connection[tuple[object, ...]]", url: str) -> list[int]:
    """Of all nodes, which are processes of this machine."""
    from tests.distributed.cluster import NODES, at_node

    directories: list[str] = []
    for host, port in connection.execute(NODES).fetchall():
        with psycopg.connect(at_node(url, host=str(host), port=int(str(port)))) as node:
            row = node.execute("SHOW data_directory").fetchone()
            assert row is not None
            directories.append(str(row[0]))
    files = [Path(directory) / "postmaster.pid" for directory in directories]
    return [int(file.read_text().split("\n", 1)[0]) for file in files if os.access(file, os.R_OK)]
