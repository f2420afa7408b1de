"""Open dashboards of one busy account: what they cost the database while nobody uses them.

Today's way is kept here as the baseline: a hash of every row's version, those of every daily row
of two days included, and a whole reading every six seconds.
"""

import asyncio
import contextlib
import hashlib
import secrets
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import psycopg
from sqlalchemy import text

from billing_app.billing import ids
from billing_app.billing.account_version import (
    BY_ROW_VERSION,
    BY_SUM,
    DAYS_WRITTEN,
    WITH_PLANS,
    read_account_version,
)
from billing_app.billing.accounts import service as accounts
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor, UserActor
from billing_app.billing.plans import service as plans
from billing_app.billing.staff.access import viewing
from billing_app.billing.subscriptions.account_alerts import read_stop
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import Days, GroupBy
from billing_app.db import migrations
from billing_app.db.engine import Database
from tests.benchmarks.cpu import cpu_seconds
from tests.benchmarks.harness import BenchmarkHarness, create_database

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

TABS: Final = 200
POLLS_PER_READING: Final = 4
CHART_DAYS: Final = 30
RECENT_EVENTS: Final = 8
WORKFLOWS, USERS = 40, 50
TARGET: Final = 0.2
# So cheap that the clock of a process's CPU time would not tell otherwise.
VERSIONS_PER_HASH: Final = 5
DATABASE: Final = "bench_dashboards"

FILL: Final = """
INSERT INTO organizations (id, name, created_at) VALUES ('org_busy', 'Busy', now());
INSERT INTO users (id, name, email, password_hash, created_at)
VALUES ('usr_busy', 'Busy', 'busy@example.com', 'x', now());
INSERT INTO memberships (organization_id, user_id, role, created_at)
VALUES ('org_busy', 'usr_busy', 'owner', now());
INSERT INTO accounts (id, kind, organization_id, created_at)
VALUES ({account}, 'organization', 'org_busy', now());
INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,
                   starts_at, ends_at, began_at, created_at)
SELECT {account}, n, 'paid', 'Month ' || n, 'contract', 1000000000, 1000, 0,
       now() - make_interval(months => 24 - n), now() - make_interval(months => 23 - n)
       + interval '1 day', now(), now()
FROM generate_series(1, 24) AS n;
INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)
SELECT {account}, current_date - d, 'workflow-' || w, 'user-' || u, 10, 0
FROM generate_series(0, {days} - 1) AS d, generate_series(1, {workflows}) AS w,
     generate_series(1, {users}) AS u;
INSERT INTO daily_denials (account_id, day, workflow, user_id, reason, denied)
SELECT {account}, current_date - d, 'workflow-' || w, 'user-' || u, 'insufficient_executions', 3
FROM generate_series(0, {days} - 1) AS d, generate_series(1, {workflows}) AS w,
     generate_series(1, 5) AS u;
INSERT INTO execution_events (
    account_id, number, plan_sequence, kind, executions, plan_used_after, remaining_after,
    workflow, user_id, idempotency_key, reason, occurred_at)
SELECT {account}, (extract(epoch FROM now()) * 1000000)::bigint - n, 24, 'consume', 1, 0, 0,
       'workflow-1', 'user-1', 'key-' || n, '', now()
FROM generate_series(1, 10000) AS n;
"""


def _hash(table: str, where: str) -> str:
    found = f"SELECT md5(string_agg(xmin::text, ',' ORDER BY xmin::text)) FROM {table}"  # noqa: S608
    return f"coalesce(({found} WHERE {where}), '-')"


def _row_hash() -> str:
    of_account, lately = "account_id = :account", "account_id = :account AND day >= :since"
    parts = [
        *(_hash(table, of_account) for table in BY_ROW_VERSION),
        *(_hash(table, lately) for table in (WITH_PLANS, BY_SUM)),
        "(SELECT xmin::text FROM accounts WHERE id = :account)",
    ]
    return f"SELECT concat_ws(' ', {', '.join(parts)})"


ROW_HASH: Final = text(_row_hash())


async def read_row_hash(database: Database, actor: Actor, account_id: str, now: datetime) -> str:
    """What the version of an account replaced."""
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        values = {"account": account.id, "since": (now - DAYS_WRITTEN).date()}
        connection = await session.connection()
        return str((await connection.execute(ROW_HASH, values)).scalar_one())


class Dashboards(msgspec.Struct, frozen=True):
    """An account whose dashboard many people have open."""

    database: Database
    account_id: str
    actor: UserActor
    token: str
    postmaster_pid: int

    async def hash_rows(self) -> None:
        await read_row_hash(self.database, self.actor, self.account_id, datetime.now(UTC))

    async def read_version(self) -> None:
        await read_account_version(self.database, self.actor, self.account_id, datetime.now(UTC))

    async def show_by_hash(self) -> None:
        """Six seconds of a tab as it was."""
        for _ in range(POLLS_PER_READING - 1):
            await self._visit()
            await self.hash_rows()
        await self._visit()
        await self._read_page(with_daily_rows=True)

    async def show_by_version(self) -> None:
        """Six seconds of a tab: another one has read the daily rows of this version."""
        for _ in range(POLLS_PER_READING):
            await self._visit()
            await self.read_version()
        await self._read_page(with_daily_rows=False)

    async def _visit(self) -> None:
        await viewing.visit(self.database, self.token, datetime.now(UTC))

    async def _read_page(self, *, with_daily_rows: bool) -> None:
        database, actor, account_id = self.database, self.actor, self.account_id
        now = datetime.now(UTC)
        await accounts.list_accounts(database, actor)
        await read_stop(database, actor, account_id, now)
        await plans.read_current(database, actor, account_id, now)
        if with_daily_rows:
            days = Days(now.date() - timedelta(days=CHART_DAYS - 1), now.date())
            group_by = GroupBy.WORKFLOW
            await usage.read_daily(database, actor, account_id, days=days, group_by=group_by)
        await usage.list_events(database, actor, account_id, limit=RECENT_EVENTS)

    async def cpu_ms(self, look: Callable[[], Awaitable[None]], times: int) -> float:
        """The database's CPU time of one look."""
        before = cpu_seconds(self.postmaster_pid)
        for _ in range(times):
            await look()
        return (cpu_seconds(self.postmaster_pid) - before) / times * 1000


def dashboards(cases: "Cases") -> None:
    """A version against the hash of every row, by itself and in a whole open dashboard."""
    with made_database(cases.bed) as url:
        versions, tabs = asyncio.run(_measure(cases, url))
    report = cases.report
    report.at_most("account version: database CPU of the hash", versions, TARGET, "x")
    report.at_most(f"{TABS} open dashboards: database CPU of today's", tabs, TARGET, "x")


async def _measure(cases: "Cases", url: str) -> tuple[float, float]:
    versions: list[tuple[float, float]] = []
    tabs: list[tuple[float, float]] = []
    async with _opened(cases.bed, url) as opened:
        await opened.show_by_hash()
        await opened.show_by_version()
        for _ in range(cases.plan.rounds):
            by_hash = await opened.cpu_ms(opened.hash_rows, TABS)
            by_version = await opened.cpu_ms(opened.read_version, TABS * VERSIONS_PER_HASH)
            versions.append((by_version, by_hash))
            tab_by_hash = await opened.cpu_ms(opened.show_by_hash, TABS)
            tabs.append((await opened.cpu_ms(opened.show_by_version, TABS), tab_by_hash))
    for name, pairs in (("a version", versions), ("six seconds of a dashboard", tabs)):
        now, before = (statistics.median(column) for column in zip(*pairs, strict=True))
        cases.report.note(f"{name}: {now:.2f} ms of database CPU, {before:.2f} ms before")
    return _ratio(versions), _ratio(tabs)


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(ours / before for ours, before in pairs)


@contextlib.contextmanager
def made_database(bed: BenchmarkHarness) -> Iterator[str]:
    """A migrated database with the account; dropped when the block ends."""
    url = create_database(bed.server_url, DATABASE)
    try:
        migrations.upgrade(url)
        values = {"days": CHART_DAYS, "workflows": WORKFLOWS, "users": USERS}
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL.format(account=ids.new_account_number(), **values))  # pyright: ignore[reportArgumentType, reportCallIssue]
            connection.execute("VACUUM (ANALYZE)")
        yield url
    finally:
        with psycopg.connect(bed.server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")  # pyright: ignore[reportArgumentType, reportCallIssue]


@contextlib.asynccontextmanager
async def _opened(bed: BenchmarkHarness, url: str) -> AsyncIterator[Dashboards]:
    token = secrets.token_urlsafe(32)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sessions (token_hash, user_id, created_at, expires_at, user_agent)"
            " VALUES (%s, 'usr_busy', now(), now() + interval '1 day', '')",
            [hashlib.sha256(token.encode()).digest()],
        )
        row = connection.execute("SELECT id FROM accounts").fetchone()
    assert row is not None
    database = Database(url)
    try:
        yield Dashboards(
            database=database,
            account_id=ids.encode_account(row[0]),
            actor=UserActor("usr_busy", "Busy", "busy@example.com"),
            token=token,
            postmaster_pid=bed.postmaster_pid,
        )
    finally:
        await database.dispose()
