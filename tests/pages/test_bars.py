"""A bar shows what the words beside it say: how much is left, drawn, read aloud and in numbers."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, StorageState, expect

from billing_app import routes
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.staff.customers.customers import CustomerRow
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.db.enums import AccountKind, EndReason, PlanSource, PlanType
from billing_app.states.balance import balance_view, plan_details, plan_row
from billing_app.states.staff.customers import customer_line
from tests.factories import connect, organization
from tests.pages.conftest import PHONE, OpenContext, RunningApp, open_page
from tests.pages.staff import open_console, open_desk
from tests.pages.staff_scenes import run, use
from tests.pages.summaries import summary_of
from tests.pages.test_accessibility import grave_violations

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LEFT_OF = re.compile(r"([\d,]+) of ([\d,]+)")
PLAN = PlanView(
    id="pln_1",
    sequence=1,
    type=PlanType.PAID,
    name="Growth",
    source=PlanSource.SUBSCRIPTION,
    state=PlanState.CURRENT,
    executions=30_000,
    used=0,
    held=0,
    remaining=30_000,
    starts_at=NOW - timedelta(days=9),
    ends_at=NOW + timedelta(days=21),
    began_at=NOW - timedelta(days=9),
    began_because=None,
    ended_at=None,
    ended_because=None,
    paused_at=None,
)
FIGURES = [(0, 0), (1, 0), (12_345, 300), (24_000, 0), (29_999, 1), (30_000, 0)]


def share(words: str) -> float:
    """The share in percent that `1,200 of 5,000` tells."""
    found = LEFT_OF.search(words)
    assert found is not None, words
    left, total = (int(each.replace(",", "")) for each in found.groups())
    return 100 * left / total


def current(used: int, held: int) -> CurrentPlan:
    total, left = PLAN.executions, PLAN.executions - used - held
    plan = replace(PLAN, used=used, held=held, remaining=left)
    return CurrentPlan("acc_1", plan, total, used, held, left, plan.ends_at, [], None)


@pytest.mark.parametrize(("used", "held"), FIGURES)
def test_customer_bars_match_their_text(used: int, held: int) -> None:
    found = current(used, held)
    balance = balance_view(summary_of(found), Pace(0, None, None))
    words = f"{balance.remaining} {balance.of_total}"
    assert balance.left_percent == pytest.approx(share(words), abs=0.01)
    assert balance.left_percent + balance.held_percent <= 100.01
    details = plan_details(summary_of(found))
    assert details.left_percent == pytest.approx(share(details.left), abs=0.01)
    assert (details.period_text, details.period_left_percent) == ("21 days left", 70.0)


@pytest.mark.parametrize(
    ("used", "title"),
    [
        (23_999, ""),
        (24_000, "Only 20% of your executions are left"),
        (29_800, "Less than 1% of your executions are left"),
        (30_000, "All executions are used"),
    ],
)
def test_warning_states_what_is_left(used: int, title: str) -> None:
    balance = balance_view(summary_of(current(used, 0)), Pace(0, None, None))
    assert balance.warning_title == title


def nothing_left(plan: PlanView, *upcoming: PlanView) -> CurrentPlan:
    taken = (plan.executions, plan.used, plan.held)
    return CurrentPlan("acc_1", plan, *taken, 0, plan.ends_at, list(upcoming), None)


def ended(because: EndReason) -> PlanView:
    times = {"ends_at": NOW - timedelta(hours=1), "ended_at": NOW - timedelta(hours=1)}
    changes = {"used": 9, "remaining": 0, "state": PlanState.ENDED, "ended_because": because}
    return replace(PLAN, **times, **changes)


NEXT = replace(PLAN, name="Scale", state=PlanState.UPCOMING, starts_at=NOW + timedelta(days=5))


@pytest.mark.parametrize(
    ("found", "title", "explained"),
    [
        (
            nothing_left(ended(EndReason.DEPLETED)),
            "All executions are used",
            "New executions are refused until another plan starts.",
        ),
        (
            nothing_left(ended(EndReason.PERIOD_ENDED)),
            "Growth has ended",
            "New executions are refused until another plan starts.",
        ),
        (
            nothing_left(ended(EndReason.CANCELLED), NEXT),
            "Growth has ended",
            "New executions are refused until Scale starts on 1 December 2026.",
        ),
        (nothing_left(replace(PLAN, used=9, remaining=29_991, is_suspended=True)), "", ""),
        (nothing_left(replace(PLAN, used=9, remaining=29_991, paused_at=NOW)), "", ""),
    ],
)
def test_unusable_executions_are_not_called_used(
    found: CurrentPlan, title: str, explained: str
) -> None:
    balance = balance_view(summary_of(found), Pace(0, None, None))
    assert (balance.warning_title, balance.warning_text) == (title, explained)


def test_plan_awaiting_payment_does_not_promise_to_take_over() -> None:
    assert plan_row(NEXT).note == "Takes over automatically, period ends 17 December 2026"
    granted = replace(NEXT, source=PlanSource.STAFF_GRANT)
    assert plan_row(granted).note == "Takes over automatically, ends 17 December 2026"
    assert plan_row(replace(granted, ends_at=None)).note == "Takes over automatically"
    assert plan_row(replace(NEXT, is_suspended=True)).note == "Waiting for payment"


def test_only_usable_plans_are_counted() -> None:
    waiting = replace(PLAN, state=PlanState.UPCOMING)
    found = replace(current(0, 0), upcoming=[waiting, replace(waiting, is_suspended=True), NEXT])
    balance = balance_view(summary_of(found), Pace(0, None, None))
    assert balance.of_total == "of 30,000 executions left in 2 plans"


@pytest.mark.parametrize(("used", "held"), FIGURES)
def test_staff_list_bars_match_their_text(used: int, held: int) -> None:
    row = CustomerRow(
        account_id="acc_1",
        kind=AccountKind.ORGANIZATION,
        name="Acme",
        email="",
        organization_id="org_1",
        user_id=None,
        customer_id=None,
        plan_name="Growth",
        plan_type=PlanType.PAID,
        executions=30_000,
        executions_used=used,
        executions_held=held,
        goes_beyond=False,
        last_plan=None,
        subscription_status=None,
        past_due_since=None,
        disputed_since=None,
        blocked_at=None,
        created_at=NOW,
    )
    line = customer_line(row)
    assert line.left_percent == pytest.approx(share(line.remaining_text), abs=0.01)
    assert line.remaining_text.startswith(f"{line.remaining} of {line.executions} ")
    assert customer_line(replace(row, plan_name=None)).remaining_text == ""


def expect_honest(bar: Locator) -> None:
    """Drawn as full as it is read aloud."""
    percent = float(bar.get_attribute("aria-valuenow") or "nan")
    assert percent == pytest.approx(share(bar.get_attribute("aria-valuetext") or ""), abs=0.05)
    drawn = bar.evaluate(
        "bar => 100 * bar.firstElementChild.getBoundingClientRect().width"
        " / bar.getBoundingClientRect().width"
    )
    assert drawn == pytest.approx(percent, abs=2)


@pytest.mark.parametrize("path", [routes.DASHBOARD, routes.OVERVIEW])
def test_customers_see_what_is_left(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState, path: str
) -> None:
    page = open_page(open_context(session=owner_session), path)
    bar = page.get_by_role("progressbar", name="left").first
    expect(bar).to_be_visible()
    expect_honest(bar)
    told = bar.get_attribute("aria-valuetext") or ""
    beside = page.locator(".balance-figure, .measure-text").first
    words = LEFT_OF.search(told)
    assert words is not None
    expect(beside).to_contain_text(re.compile(rf"{words[1]}\s*of {words[2]}"))
    running_app.consume(40, workflow="support-triage", key=f"bars {path}")
    expect(bar).not_to_have_attribute("aria-valuetext", told)
    expect_honest(bar)


def test_staff_see_what_is_left(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, 1_000)
    name = f"Bars {holder.organization_id}"
    rename = "UPDATE organizations SET name = %s WHERE id = %s"
    run(running_app, rename, name, holder.organization_id)
    use(running_app, holder, 900)
    with connect(running_app.database_url) as connection:
        connection.execute(
            "INSERT INTO accounts_near_limit (account_id, executions, used, held)"
            " VALUES (%s, 1000, 900, 0) ON CONFLICT DO NOTHING",
            [holder.account_number],
        )
    for size in ((1280, 800), PHONE):
        desk = open_desk(open_context, running_app, holder, size=size)
        bar = desk.page.get_by_role("progressbar", name="Executions left")
        expect(bar).to_have_attribute("aria-valuetext", "100 of 1,000 executions left")
        expect_honest(bar)
        for path, table in (
            (routes.STAFF_CUSTOMERS, "Customers"),
            (routes.STAFF, "Near limit"),
        ):
            page = open_console(open_context, running_app, path, size=size)
            row = page.get_by_role("row").filter(has_text=name)
            bar = row.get_by_role("progressbar", name=f"Executions remaining: {name}")
            expect(bar).to_have_attribute("aria-valuetext", "100 of 1,000 left")
            expect(row.locator(".remaining-figure")).to_have_text("100")
            expect_honest(bar)
            assert page.get_by_role("table", name=table).is_visible()
            assert grave_violations(page) == []
