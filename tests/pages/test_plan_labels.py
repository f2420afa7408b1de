"""What the pages say of a plan that ends, renews or is used up, and of what follows it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing.overage.views import OverageView
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.billing.subscriptions.next_executions import FreeOffer
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import EndReason, PlanSource, SubscriptionStatus
from billing_app.states import offer_dialogs
from billing_app.states.balance import (
    balance_view,
    follows,
    nothing_follows,
    plan_details,
    warning_of,
)
from billing_app.states.payments import renewal_note, terms_of
from tests.pages.summaries import summary_of
from tests.pages.test_bars import PLAN, current
from tests.pages.test_payment_labels import offer

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
END = NOW + timedelta(days=21)
PACE = Pace(0, None, None)
PAID = SubscriptionView(
    id="sub_1",
    account_id="acc_1",
    status=SubscriptionStatus.ACTIVE,
    offer=replace(offer("growth", 30_000), price_minor=7_900),
    next_offer=None,
    period_start=NOW - timedelta(days=9),
    period_end=END,
    cancel_at_period_end=False,
    ends_at=END,
    is_collecting=True,
    quantity=1,
    past_due_since=None,
    ended_at=None,
)
CANCELLED = replace(PAID, cancel_at_period_end=True)
OVERDUE = replace(PAID, past_due_since=NOW)
CHANGING = replace(PAID, next_offer=replace(offer("scale", 150_000), price_minor=29_900))
ON_TRIAL = replace(PAID, status=SubscriptionStatus.TRIALING)
GRANT = replace(PLAN, name="Extra", source=PlanSource.STAFF_GRANT, ends_at=None)
WAITING = replace(GRANT, state=PlanState.UPCOMING)
BEYOND = OverageView(0, 0, 1_000, 1_000, 25, 100, "USD", 0, None, END)


def holding(plan: PlanView | None, *upcoming: PlanView) -> CurrentPlan:
    found = replace(current(0, 0), plan=plan, upcoming=list(upcoming))
    return replace(found, period_end=plan.ends_at if plan else None)


def over(plan: PlanView, because: EndReason) -> CurrentPlan:
    ended = {"state": PlanState.ENDED, "ended_at": NOW, "ended_because": because, "remaining": 0}
    taken = {"executions_used": plan.executions, "executions_remaining": 0}
    return replace(holding(replace(plan, **ended)), **taken)


@pytest.mark.parametrize(
    ("because", "period"), [(EndReason.DEPLETED, "Used up"), (EndReason.CANCELLED, "Ended")]
)
def test_ended_plan_is_not_described_as_current(because: EndReason, period: str) -> None:
    for plan in (PLAN, GRANT):
        found = over(plan, because)
        details = plan_details(summary_of(found))
        assert (details.note, details.has_ended, details.has_bar) == ("Last plan", True, False)
        assert (details.period_label, details.period_text) == ("Period", period)
        assert (details.ends_label, details.ends) == ("Ended", "26 November 2026")
        assert balance_view(summary_of(found), PACE).period == "Ended 26 November 2026"


@pytest.mark.parametrize(
    ("subscription", "foot", "label"),
    [
        (None, "Ends 17 December 2026", "Ends"),
        (PAID, "Renews 17 December 2026", "Period ends"),
        (CHANGING, "Changes 17 December 2026", "Period ends"),
        (CANCELLED, "Ends 17 December 2026", "Ends"),
        (OVERDUE, "Ends 17 December 2026", "Ends"),
        (replace(PAID, period_end=END + timedelta(days=9)), "Ends 17 December 2026", "Ends"),
    ],
)
def test_renewing_plan_does_not_say_it_ends(
    subscription: SubscriptionView | None, foot: str, label: str
) -> None:
    found = current(0, 0)
    assert balance_view(summary_of(found, subscription), PACE).period == foot
    assert plan_details(summary_of(found, subscription)).ends_label == label


@pytest.mark.parametrize(
    ("left", "subscription", "said"),
    [
        (timedelta(days=30) - timedelta(minutes=1), PAID, "30 days left"),
        (timedelta(days=30), PAID, "30 days left"),
        (timedelta(days=1, hours=11), PAID, "2 days left"),
        (timedelta(hours=13), PAID, "1 day left"),
        (timedelta(hours=11), None, "Ends today"),
        (timedelta(hours=11), PAID, "Renews today"),
        (timedelta(0), PAID, "Ended"),
    ],
)
def test_partial_days_are_rounded(
    left: timedelta, subscription: SubscriptionView | None, said: str
) -> None:
    paid = replace(subscription, period_end=NOW + left) if subscription else None
    details = plan_details(summary_of(holding(replace(PLAN, ends_at=NOW + left)), paid))
    assert details.period_text == said


def test_open_ended_period_has_no_bar() -> None:
    details = plan_details(summary_of(holding(GRANT)))
    assert (details.period_label, details.has_bar) == ("Period", False)
    assert details.period_text == "Lasts until its executions are used"


def test_fully_held_plan_refuses_new_executions() -> None:
    told = warning_of(summary_of(current(29_000, 1_000)), PACE)
    assert told.title == "All executions are used or reserved"
    assert told.text == (
        "New executions are refused until running executions finish and release what they did not"
        " use."
    )
    told = warning_of(summary_of(replace(current(29_000, 1_000), overage=BEYOND)), PACE)
    assert told.title == "All executions in your plans are used or reserved"
    assert told.text.startswith("Executions continue")


@pytest.mark.parametrize(
    ("subscription", "until"),
    [
        (None, "another plan starts"),
        (CANCELLED, "another plan starts"),
        (PAID, "Growth renews on 17 December 2026"),
        (CHANGING, "Scale starts on 17 December 2026"),
    ],
)
def test_refusal_names_what_ends_it(subscription: SubscriptionView | None, until: str) -> None:
    told = warning_of(summary_of(over(PLAN, EndReason.DEPLETED), subscription), PACE)
    assert (told.tone, told.text) == ("bad", f"New executions are refused until {until}.")


NOTHING = "No plan is queued. When this one is used up{}, new executions are refused"


@pytest.mark.parametrize(
    ("subscription", "found", "said"),
    [
        (PAID, holding(PLAN), "Growth renews on 17 December 2026: 30,000 executions for $79.00"),
        (
            PAID,
            over(PLAN, EndReason.DEPLETED),
            "Growth renews on 17 December 2026: 30,000 executions for $79.00",
        ),
        (
            CHANGING,
            holding(PLAN),
            "Changes to Scale on 17 December 2026: 150,000 executions for $299.00",
        ),
        (
            ON_TRIAL,
            holding(PLAN),
            "The Growth trial ends on 17 December 2026, then 30,000 executions for $79.00",
        ),
        (OVERDUE, holding(PLAN), ""),
        (
            CANCELLED,
            holding(PLAN),
            "Growth ends on 17 December 2026, then new executions are refused",
        ),
        (CANCELLED, holding(PLAN, WAITING), "Growth ends on 17 December 2026"),
        (CANCELLED, over(PLAN, EndReason.DEPLETED), ""),
        (None, holding(PLAN), NOTHING.format(" or ends")),
        (None, holding(GRANT), NOTHING.format("")),
        (None, holding(GRANT, WAITING), ""),
        (None, replace(holding(PLAN), overage=BEYOND), ""),
        (None, current(29_000, 1_000), ""),
        (None, over(GRANT, EndReason.DEPLETED), ""),
        (None, holding(None), ""),
    ],
)
def test_next_plan_after_the_current_one(
    subscription: SubscriptionView | None, found: CurrentPlan, said: str
) -> None:
    assert renewal_note(summary_of(found, subscription), tops_up=False) == said


def test_automatic_top_up_counts_as_what_follows() -> None:
    assert renewal_note(summary_of(holding(PLAN)), tops_up=True) == ""
    told = renewal_note(summary_of(holding(PLAN), CANCELLED), tops_up=True)
    assert told == "Growth ends on 17 December 2026"


def test_unpaid_period_is_called_unpaid() -> None:
    terms = terms_of(summary_of(holding(PLAN), OVERDUE))
    assert terms.text == "This period is not paid yet. It ends on 17 December 2026."


def test_later_price_is_said_to_be_without_tax() -> None:
    held, growth = PAID, offer("growth", 30_000)
    for is_taxed, price in ((True, "$79.00 a month plus tax."), (False, "$79.00 a month.")):
        _, (later,) = offer_dialogs.changing(held, growth, None, is_taxed=is_taxed)
        assert later.text.endswith(f"From then on, you pay {price}")


FREE = FreeOffer(
    NOW + timedelta(days=3), NOW - timedelta(days=28), replace(offer("growth", 30_000), name="Free")
)


@pytest.mark.parametrize(
    ("summary", "said", "is_nothing"),
    [
        (
            summary_of(holding(PLAN), PAID),
            "Next: 30,000 executions on 17 December 2026, when Growth renews",
            False,
        ),
        (
            summary_of(holding(PLAN), CHANGING),
            "Next: 150,000 executions on 17 December 2026, when your plan changes to Scale",
            False,
        ),
        (
            replace(summary_of(holding(PLAN)), free_offer=FREE),
            "Next: 30,000 executions on 29 November 2026, when Free refills",
            False,
        ),
        (summary_of(holding(PLAN), CANCELLED), "", True),
        (summary_of(holding(PLAN)), "", True),
        (replace(summary_of(holding(PLAN)), tops_up=True), "", False),
        (replace(summary_of(holding(PLAN), PAID), is_blocked=True), "", False),
        (summary_of(holding(PLAN), OVERDUE), "", False),
    ],
)
def test_balance_says_what_follows_or_that_nothing_does(
    summary: AccountSummary, said: str, is_nothing: bool
) -> None:
    assert (follows(summary), nothing_follows(summary)) == (said, is_nothing)


def test_refill_is_noted_below_the_queue() -> None:
    refilled = replace(summary_of(holding(PLAN)), free_offer=FREE)
    told = "Free refills on 29 November 2026: 30,000 executions"
    assert renewal_note(refilled, tops_up=False) == told
    cancelled = replace(refilled, subscription=CANCELLED)
    assert renewal_note(cancelled, tops_up=False) == (
        "Growth ends on 17 December 2026. Free refills on 29 December 2026: 30,000 executions"
    )
