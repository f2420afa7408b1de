"""The version of an account differs if something was written about it, and only then."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from sqlmodel import SQLModel

from billing_app.billing import ids
from billing_app.billing.account_version import (
    BY_ROW_VERSION,
    BY_SUM,
    WITH_PLANS,
    read_account_version,
)
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.executions.requests import Accepted, Commit, Mode, Refund, Release, Request
from billing_app.composition import Services
from billing_app.db.engine import Database
from tests.benchmarks.dashboards import read_row_hash
from tests.factories import (
    OPERATOR,
    PLATFORM,
    PLATFORM_SERVICE,
    Holder,
    check_request,
    connect,
    organization,
    person,
)

LATER: Final = timedelta(days=1)
# Tables with rows of an account that its version does not look at, and why it need not.
UNSEEN: Final = {
    "account_events": "not shown",
    "alert_deliveries": "only the unread ones of the person who asks",
    "alert_rules": "shown on a page that reads them again anyway",
    "alerts": "the bell reads them again anyway",
    "given_back_counts": "not shown",
    "account_profiles": "shown to services; what closes an account changes its plans",
    "granted_plans": "written with a plan",
    "mirrored_invoices": "not shown",
    "provider_mirrors": "not shown",
    "notices": "not shown",
    "invitations": "shown on a page that reads them again anyway",
    "portal_links": "not shown",
    "portal_sessions": "not shown",
    "billing_details": "shown on a page that reads them again anyway",
    "carried_forward": "sums of what is removed: no figure changes",
    "daily_usage": "written with a plan",
    "email_changes": "shown on a page that reads them again anyway",
    "execution_events": "written with a plan",
    "reservations": "written with a plan",
    "reservation_holds": "written with a plan",
    "daily_overage": "written with a plan",
    "idempotency_keys": "not shown",
    "leases": "written with a plan, or not shown",
    "lease_lines": "written with a plan",
    "meter_reports": "not shown",
    "overage_bills": "not shown",
    "overage_settlements": "not shown",
    "provider_customers": "not shown",
    "trial_uses": "not shown",
    "provider_writes": "shown only as what a month's top-ups cost: pages read that again anyway",
    "accounts_near_limit": "staff",
    "audit_entries": "staff",
    "search_words": "staff",
    "staff_views": "staff",
}
INSERTS: Final = {
    "plans": "(account_id, sequence, type, name, source, executions, used, held, starts_at,"
    " created_at) SELECT %(account)s, 9, 'paid', '', 'contract', 1, 0, 0, now(), now()",
    "subscriptions": "(account_id, number, provider_id, status, offer_version_id, period_start,"
    " period_end, cancel_at_period_end, synced_at, created_at) SELECT %(account)s, 1, 'sub_1',"
    " 'active', %(version)s, now(), now(), false, now(), now()",
    "invoices": "(account_id, provider_id, number, status, billing_reason, currency,"
    " amount_due_minor, amount_paid_minor, page_url, pdf_url, issued_at, synced_at)"
    " SELECT %(account)s, 'in_1', '', 'open', '', 'USD', 1, 0, '', '', now(), now()",
    "checkouts": "(account_id, number, status, offer_version_id, success_url, cancel_url,"
    " created_at) SELECT %(account)s, 1, 'open', %(version)s, '', '', now()",
    "overage_limits": "(account_id, limit_minor, currency, updated_at)"
    " SELECT %(account)s, 1, 'USD', now()",
    "top_ups": "(account_id, offer_id, threshold_executions, monthly_cap_minor, currency,"
    " updated_at) SELECT %(account)s, %(offer)s, 1, 1, 'USD', now()",
}


class Watched:
    """An account, what its version was, and what it is."""

    def __init__(self, services: Services, url: str, holder: Holder) -> None:
        self.services = services
        self.url = url
        self.holder = holder
        self.seen: list[str] = []

    async def version(self) -> str:
        return await _version(self.services.database, self.holder)

    async def changes(self) -> bool:
        """Whether it is one that was never seen before; it is the same when read again."""
        version = await self.version()
        is_new = version not in self.seen
        self.seen.append(version)
        assert await self.version() == version
        return is_new

    async def decide(self, *requests: Request) -> list[Any]:
        return await self.services.executions.decide_each(PLATFORM_SERVICE, requests)

    def ask(self, mode: Mode, executions: int, workflow: str = "") -> Request:
        organization_id = self.holder.organization_id
        return check_request(
            mode, executions, uuid4().hex, organization_id=organization_id, workflow=workflow
        )

    def newest(self, table: str) -> int:
        """The number of the newest row."""
        with connect(self.url) as connection:
            row = connection.execute(
                f"SELECT max(number) FROM {table} WHERE account_id = %s",  # pyright: ignore[reportArgumentType, reportCallIssue]  # noqa: S608
                [self.holder.account_number],
            ).fetchone()
        assert row is not None
        return row[0]


async def _version(database: Database, holder: Holder) -> str:
    return await read_account_version(database, OPERATOR, holder.account_id, datetime.now(UTC))


@pytest.fixture
async def watched(services: Services, database_url: str) -> Watched:
    account = Watched(services, database_url, organization(database_url, 20, 20))
    assert await account.changes()
    return account


@pytest.fixture
def offer(database_url: str) -> dict[str, int]:
    """A version of an offer."""
    with connect(database_url) as connection:
        row = connection.execute(
            "WITH made AS (INSERT INTO offers (code, position, visible, published_revision,"
            " created_at) VALUES (%s, 1, false, 1, now()) RETURNING id)"
            " INSERT INTO offer_versions (offer_id, version, name, description, executions,"
            " price_minor, currency, interval, trial_days, overage, overage_unit_executions,"
            " priority, created_at)"
            " SELECT id, 1, 'Offer', '', 1, 1, 'USD', 'month', 0, 'hard', 1, 100, now() FROM made"
            " RETURNING id, offer_id",
            [uuid4().hex],
        ).fetchone()
    assert row is not None
    return {"version": row[0], "offer": row[1]}


async def test_version_is_stable_without_writes(watched: Watched) -> None:
    other = Watched(watched.services, watched.url, organization(watched.url, 5))
    await other.decide(other.ask(Mode.CONSUME, 1))
    await watched.decide(watched.ask(Mode.CHECK, 1))
    assert not await watched.changes()


async def test_every_writing_decision_changes_the_version(watched: Watched) -> None:
    await watched.decide(watched.ask(Mode.CONSUME, 2))
    assert await watched.changes()
    event = watched.newest("execution_events")
    await watched.decide(watched.ask(Mode.RESERVE, 3))
    assert await watched.changes()
    account = watched.holder.account_number
    await watched.decide(Commit(account, watched.newest("reservations"), 1, PLATFORM))
    assert await watched.changes()
    await watched.decide(watched.ask(Mode.RESERVE, 3))
    assert await watched.changes()
    await watched.decide(Release(account, watched.newest("reservations"), PLATFORM))
    assert await watched.changes()
    await watched.decide(Refund(account, event, 1, "", "", PLATFORM))
    assert await watched.changes()


async def test_every_denial_changes_the_version(watched: Watched) -> None:
    for workflow in ("", "", "report"):
        (denied,) = await watched.decide(watched.ask(Mode.CONSUME, 1_000, workflow))
        assert not isinstance(denied, Accepted)
        assert await watched.changes()


async def test_use_and_immediate_refund_change_the_version(watched: Watched) -> None:
    """The balance is as before, and the day is not."""
    await watched.decide(watched.ask(Mode.CONSUME, 2))
    assert await watched.changes()
    refund = Refund(
        watched.holder.account_number, watched.newest("execution_events"), 2, "", "", PLATFORM
    )
    await watched.decide(watched.ask(Mode.CONSUME, 2), refund)
    assert await watched.changes()


async def test_version_changes_whenever_the_hash_of_all_rows_does(watched: Watched) -> None:
    """Daily usage is not read: no decision writes it without a plan."""
    chosen = random.Random(12)  # noqa: S311 - the same batches each time
    database, account_id = watched.services.database, watched.holder.account_id

    async def row_hash() -> str:
        return await read_row_hash(database, OPERATOR, account_id, datetime.now(UTC))

    last_hash = await row_hash()
    for _ in range(60):
        modes = chosen.choices([Mode.CONSUME, Mode.RESERVE, Mode.CHECK], k=chosen.randint(1, 3))
        await watched.decide(
            *(watched.ask(mode, chosen.randint(1, 6), chosen.choice("ab")) for mode in modes)
        )
        this_hash = await row_hash()
        assert await watched.changes() == (this_hash != last_hash)
        last_hash = this_hash


@pytest.mark.parametrize("table", BY_ROW_VERSION)
async def test_every_row_write_changes_the_version(
    watched: Watched, offer: dict[str, int], table: str
) -> None:
    """No writer has to know of it: a row that is made, written as it was, or taken away, shows."""
    values = offer | {"account": watched.holder.account_number}
    key = "account_id = %(account)s" + (" AND sequence = 9" if table == "plans" else "")
    for statement in (
        f"INSERT INTO {table} {INSERTS[table]}",
        f"UPDATE {table} SET account_id = account_id WHERE {key}",  # noqa: S608
        f"DELETE FROM {table} WHERE {key}",  # noqa: S608
    ):
        with connect(watched.url) as connection:
            written = connection.execute(statement, values)  # pyright: ignore[reportArgumentType, reportCallIssue]
            assert written.rowcount == 1
        assert await watched.version() not in watched.seen[-1:]
        watched.seen.append(await watched.version())


async def test_blocking_an_account_changes_the_version(watched: Watched) -> None:
    with connect(watched.url) as connection:
        connection.execute(
            "UPDATE accounts SET blocked_at = now() WHERE id = %s",
            [watched.holder.account_number],
        )
    assert await watched.changes()


async def test_locks_and_rollbacks_do_not_change_the_version(watched: Watched) -> None:
    account = [watched.holder.account_number]
    with psycopg.connect(watched.url) as connection:
        connection.execute("SELECT FROM plans WHERE account_id = %s FOR UPDATE", account)
        connection.commit()
        connection.execute("UPDATE plans SET used = used + 1 WHERE account_id = %s", account)
        connection.rollback()
    assert not await watched.changes()


async def test_new_day_changes_the_version(watched: Watched) -> None:
    account_id, now = watched.holder.account_id, datetime.now(UTC)
    database = watched.services.database
    versions = {
        await read_account_version(database, OPERATOR, account_id, now + LATER * days)
        for days in range(3)
    }
    assert len(versions) == 3


async def test_only_those_who_may_see_the_account_read_its_version(
    services: Services, database_url: str
) -> None:
    account_id = ids.encode_account(organization(database_url, 5).account_number)
    with pytest.raises(AccountNotFoundError):
        await read_account_version(
            services.database, person(database_url), account_id, datetime.now(UTC)
        )


def test_every_account_table_is_covered_or_exempt() -> None:
    tables = {
        name for name, table in SQLModel.metadata.tables.items() if "account_id" in table.columns
    }
    assert tables - set(UNSEEN) == {*BY_ROW_VERSION, BY_SUM}
    assert WITH_PLANS in UNSEEN


def test_every_table_is_led_by_its_account(database_url: str) -> None:
    """So that a version reads few rows, on one shard."""
    with connect(database_url) as connection:
        for table in (*BY_ROW_VERSION, BY_SUM, WITH_PLANS):
            row = connection.execute(
                "SELECT attname FROM pg_index JOIN pg_attribute"
                " ON attrelid = indrelid AND attnum = indkey[0]"
                " WHERE indrelid = %s::regclass AND indisprimary",
                [table],
            ).fetchone()
            assert row == ("account_id",)
