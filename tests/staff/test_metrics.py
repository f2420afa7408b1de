"""Each figure equals a recount in Python from the base tables' rows, rolled up or not."""

import random
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor, UserActor
from billing_app.billing.errors import ForbiddenError
from billing_app.billing.staff.operations import metrics_rollup
from billing_app.billing.staff.operations.metrics import (
    DayFigures,
    Money,
    list_near_limit,
    read_overview,
)
from billing_app.billing.usage.service import Days
from billing_app.composition import Services, build_services
from billing_app.db.enums import DenialReason, StaffRole
from billing_app.settings import Settings
from tests.conftest import PUBLIC
from tests.databases import create_database, without_triggers
from tests.factories import connect, public_organization

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
FIRST, TODAY = date(2026, 2, 20), date(2026, 3, 10)
DAYS = Days(FIRST, TODAY)
TABLES = (
    "daily_usage, daily_denials, plans, invoices, subscriptions, accounts, users, memberships,"
    " offer_versions, offers, platform_days, platform_denials, accounts_near_limit,"
    " platform_refreshes, search_words, organizations"
)


@pytest.fixture(scope="module")
def url(server_url: str, database_template: str) -> str:
    return create_database(server_url, "metrics", database_template)


@pytest.fixture(scope="module")
async def desk(settings: Settings, url: str) -> Any:
    built = build_services(settings, url)
    yield built
    await built.close()


class Rows:
    """Random rows in the base tables, kept here too, to be counted by other means."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.usage: list[dict[str, Any]] = []
        self.denials: list[dict[str, Any]] = []
        self.plans: list[dict[str, Any]] = []
        self.invoices: list[dict[str, Any]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.accounts = [ids.new_account_number() for _ in range(self.random.randint(1, 12))]
        for account in self.accounts:
            self._fill(account)

    def moment(self) -> datetime:
        """Often at the edge of a day."""
        day = datetime.combine(FIRST, time(), UTC) + timedelta(days=self.random.randint(-2, 20))
        edge = self.random.choice([0, 1, 86_399, self.random.randint(0, 86_399)])
        return min(day + timedelta(seconds=edge), NOW)

    def _fill(self, account: int) -> None:
        for day, workflow in {(self.moment().date(), self.random.choice("ab")) for _ in range(9)}:
            used = self.random.randint(0, 50)
            row = {"account_id": account, "day": day, "workflow": workflow, "user_id": ""}
            self.usage.append(row | {"used": used, "refunded": self.random.randint(0, used)})
        for day, reason in {
            (self.moment().date(), self.random.choice(list(DenialReason))) for _ in range(5)
        }:
            row = {"account_id": account, "day": day, "workflow": "", "user_id": ""}
            self.denials.append(row | {"reason": reason, "denied": self.random.randint(1, 9)})
        self._plans(account)
        self._money(account)

    def _plans(self, account: int) -> None:
        sources = ["trial"] if self.random.random() < 0.7 else []
        sources += self.random.choices(
            ["subscription", "pack", "contract", "staff_grant", "overage"],
            k=self.random.randint(0, 4),
        )
        for sequence, source in enumerate(sources, 1):
            executions = self.random.choice([0, 1, 10, 100])
            used = self.random.randint(0, executions)
            starts_at = self.moment()
            ended = self.random.random() < 0.2
            maybe = lambda: self.moment() if self.random.random() < 0.15 else None  # noqa: E731
            self.plans.append(
                {
                    "account_id": account,
                    "sequence": sequence,
                    "type": "trial" if source == "trial" else "paid",
                    "name": source,
                    "source": source,
                    "executions": executions,
                    "used": used,
                    "held": self.random.randint(0, executions - used),
                    "starts_at": starts_at,
                    "ends_at": self.random.choice(
                        [None, starts_at + timedelta(seconds=1), NOW + timedelta(days=3)]
                    ),
                    "ended_at": NOW if ended else None,
                    "ended_because": "cancelled" if ended else None,
                    "paused_at": maybe(),
                    "suspended_at": maybe(),
                    "created_at": self.moment(),
                }
            )

    def _money(self, account: int) -> None:
        if self.random.random() < 0.7:
            status = self.random.choice(["active", "trialing", "past_due", "unpaid", "canceled"])
            self.subscriptions.append(
                {
                    "account_id": account,
                    "number": 1,
                    "provider_id": f"sub_{account}",
                    "status": status,
                    "offer_version_id": 1,
                    "period_start": NOW,
                    "period_end": NOW,
                    "cancel_at_period_end": False,
                    "past_due_since": NOW if self.random.random() < 0.5 else None,
                    "ended_at": NOW if status == "canceled" else None,
                    "synced_at": NOW,
                    "created_at": NOW,
                }
            )
        for n in range(self.random.randint(0, 4)):
            due = self.random.randint(0, 9_000)
            status = self.random.choice(["paid", "open", "void", "draft"])
            self.invoices.append(
                {
                    "account_id": account,
                    "provider_id": f"in_{n}",
                    "number": "",
                    "status": status,
                    "billing_reason": "",
                    "currency": self.random.choice(["USD", "EUR", "JPY"]),
                    "amount_due_minor": due,
                    "amount_paid_minor": due if status == "paid" else self.random.randint(0, due),
                    "page_url": "",
                    "pdf_url": "",
                    "issued_at": self.moment() + timedelta(days=self.random.choice([0, 0, 25])),
                    "synced_at": NOW,
                }
            )

    def write(self, url: str) -> None:
        with connect(url) as connection, connection.transaction():
            without_triggers(connection)
            connection.execute(f"TRUNCATE {TABLES} CASCADE")  # pyright: ignore[reportArgumentType, reportCallIssue]
            for table in ("usage", "denials", "plans", "invoices", "subscriptions"):
                name = f"daily_{table}" if table in ("usage", "denials") else table
                for row in getattr(self, table):
                    columns, marks = ", ".join(row), ", ".join(["%s"] * len(row))
                    connection.execute(
                        f"INSERT INTO {name} ({columns}) VALUES ({marks})",  # pyright: ignore[reportArgumentType, reportCallIssue]  # noqa: S608
                        list(row.values()),
                    )
            for account in self.accounts:
                connection.execute(
                    "INSERT INTO accounts (id, kind, organization_id, user_id, created_at)"
                    " VALUES (%s, 'user', %s, %s, now())",
                    [account, PUBLIC, f"usr_{account}"],
                )
                connection.execute(
                    "INSERT INTO users (id, name, created_at) VALUES (%s, '', now())",
                    [f"usr_{account}"],
                )
        public_organization(url)

    def days(self) -> list[DayFigures]:
        each = [FIRST + timedelta(days=n) for n in range(19)]
        wanted = {day: DayFigures(day) for day in each}
        nowhere = DayFigures(FIRST)
        for row in self.usage:
            day = wanted.get(row["day"], nowhere)
            day.used += row["used"]
            day.refunded += row["refunded"]
        for row in self.denials:
            denied = wanted.get(row["day"], nowhere).denied
            denied[row["reason"]] = denied.get(row["reason"], 0) + row["denied"]
        of_account: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for plan in self.plans:
            of_account[plan["account_id"]].append(plan)
            if plan["type"] == "trial":
                wanted.get(plan["created_at"].date(), nowhere).trials_started += 1
        for plans in of_account.values():
            bought = [
                plan["created_at"] for plan in plans if plan["source"] in ("subscription", "pack")
            ]
            if bought and any(plan["type"] == "trial" for plan in plans):
                wanted.get(min(bought).date(), nowhere).trials_converted += 1
        return list(wanted.values())

    def near(self) -> dict[int, tuple[int, int, int]]:
        sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for plan in self.plans:
            usable = (
                plan["source"] != "overage"
                and plan["ended_at"] is None
                and plan["paused_at"] is None
                and plan["starts_at"] <= NOW
                and (plan["ends_at"] is None or plan["ends_at"] > NOW)
                and (plan["suspended_at"] is None or plan["suspended_at"] > NOW)
            )
            if usable:
                for position, name in enumerate(("executions", "used", "held")):
                    sums[plan["account_id"]][position] += plan[name]
        return {
            account: (total, used, held)
            for account, (total, used, held) in sums.items()
            if total and (used + held) / total >= 0.8
        }

    def money(self, rows: list[dict[str, Any]], amount: Any) -> list[Money]:
        sums: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for row in rows:
            sums[row["currency"]] += amount(row)
            counts[row["currency"]] += 1
        return [Money(currency, sums[currency], counts[currency]) for currency in sorted(counts)]


async def check(desk: Services, rows: Rows) -> None:
    overview = await read_overview(desk.database, SUPPORT, DAYS, NOW)
    assert [asdict(day) for day in overview.days] == [asdict(day) for day in rows.days()]
    live = [row for row in rows.subscriptions if row["ended_at"] is None]
    assert overview.subscriptions == Counter(row["status"] for row in live)
    assert overview.active_subscriptions == sum(
        row["status"] in ("active", "trialing", "past_due") for row in live
    )
    paid = [
        row
        for row in rows.invoices
        if row["status"] == "paid" and (row["issued_at"].year, row["issued_at"].month) == (2026, 3)
    ]
    assert overview.month == date(2026, 3, 1)
    assert overview.revenue == rows.money(paid, lambda row: row["amount_paid_minor"])
    late = {row["account_id"] for row in live if row["past_due_since"]}
    assert overview.accounts_past_due == len(late)
    owed = [row for row in rows.invoices if row["status"] == "open" and row["account_id"] in late]
    assert overview.owed == rows.money(
        owed, lambda row: row["amount_due_minor"] - row["amount_paid_minor"]
    )
    with_live = {row["account_id"] for row in live}
    left = [
        row
        for row in rows.invoices
        if row["status"] == "open" and row["account_id"] not in with_live
    ]
    assert overview.owed_by_ended == rows.money(
        left, lambda row: row["amount_due_minor"] - row["amount_paid_minor"]
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=strategies.integers(0, 2**32))
async def test_every_figure_is_a_recount(desk: Services, url: str, seed: int) -> None:
    rows = Rows(seed)
    rows.write(url)
    await check(desk, rows)
    assert (await read_overview(desk.database, SUPPORT, DAYS, NOW)).near_limit is None
    halfway = datetime(2026, 3, 1, 0, 29, tzinfo=UTC)
    await metrics_rollup.roll_up(desk.database, halfway)
    await check(desk, rows)
    await metrics_rollup.roll_up(desk.database, NOW)
    await metrics_rollup.roll_up(desk.database, NOW)
    await check(desk, rows)
    await metrics_rollup.roll_up_again(desk.database, NOW)
    await check(desk, rows)
    near = rows.near()
    assert await metrics_rollup.look_for_limits(desk.database, NOW) == len(near)
    overview = await read_overview(desk.database, SUPPORT, DAYS, NOW)
    assert (overview.near_limit, overview.near_limit_at) == (len(near), NOW)
    listed = await near_pages(desk)
    assert {row.account_id for row in listed} == set(map(ids.encode_account, near))
    for row in listed:
        figures = (row.executions, row.executions_used, row.executions_held)
        assert figures == near[ids.decode_account(row.account_id) or 0]
    left = [row.executions_remaining for row in listed]
    assert left == sorted(left)


async def near_pages(desk: Services) -> list[Any]:
    listed: list[Any] = []
    cursor = None
    while True:
        page = await list_near_limit(desk.database, SUPPORT, now=NOW, limit=2, cursor=cursor)
        listed += page.items
        cursor = page.next_cursor
        if cursor is None:
            return listed


async def test_past_days_are_rolled_up_and_today_is_not(desk: Services, url: str) -> None:
    rows = Rows(7)
    rows.write(url)
    await metrics_rollup.roll_up(desk.database, NOW)
    with connect(url) as connection:
        found = connection.execute("SELECT max(day), count(*) FROM platform_days").fetchone()
        first = min(
            [row["day"] for row in rows.usage + rows.denials]
            + [plan["created_at"].date() for plan in rows.plans]
        )
        assert found == (date(2026, 3, 9), (date(2026, 3, 9) - first).days + 1)
        connection.execute("UPDATE daily_usage SET used = used + 1000")
    stale = await read_overview(desk.database, SUPPORT, DAYS, NOW)
    assert sum(day.used for day in stale.days[:-1]) == sum(day.used for day in rows.days()[:-1])
    await metrics_rollup.roll_up_again(desk.database, NOW)
    for row in rows.usage:
        row["used"] += 1000
    await check(desk, rows)


async def test_account_leaves_near_limit_list(desk: Services, url: str) -> None:
    rows = Rows(11)
    rows.write(url)
    await metrics_rollup.look_for_limits(desk.database, NOW)
    with connect(url) as connection:
        connection.execute("UPDATE plans SET used = 0, held = 0")
    assert await metrics_rollup.look_for_limits(desk.database, NOW) == 0
    assert await near_pages(desk) == []


async def test_only_staff_see_figures(desk: Services) -> None:
    person = UserActor("usr_p", "Pa", "pa@example.com")
    with pytest.raises(ForbiddenError):
        await read_overview(desk.database, person, DAYS, NOW)
    with pytest.raises(ForbiddenError):
        await list_near_limit(desk.database, person, now=NOW)
