"""How long executions last: plans in the order of use, each until it is used up or ends."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.forecast import DAY, Pace, forecast
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.billing.usage.service import MAX_DAYS
from billing_app.states.balance import balance_view
from tests.pages.summaries import NOW, summary_of
from tests.pages.test_bars import PLAN
from tests.pages.test_plan_labels import CANCELLED, END, PAID


def of(
    sequence: int, remaining: int, ends_in_days: float | None = None, starts_in_days: float = -1
) -> PlanView:
    return replace(
        PLAN,
        id=f"pln_{sequence}",
        sequence=sequence,
        executions=remaining,
        remaining=remaining,
        state=PlanState.CURRENT if sequence == 1 else PlanState.UPCOMING,
        starts_at=NOW + timedelta(days=starts_in_days),
        ends_at=None if ends_in_days is None else NOW + timedelta(days=ends_in_days),
    )


def holding(*plans: PlanView, subscription: SubscriptionView | None = None) -> AccountSummary:
    left = sum(plan.remaining for plan in plans if plan.is_usable(NOW))
    first, *rest = plans
    return summary_of(
        CurrentPlan("acc_1", first, left, 0, 0, left, first.ends_at, rest, None), subscription
    )


def in_days(days: int) -> date:
    return (NOW + timedelta(days=days)).date()


@pytest.mark.parametrize(
    ("plans", "per_day", "expected"),
    [
        ([of(1, 100)], 0.0, Pace(0.0, None, None)),
        ([of(1, 100)], 10.0, Pace(10.0, 10, in_days(10))),
        ([of(1, 0)], 10.0, Pace(10.0, 0, in_days(0))),
        ([of(1, MAX_DAYS + 1)], 1.0, Pace(1.0, None, None)),
        # 66 days at this pace, were it not for the end of the larger plan.
        (
            [of(1, 34_398, 21), of(2, 10_007)],
            44_405 / 66,
            Pace(44_405 / 66, 35, in_days(36), 20_269),
        ),
        ([of(1, 500, 10)], 10.0, Pace(10.0, 10, in_days(10), 400, NOW + 10 * DAY)),
        ([of(1, 100, 30), of(2, 100, 15)], 10.0, Pace(10.0, 15, in_days(15), 50, NOW + 15 * DAY)),
        ([of(1, 50), of(2, 50, None, 3)], 10.0, Pace(10.0, 10, in_days(10))),
        ([of(1, 50), of(2, 50, None, 9)], 10.0, Pace(10.0, 5, in_days(5))),
        ([of(1, 50), replace(of(2, 50), paused_at=NOW)], 10.0, Pace(10.0, 5, in_days(5))),
        ([of(1, 50), replace(of(2, 50), is_suspended=True)], 10.0, Pace(10.0, 5, in_days(5))),
    ],
)
def test_queue_is_walked_through(plans: list[PlanView], per_day: float, expected: Pace) -> None:
    assert forecast(holding(*plans), per_day) == expected


PLANS = st.lists(
    st.tuples(st.integers(0, 10_000), st.none() | st.floats(0.01, 90), st.floats(-5, 30)),
    min_size=1,
    max_size=5,
)


@given(PLANS, st.floats(0.1, 1e9))
def test_nothing_lasts_longer_than_it_is_used(
    drawn: list[tuple[int, float | None, float]], per_day: float
) -> None:
    plans = [
        of(sequence, left, max(ends, starts + 1) if ends is not None else None, starts)
        for sequence, (left, ends, starts) in enumerate(drawn, 1)
    ]
    pace, total = forecast(holding(*plans), per_day), sum(left for left, _, _ in drawn)
    if pace.days_left is None:
        return
    assert pace.days_left * per_day + pace.expires_unused <= total + 1
    ends = [plan.ends_at or datetime.max.replace(tzinfo=NOW.tzinfo) for plan in plans]
    assert NOW + timedelta(days=pace.days_left) <= max(ends)


UNUSED = "20,269 executions will expire unused"


@pytest.mark.parametrize(
    ("plans", "subscription", "said"),
    [
        ([of(1, 6_000)], None, "runs out on Sun 6 Dec"),
        ([of(1, 34_398, 21), of(2, 10_007)], None, f"runs out on Fri 1 Jan; {UNUSED}"),
        (
            [of(1, 34_398, 21), of(2, 10_007)],
            PAID,
            f"not counting the renewal on Thu 17 Dec; {UNUSED}",
        ),
        ([of(1, 34_398, 21)], PAID, f"until the plan renews on Thu 17 Dec; {UNUSED}"),
        ([of(1, 34_398, 21)], CANCELLED, f"until the plan ends on Thu 17 Dec; {UNUSED}"),
    ],
)
def test_page_says_what_expires(
    plans: list[PlanView], subscription: SubscriptionView | None, said: str
) -> None:
    assert NOW + timedelta(days=21) == END
    summary = holding(*plans, subscription=subscription)
    per_day = 44_405 / 66 if plans[0].ends_at else 600.0
    assert balance_view(summary, forecast(summary, per_day)).runs_out == said
