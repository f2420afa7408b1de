"""One model of an account: what can be used, why nothing can, and what comes next by itself."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.plans.service import CurrentPlan, PlanState
from billing_app.billing.subscriptions.account_summary import Shortage
from billing_app.billing.subscriptions.next_executions import NextExecutions, NextSource
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import EndReason
from tests.pages.summaries import NOW, summary_of
from tests.pages.test_bars import PLAN, current
from tests.pages.test_plan_labels import (
    CANCELLED,
    CHANGING,
    END,
    OVERDUE,
    PAID,
    holding,
    over,
)

LATER = replace(
    PLAN, name="Extra", state=PlanState.UPCOMING, starts_at=NOW + timedelta(days=5), remaining=70
)
AT_ONCE = replace(LATER, starts_at=NOW - timedelta(days=1))
RENEWAL = NextExecutions(END, 30_000, "Growth", NextSource.RENEWAL)


@pytest.mark.parametrize(
    ("found", "subscription", "coming"),
    [
        (current(0, 0), None, None),
        (current(0, 0), PAID, RENEWAL),
        (current(0, 0), replace(PAID, quantity=3), replace(RENEWAL, executions=90_000)),
        (current(0, 0), CHANGING, NextExecutions(END, 150_000, "Scale", NextSource.CHANGE)),
        (current(0, 0), CANCELLED, None),
        (current(0, 0), OVERDUE, None),
        (current(0, 0), replace(PAID, is_collecting=False), RENEWAL),
        (holding(PLAN, AT_ONCE), None, None),
        (
            holding(PLAN, LATER),
            PAID,
            NextExecutions(LATER.starts_at, 70, "Extra", NextSource.PLAN),
        ),
        (
            holding(None, LATER),
            CANCELLED,
            NextExecutions(LATER.starts_at, 70, "Extra", NextSource.PLAN),
        ),
    ],
)
def test_next_executions_are_those_that_come_by_themselves(
    found: CurrentPlan, subscription: SubscriptionView | None, coming: NextExecutions | None
) -> None:
    assert summary_of(found, subscription).next_executions == coming


@pytest.mark.parametrize(
    ("found", "shortage"),
    [
        (current(29_999, 0), None),
        (holding(None), None),
        (current(29_000, 1_000), Shortage.RESERVED),
        (current(30_000, 0), Shortage.USED_UP),
        (over(PLAN, EndReason.DEPLETED), Shortage.USED_UP),
        (over(PLAN, EndReason.PERIOD_ENDED), Shortage.ENDED),
        (over(PLAN, EndReason.CANCELLED), Shortage.ENDED),
        (
            replace(holding(replace(PLAN, is_suspended=True)), executions_remaining=0),
            Shortage.STOPPED,
        ),
    ],
)
def test_shortage_says_why_nothing_can_be_used(
    found: CurrentPlan, shortage: Shortage | None
) -> None:
    assert summary_of(found).shortage is shortage


def test_queue_is_what_has_not_ended_in_the_order_of_use() -> None:
    assert summary_of(holding(PLAN, LATER)).queue == [PLAN, LATER]
    assert summary_of(over(PLAN, EndReason.DEPLETED)).queue == []
    assert summary_of(holding(PLAN, LATER)).usable_count == 1
    assert summary_of(holding(PLAN, AT_ONCE)).usable_count == 2
