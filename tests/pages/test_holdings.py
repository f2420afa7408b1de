"""The dashboard's bar: what can be used, in the order of use, each with its end, and the cost of
what is beyond it; the subscription above it, whatever is used next."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import StorageState, expect

from billing_app import routes
from billing_app.billing.overage.rules import UNLIMITED_EXECUTIONS
from billing_app.billing.overage.views import OverageView
from billing_app.billing.plans.service import CurrentPlan, PlanView
from billing_app.db.enums import PlanSource
from billing_app.states.holdings import holdings
from tests.pages.conftest import DESKTOP, PHONE, OpenContext, open_page
from tests.pages.summaries import summary_of
from tests.pages.test_accessibility import SCHEMES, grave_violations, picture
from tests.pages.test_bars import NOW, PLAN
from tests.pages.test_plan_labels import CANCELLED, CHANGING, PAID, holding
from tests.pages.test_spending_limit_labels import overage

PACK = replace(
    PLAN,
    sequence=2,
    name="Pack",
    source=PlanSource.PACK,
    executions=500,
    used=100,
    held=50,
    remaining=350,
    ends_at=NOW + timedelta(days=4),
)
TRIAL = replace(PLAN, sequence=3, name="Trial", source=PlanSource.TRIAL, ends_at=None)


def usable(*plans: PlanView, beyond: OverageView | None = None) -> CurrentPlan:
    return replace(holding(plans[0], *plans[1:]), usable=plans, overage=beyond)


def test_each_plan_says_what_is_left_and_when_it_ends() -> None:
    rows = holdings(summary_of(usable(PACK, PLAN, TRIAL), PAID), may_raise=True)
    assert [(row.name, row.left, row.ends, row.weight) for row in rows] == [
        ("Pack", "350 of 500 left, 50 reserved", "Ends 30 November 2026", 350),
        ("Growth", "30,000 of 30,000 left", "Renews 17 December 2026", 30_000),
        ("Trial", "30,000 of 30,000 left", "No end date", 30_000),
    ]
    assert len({row.shade for row in rows}) == len(rows)


def test_end_of_a_period_is_what_will_happen_then() -> None:
    bridge = replace(PLAN, source=PlanSource.BRIDGE)
    for plan, subscription, ends in (
        (PLAN, CHANGING, "Changes 17 December 2026"),
        (PLAN, CANCELLED, "Ends 17 December 2026"),
        (bridge, PAID, "Renewal being confirmed"),
    ):
        (row,) = holdings(summary_of(usable(plan), subscription), may_raise=True)
        assert row.ends == ends


def test_one_plan_without_a_subscription_is_said_beside_the_bar() -> None:
    assert holdings(summary_of(usable(TRIAL)), may_raise=True) == []
    assert len(holdings(summary_of(usable(TRIAL, PACK)), may_raise=True)) == 2


@pytest.mark.parametrize(
    ("beyond", "name", "left", "may_raise"),
    [
        (overage(7_000), "7,000 beyond the plan", "$17.50 of $20.00", True),
        (overage(6_000, 400), "6,000 beyond the plan", "$15.00 of $20.00, 400 reserved", True),
        (overage(0), "Beyond the plan", "Up to $20.00", False),
        (
            overage(7_000, can_raise=False),
            "7,000 beyond the plan",
            "$17.50 so far, up to 8,000 executions",
            False,
        ),
        (overage(0, can_raise=False), "Beyond the plan", "Up to 8,000 executions", False),
        (
            replace(overage(7_000, limit=UNLIMITED_EXECUTIONS, can_raise=False), limit_minor=None),
            "7,000 beyond the plan",
            "$17.50 so far",
            False,
        ),
    ],
)
def test_beyond_the_plan_names_its_cost_and_what_ends_it(
    beyond: OverageView, name: str, left: str, may_raise: bool
) -> None:
    rows = holdings(summary_of(usable(PLAN, beyond=beyond), PAID), may_raise=True)
    assert (rows[-1].name, rows[-1].left, rows[-1].may_raise) == (name, left, may_raise)
    assert (rows[-1].weight, rows[-1].ends) == (0, "Period ends 17 December 2026")
    rows = holdings(summary_of(usable(PLAN, beyond=beyond), PAID), may_raise=False)
    assert not rows[-1].may_raise


def test_limit_of_zero_allows_nothing_beyond_the_plan() -> None:
    found = usable(PLAN, beyond=overage(0, limit=0))
    assert [row.name for row in holdings(summary_of(found, PAID), may_raise=True)] == ["Growth"]


def test_bar_is_cut_as_the_list_below_it_says(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    rows = page.get_by_role("list", name="In the order of use").get_by_role("listitem")
    expect(rows.first).to_be_visible()
    left = [
        int(found[1].replace(",", ""))
        for text in rows.all_inner_texts()
        if (found := re.search(r"([\d,]+) of [\d,]+ left", text)) and found[1] != "0"
    ]
    widths: list[float] = page.locator(".meter-segment").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert len(widths) == len(left)
    for width, count in zip(widths, left, strict=True):
        assert width / sum(widths) == pytest.approx(count / sum(left), abs=0.02)
    assert grave_violations(page) == []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page.set_viewport_size({"width": size[0], "height": size[1]})
            picture(page, f"holdings-{name}-{scheme}", full_page=True)


def test_tiles_lead_to_the_usage_and_refusals_stand_out(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    tile = page.locator(".stat").filter(has_text="Refused")
    expect(tile).to_have_attribute("href", routes.USAGE)
    value = tile.locator(".stat-value")
    is_none = value.inner_text() == "0"
    expect(value).to_have_class(re.compile(r"stat-value\s*$" if is_none else r"\bbad\b"))
