"""Pure views: the pace of use, and the timeline of plans."""

from datetime import date, timedelta
from typing import Any

import pytest

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.executions.state import PlanBalance
from billing_app.billing.plans.service import (
    BeginReason,
    PlanRow,
    PlanState,
    PlanView,
    timeline,
)
from billing_app.billing.usage.service import MAX_DAYS, DailyRow, Days, used_per_day
from billing_app.db.enums import EndReason, PlanSource
from tests.factories import NOW, plan

TODAY = date(2026, 3, 10)
HOUR = timedelta(hours=1)


def used(days_ago: int, executions: int, refunded: int = 0) -> DailyRow:
    return DailyRow(TODAY - timedelta(days=days_ago), "", executions, refunded, 0)


@pytest.mark.parametrize(
    ("rows", "refunded", "expected"),
    [
        ([], 0, 0.0),
        ([used(0, 5)], 5, 0.0),
        ([used(1, 5)], 9, 0.0),
        ([used(0, 10)], 0, 10.0),
        ([used(6, 7), used(0, 7)], 0, 2.0),
        ([used(1, 10, 2)], 2, 4.0),
        ([used(0, 10, 2_419)], 0, 10.0),
        ([used(3, 0, 50), used(0, 4)], 0, 4.0),
        ([DailyRow(TODAY, "", 0, 0, 9)], 0, 0.0),
        ([DailyRow(TODAY - timedelta(days=6), "", 0, 0, 9), used(0, 4)], 0, 4.0),
    ],
)  # fmt: skip
def test_pace_leaves_out_refunds_of_earlier_use(
    rows: list[DailyRow], refunded: int, expected: float
) -> None:
    assert used_per_day(rows, refunded=refunded, today=TODAY) == expected


def test_day_ranges_are_ordered_and_limited() -> None:
    Days(TODAY, TODAY)
    Days(TODAY - timedelta(days=MAX_DAYS - 1), TODAY)
    for first in (TODAY + timedelta(days=1), TODAY - timedelta(days=MAX_DAYS)):
        with pytest.raises(InvalidInputError):
            Days(first, TODAY)


def views(*plans: PlanBalance) -> list[PlanView]:
    return timeline(1, [PlanRow(plan, PlanSource.CONTRACT, NOW) for plan in plans], NOW)


def states(*plans: PlanBalance) -> list[PlanState]:
    return [view.state for view in views(*plans)]


def ended(sequence: int, because: EndReason, hours_ago: int, **more: Any) -> PlanBalance:
    values: dict[str, Any] = {
        "used": 5 if because is EndReason.DEPLETED else 2,
        "began_at": NOW - 20 * HOUR,
        "ended_at": NOW - hours_ago * HOUR,
        "ended_because": because,
    }
    return plan(sequence, 5, **(values | more))


def test_timeline_without_plans_is_empty() -> None:
    assert views() == []


def test_first_plan_begins_at_its_start() -> None:
    (view,) = views(plan(1, 5))
    assert view.state is PlanState.CURRENT
    assert (view.began_at, view.began_because) == (view.starts_at, BeginReason.FIRST_PLAN)
    assert (view.ended_at, view.ended_because) == (None, None)
    assert view.remaining == 5


def test_later_plans_are_upcoming() -> None:
    assert states(plan(1, 5), plan(2, 5), plan(3, 5)) == [
        PlanState.CURRENT,
        PlanState.UPCOMING,
        PlanState.UPCOMING,
    ]


@pytest.mark.parametrize(
    ("because", "reason"),
    [
        (EndReason.DEPLETED, BeginReason.PREVIOUS_DEPLETED),
        (EndReason.PERIOD_ENDED, BeginReason.PREVIOUS_PERIOD_ENDED),
        (EndReason.CANCELLED, BeginReason.PREVIOUS_CANCELLED),
    ],
)
def test_next_plan_begins_when_the_previous_one_ends(
    because: EndReason, reason: BeginReason
) -> None:
    first, second = views(ended(1, because, 3), plan(2, 5))
    assert first.state is PlanState.ENDED
    assert first.remaining == 0
    assert (first.ended_at, first.ended_because) == (NOW - 3 * HOUR, because)
    assert second.state is PlanState.CURRENT
    assert (second.began_at, second.began_because) == (NOW - 3 * HOUR, reason)


def test_plan_ends_with_its_period_before_any_decision() -> None:
    first, second = views(plan(1, 5, ends_at=NOW), plan(2, 5))
    assert (first.state, first.ended_because) == (PlanState.ENDED, EndReason.PERIOD_ENDED)
    assert first.ended_at == NOW
    assert (second.state, second.began_at) == (PlanState.CURRENT, NOW)
    last = plan(1, 5, ends_at=NOW + timedelta(microseconds=1))
    assert states(last) == [PlanState.CURRENT]


def test_fully_reserved_plan_lets_the_next_begin() -> None:
    first, second = views(
        plan(1, 5, held=5, began_at=NOW - HOUR), plan(2, 5, used=1, began_at=NOW - HOUR)
    )
    assert first.state is PlanState.CURRENT
    assert second.state is PlanState.CURRENT
    assert second.began_because is BeginReason.PREVIOUS_FULL


def test_future_plan_waits() -> None:
    (view,) = views(plan(1, 5, starts_at=NOW + HOUR))
    assert (view.state, view.began_at) == (PlanState.UPCOMING, None)


def test_future_plan_waits_when_staff_moved_executions_to_it() -> None:
    corrected = plan(1, 5, used=2, began_at=NOW - HOUR, starts_at=NOW + HOUR)
    assert states(corrected) == [PlanState.UPCOMING]


@pytest.mark.parametrize(
    "over",
    [
        plan(2, 5, ends_at=NOW - HOUR),
        ended(2, EndReason.CANCELLED, 3, used=0, began_at=None),
    ],
)
@pytest.mark.parametrize("before", [plan(1, 5), ended(1, EndReason.DEPLETED, 1)])
def test_plan_that_ended_in_the_queue_never_began(before: PlanBalance, over: PlanBalance) -> None:
    view = views(before, over)[1]
    assert view.state is PlanState.ENDED
    assert (view.began_at, view.began_because) == (None, None)


@pytest.mark.parametrize("overdue", [{}, {"suspended_at": NOW - HOUR}])
def test_plan_is_current_while_earlier_ones_start_in_the_future(
    overdue: dict[str, Any],
) -> None:
    later = plan(1, 5, starts_at=NOW + HOUR)
    _, view = views(later, plan(2, 5, **overdue))
    assert view.state is PlanState.CURRENT
    assert (view.began_at, view.began_because) == (view.starts_at, BeginReason.FIRST_PLAN)


def test_begun_plan_stays_current_when_an_earlier_one_starts_later() -> None:
    gone = ended(2, EndReason.CANCELLED, 3, used=0, began_at=None)
    _, view = views(plan(1, 5, starts_at=NOW - HOUR), gone)
    assert (view.began_at, view.began_because) == (view.starts_at, BeginReason.FIRST_PLAN)
