"""Every figure of the console equals a count in plain SQL, which shares no code with it.

The history is the demo's, disturbed by seeded chance: refunds, blocked accounts, paused plans,
invoices in three currencies, debts of ended subscriptions, dead letters, differences. Figures of
use are counted from the ledger, and figures of plans from the columns that the schema describes.
"""

import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from billing_app.api.app import prepare
from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.executions.requests import Accepted, Mode
from billing_app.billing.plans.service import read_current
from billing_app.billing.staff.customers import account
from billing_app.billing.staff.customers.customers import CustomerRow, search_customers
from billing_app.billing.staff.customers.denials import list_denials
from billing_app.billing.staff.customers.search import CustomerFilter
from billing_app.billing.staff.operations import provider_events
from billing_app.billing.staff.operations.metrics import (
    Money,
    PlatformOverview,
    list_near_limit,
    read_overview,
)
from billing_app.billing.staff.operations.metrics_rollup import look_for_limits, roll_up_again
from billing_app.billing.staff.operations.provider_events import EventQuery
from billing_app.billing.staff.operations.trouble import read_trouble
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.refunds import REFUND, RefundOne
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE
from billing_app.billing.usage.service import Days, GroupBy, read_usage
from billing_app.composition import Services, build_services
from billing_app.db.enums import StaffRole, WebhookState
from billing_app.demo.seed import seed_demo
from billing_app.jobs.staff import DbosJobs
from billing_app.jobs.webhooks import client
from billing_app.states.staff.overview import _figures as _figures_shown
from tests.databases import create_database
from tests.factories import PLATFORM_SERVICE, check_request, connect
from tests.payments.billing_harness import payment_settings
from tests.stripe_sandbox.running import Sandbox

SEED: Final = 1852
MONTH: Final = 30
ADMIN: Final = StaffActor("usr_counting", "Ada", StaffRole.ADMIN)
# Plans that can be used at the moment :now, as the table's docstring says.
USABLE: Final = """
    plans.starts_at <= %(now)s AND plans.ended_at IS NULL
    AND (plans.ends_at IS NULL OR plans.ends_at > %(now)s)
    AND (plans.suspended_at IS NULL OR plans.suspended_at > %(now)s)
    AND plans.paused_at IS NULL AND plans.blocked_at IS NULL
    AND NOT EXISTS (SELECT FROM accounts WHERE id = account_id AND accounts.blocked_at IS NOT NULL)
"""


@dataclass
class Counting:
    services: Services
    now: datetime

    @property
    def today(self) -> Any:
        return self.now.date()

    @property
    def days(self) -> Days:
        return Days(self.today - timedelta(days=MONTH - 1), self.today)

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        first, last = self.days.first, self.days.last
        given = {"now": self.now, "first": first, "last": last, **values}
        with connect(self.services.database.url) as connection:
            connection.execute("SET timezone = 'UTC'")
            return connection.execute(query, given).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def value(self, query: str, **values: Any) -> Any:
        ((found,),) = self.rows(query, **values)
        return found

    async def overview(self) -> PlatformOverview:
        return await read_overview(self.services.database, ADMIN, self.days, self.now)


@pytest.fixture(scope="module")
async def counting(
    sandbox_process: Sandbox,
    server_url: str,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Counting]:
    sandbox_process.control("reset")
    url = create_database(server_url, f"figures_{uuid.uuid4().hex[:8]}", database_template)
    directory: Path = tmp_path_factory.mktemp("figures")
    services = build_services(payment_settings(sandbox_process, data_directory=directory), url)
    now = datetime.now(UTC).replace(microsecond=0)
    await prepare(services)
    await seed_demo(services, now - timedelta(minutes=2), with_payments=True)
    made = Counting(services, now)
    await _disturb(made)
    await roll_up_again(services.database, now)
    await look_for_limits(services.database, now)
    yield made
    await services.close()


async def _disturb(made: Counting) -> None:
    chance = random.Random(SEED)  # noqa: S311
    await _go_beyond(made)
    await _refund(made, chance)
    accounts = made.rows("SELECT id FROM accounts ORDER BY id")
    beyond = made.rows("SELECT account_id FROM plans WHERE source = 'overage'")
    # Overage is counted too, so it stays usable; the demo has blocked one account already.
    blocked = made.rows("SELECT id FROM accounts WHERE blocked_at IS NOT NULL")
    stoppable = [account for account in accounts if account not in [*beyond, *blocked]]
    for (number,) in chance.sample(stoppable, 4):
        await _repair(made, BLOCK, ids.encode_account(number))
    plans = made.rows(
        "SELECT account_id, sequence FROM plans WHERE ended_at IS NULL AND paused_at IS NULL"
        " AND blocked_at IS NULL AND (ends_at IS NULL OR ends_at > %(now)s)"
        " AND source <> 'overage' ORDER BY 1, 2"
    )
    for plan in chance.sample(plans, 5):
        await _repair(made, PAUSE, ids.encode(ids.PLAN, *plan))
    _owe(made, chance, [number for (number,) in accounts])
    _trouble(made, chance)


async def _repair(made: Counting, repair: Any, target_id: str, form: Any = None) -> None:
    await carry_out(
        made.services.repairs,
        ADMIN,
        repair,
        target_id,
        form or NoFields(),
        reason="By chance",
        now=made.now,
    )


async def _go_beyond(made: Counting) -> None:
    """Use up the plans of accounts with a soft limit, and some more."""
    accounts = made.rows(
        "SELECT account_id, organization_id, coalesce(user_id, '') FROM plans"  # noqa: S608
        " JOIN accounts AS holder ON holder.id = account_id"
        f" WHERE source = 'overage' AND {USABLE} ORDER BY 1"
    )
    for number, organization_id, user_id in accounts:
        left = made.value(
            "SELECT coalesce(sum(executions - used - held), 0)::bigint FROM plans"  # noqa: S608
            f" WHERE account_id = %(number)s AND source <> 'overage' AND {USABLE}",
            number=number,
        )
        request = check_request(
            Mode.CONSUME, left + 1_337, "beyond", organization_id=organization_id, user_id=user_id
        )
        decision = await made.services.executions.decide(PLATFORM_SERVICE, request)
        assert isinstance(decision, Accepted), decision


async def _refund(made: Counting, chance: random.Random) -> None:
    used = made.rows(
        "SELECT account_id, number, sum(executions)::bigint FROM execution_events"
        " WHERE kind IN ('consume', 'commit') GROUP BY 1, 2 ORDER BY 1, 2"
    )
    for number, event, executions in chance.sample(used, 25):
        part = chance.choice([None, chance.randint(1, executions)])
        event_id = ids.encode(ids.EVENT, number, event)
        await _repair(made, REFUND, event_id, RefundOne(executions=part))


def _owe(made: Counting, chance: random.Random, accounts: list[int]) -> None:
    """Invoices in three currencies, of live, past due and ended subscriptions and of none."""
    versions = [row[0] for row in made.rows("SELECT id FROM offer_versions ORDER BY id")]
    free = {row[0] for row in made.rows("SELECT account_id FROM subscriptions")}
    statuses = ["active", "past_due", "unpaid", "canceled", "canceled", ""]
    for place, number in enumerate(number for number in accounts if number not in free):
        status = statuses[place % len(statuses)]
        if status:
            _subscribe(made, number, status, chance.choice(versions))
        if status == "past_due":
            _subscribe(made, number, status, chance.choice(versions), number_of=2)
        for _ in range(chance.randint(0, 3)):
            _invoice(made, chance, number)


def _subscribe(made: Counting, number: int, status: str, version: int, number_of: int = 1) -> None:
    """The second of an account is a duplicate, made at the provider."""
    made.rows(
        "INSERT INTO subscriptions (account_id, number, provider_id, status, offer_version_id,"
        " period_start, period_end, cancel_at_period_end, past_due_since, ended_at, synced_at,"
        " created_at, is_duplicate) VALUES (%(number)s, %(of)s, %(id)s, %(status)s, %(version)s,"
        " %(now)s - interval '20 days', %(now)s + interval '10 days', false, %(due)s, %(ended)s,"
        " %(now)s, %(now)s - interval '50 days', %(of)s = 2) RETURNING number",
        number=number,
        of=number_of,
        id=f"sub_{uuid.uuid4().hex}",
        status=status,
        version=version,
        due=made.now - timedelta(days=3) if status in {"past_due", "unpaid"} else None,
        ended=made.now - timedelta(days=2) if status == "canceled" else None,
    )


def _invoice(made: Counting, chance: random.Random, number: int) -> None:
    status = chance.choice(["paid", "open", "open", "void", "uncollectible", "draft"])
    due = chance.randint(1, 90_000)
    paid = due if status == "paid" else chance.choice([0, 0, due // 3])
    made.rows(
        "INSERT INTO invoices (account_id, provider_id, number, status, billing_reason, currency,"
        " amount_due_minor, amount_paid_minor, refunded_minor, page_url, pdf_url, issued_at,"
        " synced_at) VALUES (%(number)s, %(id)s, '', %(status)s, '', %(currency)s, %(due)s,"
        " %(paid)s, %(refunded)s, '', '', %(at)s, %(now)s) RETURNING number",
        number=number,
        id=f"in_{uuid.uuid4().hex}",
        status=status,
        currency=chance.choice(["EUR", "JPY", "KWD"]),
        due=due,
        paid=paid,
        refunded=paid // 2 if chance.random() < 0.3 else 0,
        at=made.now - timedelta(days=chance.randint(0, 70)),
    )


def _trouble(made: Counting, chance: random.Random) -> None:
    for place in range(12):
        made.rows(
            "INSERT INTO webhook_events (id, type, object_id, customer_id, payload, state,"
            " attempts, replays, occurred_at, received_at) VALUES (%(id)s, 'invoice.paid', '', '',"
            " '{}', %(state)s, 5, 0, %(now)s, %(now)s) RETURNING id",
            id=f"evt_by_chance_{place}",
            state=chance.choice(["dead", "dead", "processed", "failed"]),
        )
    for days_ago, differences, healed in ((3, 9, 1), (1, 5, 2)):
        made.rows(
            "INSERT INTO reconciliations (began_at, finished_at, dry_run, differences, healed,"
            " found) VALUES (%(at)s, %(at)s, false, %(differences)s, %(healed)s, '[]')"
            " RETURNING differences",
            at=made.now - timedelta(days=days_ago),
            differences=differences,
            healed=healed,
        )


def _money(rows: list[tuple[Any, ...]]) -> list[Money]:
    return [Money(currency, amount, count) for currency, amount, count in rows]


async def test_use_and_denials_of_thirty_days(counting: Counting) -> None:
    overview = await counting.overview()
    by_day = """
        SELECT (occurred_at AT TIME ZONE 'UTC')::date,
               coalesce(sum(executions) FILTER (WHERE executions > 0), 0)::bigint,
               coalesce(-sum(executions) FILTER (WHERE executions < 0), 0)::bigint
        FROM execution_events
        WHERE (occurred_at AT TIME ZONE 'UTC')::date BETWEEN %(first)s AND %(last)s
        GROUP BY 1 ORDER BY 1
    """
    told = [(day.day, day.used, day.refunded) for day in overview.days if day.used or day.refunded]
    assert told == counting.rows(by_day)
    assert sum(day.refunded for day in overview.days) > 0
    denied = counting.rows(
        "SELECT reason, sum(denied)::bigint FROM daily_denials"
        " WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 1"
    )
    told_denied: Counter[str] = Counter()
    for day in overview.days:
        told_denied.update(day.denied)
    assert told_denied == dict(denied)
    assert denied


async def test_trials(counting: Counting) -> None:
    overview = await counting.overview()
    started = """
        SELECT count(*) FROM plans WHERE source = 'trial'
        AND created_at::date BETWEEN %(first)s AND %(last)s
    """
    converted = """
        WITH bought AS (
            SELECT DISTINCT ON (account_id) account_id, created_at FROM plans
            WHERE source IN ('subscription', 'pack') ORDER BY account_id, created_at, sequence
        )
        SELECT count(*) FROM bought WHERE created_at::date BETWEEN %(first)s AND %(last)s
        AND account_id IN (SELECT account_id FROM plans WHERE type = 'trial')
    """
    assert sum(day.trials_started for day in overview.days) == counting.value(started)
    assert sum(day.trials_converted for day in overview.days) == counting.value(converted) > 0


async def test_subscriptions_and_money(counting: Counting) -> None:
    overview = await counting.overview()
    live = "SELECT status, count(*) FROM subscriptions WHERE ended_at IS NULL GROUP BY 1"
    assert overview.subscriptions == dict(counting.rows(live))
    active = live.replace("GROUP", "AND status IN ('active', 'trialing', 'past_due') GROUP")
    assert overview.active_subscriptions == sum(row[1] for row in counting.rows(active))
    revenue = """
        SELECT currency, sum(amount_paid_minor)::bigint, count(*) FROM invoices
        WHERE status = 'paid' AND date_trunc('month', issued_at) = date_trunc('month', %(now)s)
        GROUP BY 1 ORDER BY 1
    """
    assert overview.revenue == _money(counting.rows(revenue))
    overdue = "past_due_since IS NOT NULL AND ended_at IS NULL"
    accounts = f"SELECT count(DISTINCT account_id) FROM subscriptions WHERE {overdue}"  # noqa: S608
    assert overview.accounts_past_due == counting.value(accounts) > 0
    owed = """
        SELECT currency, sum(amount_due_minor - amount_paid_minor)::bigint, count(*)
        FROM invoices WHERE status = 'open' AND account_id {whose} GROUP BY 1 ORDER BY 1
    """
    late = f"IN (SELECT account_id FROM subscriptions WHERE {overdue})"  # noqa: S608
    none = "NOT IN (SELECT account_id FROM subscriptions WHERE ended_at IS NULL)"
    assert overview.owed == _money(counting.rows(owed.format(whose=late)))
    assert overview.owed_by_ended == _money(counting.rows(owed.format(whose=none)))
    assert {each.currency for each in overview.owed_by_ended} == {"EUR", "JPY", "KWD"}


async def test_accounts_near_their_limit(counting: Counting) -> None:
    near = f"""
        SELECT account_id, sum(executions)::bigint, sum(used)::bigint, sum(held)::bigint
        FROM plans WHERE source <> 'overage' AND {USABLE} GROUP BY 1
        HAVING sum(used + held) >= 0.8 * sum(executions) AND sum(executions) > 0
    """  # noqa: S608
    expected = {row[0]: row[1:] for row in counting.rows(near)}
    overview = await counting.overview()
    assert overview.near_limit == len(expected) > 0
    listed = await list_near_limit(counting.services.database, ADMIN, now=counting.now, limit=200)
    assert {_number(row): _figures(row) for row in listed.items} == expected


async def test_words_of_the_overview(counting: Counting) -> None:
    """The numbers as the page shows them."""
    shown = _figures_shown(await counting.overview(), str(MONTH))
    net, today = counting.rows(
        "SELECT coalesce(sum(executions), 0)::bigint,"
        " coalesce(sum(executions) FILTER (WHERE executions > 0"
        " AND occurred_at::date = %(last)s), 0)::bigint FROM execution_events"
        " WHERE occurred_at::date BETWEEN %(first)s AND %(last)s"
    )[0]
    assert shown.executions == f"{net:,}"
    assert shown.executions_note == f"in {MONTH} days, {today:,} used today"
    assert today > 0
    denied = "SELECT sum(denied) FROM daily_denials WHERE day BETWEEN %(first)s AND %(last)s"
    assert shown.denied == f"{counting.value(denied):,}"


async def test_overage(counting: Counting) -> None:
    """What may be used beyond the plans, and what it costs until now."""
    plans = counting.rows(
        "SELECT plans.account_id, used, held, plans.executions,"  # noqa: S608
        " ceil(used::numeric / overage_unit_executions)::bigint * overage_unit_price_minor"
        " FROM plans JOIN offer_versions ON offer_versions.id = plans.offer_version_id"
        f" WHERE source = 'overage' AND {USABLE}"
    )
    assert sum(row[1] for row in plans) > 0
    for number, used, held, executions, cost_minor in plans:
        current = await read_current(
            counting.services.database, ADMIN, ids.encode_account(number), counting.now
        )
        assert current.overage is not None
        overage = current.overage
        assert (overage.executions_used, overage.executions_held) == (used, held)
        assert overage.cost_minor == cost_minor
        assert overage.executions_limit <= executions


@pytest.mark.parametrize("state", [*WebhookState, None])
async def test_number_of_webhooks_listed(counting: Counting, state: WebhookState | None) -> None:
    services, found, cursor = counting.services, 0, None
    while found == 0 or cursor is not None:
        page = await provider_events.list_received(
            services.database,
            services.links,
            ADMIN,
            EventQuery(state=state),
            limit=100,
            cursor=cursor,
        )
        found, cursor = found + len(page.items), page.next_cursor
        if not page.items:
            break
    where = "state = %(state)s" if state else "state <> 'ignored'"
    query = f"SELECT count(*) FROM webhook_events WHERE {where}"  # noqa: S608
    assert found == counting.value(query, state=state)


async def test_trouble(counting: Counting) -> None:
    database = counting.services.database
    jobs = DbosJobs(client(database.url), database)
    trouble = await read_trouble(database, jobs, counting.services.disputes, ADMIN, counting.now)
    dead = "SELECT count(*) FROM webhook_events WHERE state = 'dead'"
    assert trouble.dead_letters == counting.value(dead) > 0
    left = "SELECT differences - healed FROM reconciliations ORDER BY began_at DESC LIMIT 1"
    assert trouble.open_differences == counting.value(left) == 3


async def test_every_row_of_the_customers_list(counting: Counting) -> None:
    rows = await _customers(counting)
    assert len(rows) == counting.value("SELECT count(*) FROM accounts") > 40
    held = f"""
        SELECT account_id, sum(executions)::bigint, sum(used)::bigint, sum(held)::bigint
        FROM plans WHERE source <> 'overage' AND {USABLE} GROUP BY 1
    """  # noqa: S608
    expected = {row[0]: row[1:] for row in counting.rows(held)}
    for row in rows:
        assert _figures(row) == expected.get(_number(row), (0, 0, 0)), row
    blocked = "SELECT id, blocked_at FROM accounts"
    assert {_number(row): row.blocked_at for row in rows} == dict(counting.rows(blocked))
    status = (
        "SELECT DISTINCT ON (account_id) account_id, status, past_due_since FROM subscriptions"
        " WHERE ended_at IS NULL ORDER BY account_id, number DESC"
    )
    told = [(_number(row), row.subscription_status, row.past_due_since) for row in rows]
    assert {each for each in told if each[1]} == set(counting.rows(status))


@pytest.mark.parametrize("column", ["blocked", "past_due"])
async def test_filters_of_the_customers_list(counting: Counting, column: str) -> None:
    queries = {
        "blocked": "SELECT id FROM accounts WHERE blocked_at IS NOT NULL",
        "past_due": "SELECT account_id FROM subscriptions WHERE ended_at IS NULL"
        " AND past_due_since IS NOT NULL",
    }
    rows = await _customers(counting, **{column: True})
    assert {_number(row) for row in rows} == {row[0] for row in counting.rows(queries[column])}


async def test_every_account_page(counting: Counting) -> None:
    """Balance, use of 30 days, denials, invoices and members of each account."""
    services, database = counting.services, counting.services.database
    for (number,) in counting.rows("SELECT id FROM accounts ORDER BY id"):
        account_id = ids.encode_account(number)
        identity = await account.read_identity(
            database, services.links, ADMIN, account_id, counting.now
        )
        current = await read_current(database, ADMIN, account_id, counting.now)
        if identity.row.plan_name is not None:
            told = (current.executions_total, current.executions_used, current.executions_held)
            assert told == _figures(identity.row), account_id
        assert await _usage(counting, account_id) == counting.rows(
            "SELECT workflow, coalesce(sum(executions), 0)::bigint FROM execution_events"
            " WHERE account_id = %(number)s"
            " AND (occurred_at AT TIME ZONE 'UTC')::date BETWEEN %(first)s AND %(last)s"
            " GROUP BY 1 HAVING sum(executions) <> 0 ORDER BY 1",
            number=number,
        )
        denials = await list_denials(database, ADMIN, account_id, counting.days)
        assert sum(each.denied for each in denials) == counting.value(
            "SELECT coalesce(sum(denied), 0) FROM daily_denials WHERE account_id = %(number)s"
            " AND day BETWEEN %(first)s AND %(last)s",
            number=number,
        )
        page = await account.list_account_invoices(
            database, services.links, ADMIN, account_id, limit=200
        )
        invoices = {
            (row.invoice.amount_due_minor, row.invoice.amount_paid_minor, row.invoice.currency)
            for row in page.items
        }
        query = "SELECT amount_due_minor, amount_paid_minor, currency FROM invoices"
        query += " WHERE account_id = %(number)s AND status <> 'draft'"
        assert invoices == set(counting.rows(query, number=number))


async def _usage(counting: Counting, account_id: str) -> list[tuple[str, int]]:
    rows = await read_usage(
        counting.services.database,
        ADMIN,
        account_id,
        days=counting.days,
        group_by=GroupBy.WORKFLOW,
    )
    return sorted((row.group, row.net) for row in rows if row.net)


async def _customers(counting: Counting, **filters: Any) -> list[CustomerRow]:
    found: list[CustomerRow] = []
    cursor = None
    while True:
        page = await search_customers(
            counting.services.database,
            ADMIN,
            CustomerFilter(**filters),
            now=counting.now,
            limit=20,
            cursor=cursor,
        )
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def _number(row: CustomerRow) -> int:
    number = ids.decode_account(row.account_id)
    assert number is not None
    return number


def _figures(row: CustomerRow) -> tuple[int, int, int]:
    return (row.executions, row.executions_used, row.executions_held)
