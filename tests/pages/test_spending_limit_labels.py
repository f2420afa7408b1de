"""What the pages say of a spending limit that is near or reached, and of a stopped top-up."""

from dataclasses import replace

import pytest

from billing_app.billing.overage.views import OverageView
from billing_app.billing.subscriptions.top_ups import NO_CARD, NOT_SOLD, REFUSED, TopUpView
from billing_app.db.enums import EndReason, Interval
from billing_app.states.balance import balance_view, warning_of
from billing_app.states.banner import banner_of
from billing_app.states.spending_limit_views import RAISE, top_up_item
from tests.pages.summaries import summary_of
from tests.pages.test_bars import PLAN
from tests.pages.test_payment_labels import StopKind, offer, stop
from tests.pages.test_plan_labels import END, NOW, PACE, PAID, over

UNTIL = "New executions are refused until Growth renews on 17 December 2026."
HELPS = " Raising the spending limit helps at once."


def overage(used: int, held: int = 0, *, limit: int = 8_000, can_raise: bool = True) -> OverageView:
    """At $0.25 for 100, with $20.00 as the account's own limit."""
    cost_minor = -(-used // 100) * 25
    left = limit - used - held
    return OverageView(
        used, held, limit, left, 25, 100, "USD", cost_minor, 2_000, END, can_raise_limit=can_raise
    )


@pytest.mark.parametrize(
    ("found", "tone", "title", "text", "action"),
    [
        (
            overage(6_399),
            "warning",
            "All executions in your plans are used",
            "Executions continue within your spending limit: $16.00 beyond your plan so far.",
            "",
        ),
        (
            overage(7_000),
            "warning",
            "$17.50 of your $20.00 spending limit is used",
            f"When it is reached, n{UNTIL[1:]}{HELPS}",
            RAISE,
        ),
        (overage(6_000, 400), "warning", "$15.00 of your $20.00 spending limit is used", "", RAISE),
        (overage(8_000), "bad", "Your $20.00 spending limit is reached", UNTIL + HELPS, RAISE),
        (
            overage(8_000, can_raise=False),
            "bad",
            "Your plan's limit of 8,000 extra executions is reached",
            UNTIL,
            "",
        ),
        (
            overage(7_000, can_raise=False),
            "warning",
            "87% of your plan's limit of 8,000 extra executions is used",
            "",
            "",
        ),
        (overage(0, limit=0), "bad", "All executions are used", UNTIL + HELPS, RAISE),
    ],
)
def test_limit_warns_before_it_is_reached_and_says_what_helps(
    found: OverageView, tone: str, title: str, text: str, action: str
) -> None:
    current = replace(over(PLAN, EndReason.DEPLETED), overage=found)
    told = warning_of(summary_of(current, PAID), PACE)
    assert (told.tone, told.title, told.action) == (tone, title, action)
    assert told.text.startswith(text)
    balance = balance_view(summary_of(current, PAID), PACE)
    assert (balance.warning_title, balance.warning_tone) == (title, tone)
    going_on = found.executions_remaining > 0
    assert balance.pace == ("Running beyond your plan" if going_on else "None left")
    assert balance.period == "Renews 17 December 2026"


def top_up(because: str | None) -> TopUpView:
    pack = offer("pack", 10_000, Interval.ONCE)
    return TopUpView("acc_1", pack, 500, 10_000, "USD", 0, because, None, NOW)


@pytest.mark.parametrize(
    ("because", "helps"),
    [
        ("Your card was declined.", "Update the card in Stripe, then turn it on again."),
        (NO_CARD, "Update the card in Stripe, then turn it on again."),
        (NOT_SOLD, "Turn it on again with another pack."),
        (REFUSED, "Turn it on again, or contact support."),
    ],
)
def test_stopped_top_up_says_why_and_what_helps(because: str, helps: str) -> None:
    item = top_up_item(top_up(because), [])
    assert (item.stopped, item.action) == (because, "Turn on again")
    assert item.text == f"Nothing is bought automatically any more. {helps}"
    banner = banner_of(None, may_manage=True, managers="", top_up=top_up(because))
    assert (banner.tone, banner.title) == ("warning", "Automatic top-up has stopped")
    assert banner.text == f"{because} Nothing is bought automatically any more. {helps}"
    assert banner.has_top_up
    member = banner_of(None, may_manage=False, managers="Ada", top_up=top_up(because))
    assert (member.has_top_up, helps in member.text) == (False, False)


def test_running_top_up_and_worse_news_leave_no_top_up_banner() -> None:
    assert banner_of(None, may_manage=True, managers="", top_up=top_up(None)).title == ""
    overdue = stop(StopKind.PAST_DUE, is_over=True)
    found = banner_of(overdue, may_manage=True, managers="", top_up=top_up(NO_CARD))
    assert "top-up" not in found.title
