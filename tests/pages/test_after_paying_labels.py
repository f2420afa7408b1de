"""What the page says after paying: nothing that the plans beside it do not show."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.plans.service import CurrentPlan, PlanState
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.billing.subscriptions.provider import PreviewLine, ProviderPaymentMethod
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import EndReason, SubscriptionStatus
from billing_app.states import offer_dialogs, payments
from billing_app.states.balance import NEXT_PERIOD, balance_view, plan_details, warning_of
from tests.pages.summaries import summary_of
from tests.pages.test_bars import PLAN
from tests.pages.test_plan_labels import (
    CANCELLED,
    CHANGING,
    END,
    NOW,
    ON_TRIAL,
    OVERDUE,
    PACE,
    PAID,
    holding,
    over,
)

PREVIEW = ChangePreview(
    offer=PAID.offer,
    currency="USD",
    amount_due_minor=7_900,
    credit_minor=0,
    overage_minor=0,
    overage_executions=0,
    executions_unused=0,
    executions_after=30_000,
    period_end=END,
    lines=[PreviewLine("Growth", 7_900)],
    plan_sequence=1,
    quoted_at=NOW,
    due_at=NOW,
)
TRIAL = replace(PLAN, name="Trial", sequence=0, ends_at=None)
WAITING = replace(PLAN, state=PlanState.UPCOMING, began_at=None)
USED_UP = over(PLAN, EndReason.DEPLETED)


@pytest.mark.parametrize(
    ("found", "title", "text"),
    [
        (
            holding(PLAN, TRIAL),
            "You are now on Growth",
            "$79.00 was charged. Your 30,000 executions are available.",
        ),
        (
            holding(TRIAL, WAITING),
            "Paid: Growth is next",
            (
                "$79.00 was charged. Its 30,000 executions become available when Trial is used up"
                " or ends."
            ),
        ),
        (
            holding(TRIAL, replace(TRIAL, sequence=5, state=PlanState.UPCOMING), WAITING),
            "Paid: Growth is queued",
            (
                "$79.00 was charged. Its 30,000 executions become available when the 2 plans before"
                " it are used up or end."
            ),
        ),
        (
            holding(TRIAL),
            "Paid, being confirmed",
            (
                "Stripe has not confirmed it yet. Growth usually appears here within a minute; a"
                " bank debit takes several days. Until then nothing else can be bought, so nothing"
                " is charged twice."
            ),
        ),
    ],
)
def test_change_is_announced_once_its_plan_is_there(
    found: CurrentPlan, title: str, text: str
) -> None:
    told = offer_dialogs.changed(PAID, PREVIEW, summary_of(found, PAID))
    assert (told.title, told.text) == (title, text)


@pytest.mark.parametrize(
    ("subscription", "found", "title"),
    [
        (PAID, holding(PLAN), "Growth is active"),
        (PAID, holding(TRIAL, WAITING), "Growth is next"),
        (PAID, holding(TRIAL), "Paid, being confirmed"),
        (ON_TRIAL, holding(PLAN), "Growth is active"),
    ],
)
def test_subscription_is_called_active_once_its_plan_is_in_use(
    subscription: SubscriptionView, found: CurrentPlan, title: str
) -> None:
    summary = summary_of(found, subscription)
    assert offer_dialogs.subscribed(subscription, summary, 1_900).title == title


def test_next_period_is_announced_once_its_plan_is_there() -> None:
    told = offer_dialogs.next_period_started(PAID, PREVIEW, summary_of(holding(PLAN), PAID))
    assert told.title == "The next period of Growth has started"
    assert offer_dialogs.next_period_started(PAID, PREVIEW, summary_of(USED_UP, PAID)).tone == ""


def test_dialog_shows_the_charge_and_the_new_period() -> None:
    dialog, (start,) = offer_dialogs.starting_next_period(PAID, PREVIEW)
    assert dialog.title == "Start the next period of Growth"
    assert start.text == (
        "$79.00 is charged to your card today. The period ends now, and a new period starts with"
        " 30,000 executions until 17 December 2026, when it renews."
    )
    assert start.confirm_label == "Pay $79.00 and start now"
    dialog, (start,) = offer_dialogs.starting_next_period(
        ON_TRIAL, replace(PREVIEW, executions_unused=1)
    )
    assert dialog.title == "Start paying for Growth now"
    assert start.text.endswith("You give up 1 unused execution.")


def test_dialog_says_that_the_bank_is_asked() -> None:
    account = ProviderPaymentMethod("pm_1", "Bank account", "6789", "", is_debit=True)
    _, (start,) = offer_dialogs.starting_next_period(PAID, PREVIEW, account)
    assert start.text == (
        "Your bank is asked for $79.00 from your bank account ending in 6789 today. A new period"
        " with 30,000 executions until 17 December 2026 starts once your bank has paid, which takes"
        " a few days."
    )
    now = offer_dialogs.changing_now(PAID, PREVIEW, account)
    assert now.text.startswith("Your bank is asked for $79.00 from your bank account")
    assert offer_dialogs.lines_of(PREVIEW, account)[-1].description == "Asked from your bank"


@pytest.mark.parametrize(
    ("subscription", "label"),
    [
        (PAID, "Start the next period now"),
        (ON_TRIAL, "Start paying now"),
        (CHANGING, "Start Scale now"),
        (CANCELLED, ""),
        (OVERDUE, ""),
        (replace(PAID, is_collecting=False), ""),
        (replace(PAID, status=SubscriptionStatus.UNPAID, past_due_since=NOW), ""),
        (None, ""),
    ],
)
def test_next_period_is_offered_to_who_can_begin_it(
    subscription: SubscriptionView | None, label: str
) -> None:
    summary = summary_of(USED_UP, subscription, is_used_up=True)
    assert payments.terms_of(summary).start_label == label
    assert payments.terms_of(summary_of(USED_UP, subscription)).start_label == ""
    told = warning_of(summary, PACE)
    assert (told.action, told.url_label) == ((NEXT_PERIOD, label) if label else ("", ""))


def test_used_up_period_that_renews_has_not_ended() -> None:
    details = plan_details(summary_of(USED_UP, PAID))
    assert (details.note, details.has_ended, details.has_bar) == ("Current plan", False, True)
    assert (details.ends_label, details.ends) == ("Period ends", "17 December 2026")
    assert details.period_text == "21 days left"
    assert balance_view(summary_of(USED_UP, PAID), PACE).period == "Renews 17 December 2026"
    details = plan_details(summary_of(USED_UP, CANCELLED))
    assert (details.note, details.has_ended) == ("Last plan", True)


def test_end_date_is_that_of_the_plan_shown() -> None:
    """Whatever ends last, or never, behind it."""
    found = replace(holding(PLAN, TRIAL), period_end=None)
    assert balance_view(summary_of(found), PACE).period == "Ends 17 December 2026"
    assert plan_details(summary_of(found)).ends == "17 December 2026"
    found = replace(holding(TRIAL, WAITING), period_end=NOW + timedelta(days=1))
    assert balance_view(summary_of(found), PACE).period == "No end date"
