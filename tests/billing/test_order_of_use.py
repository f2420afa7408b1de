"""What ends first is used first: `decide` and the history against plain models."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.executions.requests import Commit, Refund
from billing_app.billing.executions.state import PlanBalance, queue_order
from billing_app.billing.plans.beginnings import BeginReason, beginnings
from billing_app.db.enums import EndReason, PlanType
from tests.billing.counting import (
    LATER,
    SECOND,
    consume,
    event_number,
    ledger_of,
    refuse,
    reserve,
)
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, PLATFORM, plan

DAY = timedelta(days=1)
MONTH_END = NOW + 30 * DAY


def trial(executions: int = 1_000) -> PlanBalance:
    return plan(1, executions, name="Trial", type=PlanType.TRIAL)


def month(sequence: int = 2, executions: int = 5, ends_at: datetime = MONTH_END) -> PlanBalance:
    return plan(sequence, executions, name="Starter", starts_at=NOW, ends_at=ends_at)


def add(ledger: MemoryLedger, added: PlanBalance) -> None:
    ledger.plans[1][added.sequence] = added


def test_paid_month_is_used_before_the_endless_trial() -> None:
    ledger = MemoryLedger([trial(), month()])
    answer = consume(ledger, 7, "a")
    assert ledger.parts(answer["event_id"]) == [(2, 5), (1, 2)]
    assert answer["executions_remaining"] == 998
    assert ledger.plans[1][2].ended_because == EndReason.DEPLETED


def test_plan_in_use_gives_way_to_one_that_ends_earlier_and_goes_on_after_it() -> None:
    ledger = ledger_of(1_000)
    consume(ledger, 300, "a")
    add(ledger, month())
    assert ledger.parts(consume(ledger, 4, "b", LATER)["event_id"]) == [(2, 4)]
    assert ledger.parts(consume(ledger, 1, "c", MONTH_END)["event_id"]) == [(1, 1)]
    assert [kept.used for kept in ledger.plans[1].values()] == [301, 4]
    assert ledger.plans[1][2].ended_because == EndReason.PERIOD_ENDED
    assert ledger.plans[1][1].ended_at is None


def test_future_plan_that_ends_earlier_blocks_nothing_and_comes_first_once_started() -> None:
    later = plan(2, 5, starts_at=NOW + DAY, ends_at=NOW + 2 * DAY)
    ledger = MemoryLedger([plan(1, 10), later])
    assert ledger.parts(consume(ledger, 1, "a")["event_id"]) == [(1, 1)]
    assert refuse(ledger, 10, "b").extensions["executions_remaining"] == 9
    assert ledger.parts(consume(ledger, 1, "c", NOW + DAY)["event_id"]) == [(2, 1)]


def test_priority_of_an_offer_comes_before_the_end() -> None:
    ledger = MemoryLedger([month(1), plan(2, 5, priority=200, ends_at=NOW + DAY)])
    assert ledger.parts(consume(ledger, 6, "a")["event_id"]) == [(1, 5), (2, 1)]


def test_refund_reopens_the_month_which_is_used_first_again() -> None:
    ledger = MemoryLedger([trial(), month()])
    number = event_number(consume(ledger, 5, "a"))
    ledger.accept(Refund(1, number, 2, "failed", "", PLATFORM), LATER)
    assert ledger.parts(consume(ledger, 3, "b", NOW + DAY)["event_id"]) == [(2, 2), (1, 1)]


def test_reservation_is_committed_from_the_plans_that_it_held() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 3, "a")
    add(ledger, month())
    answer = ledger.accept(Commit(1, number, 2, PLATFORM), LATER)
    assert ledger.parts(str(answer["event_id"])) == [(1, 2)]
    both = reserve(ledger, 6, "b", LATER + SECOND)
    answer = ledger.accept(Commit(1, both, None, PLATFORM), LATER + 2 * SECOND)
    assert sorted(ledger.parts(str(answer["event_id"]))) == [(1, 1), (2, 5)]


added_plans = st.builds(
    lambda executions, starts, lasts, priority: plan(
        1,
        executions,
        starts_at=NOW + starts * DAY,
        ends_at=None if lasts is None else NOW + (starts + lasts) * DAY,
        priority=priority,
    ),
    st.integers(2, 9),
    st.sampled_from([-1, -1, -1, 0, 1, 2]),
    st.none() | st.integers(2, 9),
    st.sampled_from([100, 100, 100, 50, 200]),
)
steps = st.builds(
    lambda first, later: [*first, *later],
    st.lists(added_plans, min_size=2, max_size=4),
    st.lists(st.one_of(st.integers(1, 4), st.integers(1, 4), added_plans), min_size=3, max_size=15),
)


@given(program=steps)
def test_each_execution_is_of_the_plan_that_ends_first(program: list[PlanBalance | int]) -> None:
    """Plans come at any time; each execution alone takes the first of what is left."""
    ledger = MemoryLedger([])
    left: dict[int, int] = {}
    for place, step in enumerate(program):
        now = NOW + timedelta(hours=6 * place)
        if isinstance(step, PlanBalance):
            sequence = len(left) + 1
            left[sequence] = step.executions
            add(ledger, plan(sequence, step.executions, starts_at=step.starts_at,
                             ends_at=step.ends_at, priority=step.priority))  # fmt: skip
            continue
        taken: dict[int, int] = {}
        for _ in range(step):
            free = [p for p in ledger.plans[1].values() if _is_free(p, now, left)]
            if not free:
                break
            first = min(free, key=lambda p: (p.priority, _days(p.ends_at), p.sequence))
            left[first.sequence] -= 1
            taken[first.sequence] = taken.get(first.sequence, 0) + 1
        if sum(taken.values()) < step:
            refuse(ledger, step, f"key {place}", now)
            for number, count in taken.items():
                left[number] += count
        else:
            answer = consume(ledger, step, f"key {place}", now)
            assert dict(ledger.parts(answer["event_id"])) == taken
        assert all(p.executions - p.used == left[p.sequence] for p in ledger.plans[1].values())


def _is_free(kept: PlanBalance, now: datetime, left: dict[int, int]) -> bool:
    is_over = kept.ends_at is not None and kept.ends_at <= now
    return left[kept.sequence] > 0 and kept.starts_at <= now and not is_over


def _days(ends_at: datetime | None) -> float:
    return float("inf") if ends_at is None else (ends_at - NOW) / DAY


Told = tuple[datetime | None, BeginReason | None]


def told(*plans: PlanBalance, now: datetime = NOW) -> dict[int, Told]:
    """When and why each began, by sequence."""
    queue = sorted(plans, key=queue_order)
    found = beginnings(queue, [each.starts_at for each in queue], now)
    return {each.sequence: begun for each, begun in zip(queue, found, strict=True)}


def ended(of: PlanBalance, because: EndReason, at: datetime) -> PlanBalance:
    of.ended_at, of.ended_because = at, because
    return of


def test_history_of_a_trial_that_a_month_interrupts() -> None:
    first = plan(1, 1_000, used=300, began_at=NOW - DAY)
    found = told(first, month(), now=NOW + DAY)
    assert found[1] == (NOW - DAY, BeginReason.FIRST_PLAN)
    assert found[2] == (NOW, BeginReason.USED_BEFORE_PREVIOUS)
    renewed = plan(3, 5, starts_at=MONTH_END, ends_at=MONTH_END + 30 * DAY)
    found = told(first, month(), renewed, now=MONTH_END + DAY)
    assert found[1] == (NOW - DAY, BeginReason.FIRST_PLAN)
    assert found[2] == (NOW, BeginReason.USED_BEFORE_PREVIOUS)
    assert found[3] == (MONTH_END, BeginReason.PREVIOUS_PERIOD_ENDED)


def test_month_after_a_used_up_trial_says_so() -> None:
    first = ended(plan(1, 5, used=5), EndReason.DEPLETED, NOW - timedelta(hours=1))
    assert told(first, month())[2] == (NOW, BeginReason.PREVIOUS_DEPLETED)


def test_trial_that_was_never_in_line_takes_over_when_the_month_is_used_up() -> None:
    used_up = ended(month(1), EndReason.DEPLETED, NOW + DAY)
    later = plan(2, 5, starts_at=NOW)
    found = told(used_up, later, now=NOW + 2 * DAY)
    assert found[2] == (NOW + DAY, BeginReason.PREVIOUS_DEPLETED)


@pytest.mark.parametrize("seconds", [2, 0, -2])
def test_shorter_plan_that_replaces_a_longer_one_says_so(seconds: int) -> None:
    """Stripe's period begins a moment before the change arrives here, or after it by its clock.
    A trial that has begun waits behind both."""
    arrived = NOW + timedelta(seconds=seconds)
    yearly = plan(1, 5, starts_at=NOW - 9 * DAY, ends_at=NOW + 356 * DAY)
    trial = plan(0, 5, used=1, began_at=NOW - 10 * DAY, starts_at=NOW - 10 * DAY)
    queue = [month(), ended(yearly, EndReason.REPLACED, arrived), trial]
    found = beginnings(queue, [arrived, NOW - 9 * DAY, NOW - 10 * DAY], NOW + DAY)
    assert found[0] == (NOW, BeginReason.PREVIOUS_REPLACED)


days = st.integers(0, 9)


@st.composite
def lifetimes(draw: st.DrawFn, sequence: int) -> PlanBalance:
    starts, lasts = draw(days), draw(st.none() | st.integers(1, 9))
    ends_at = None if lasts is None else NOW + (starts + lasts) * DAY
    drawn = plan(sequence, 5, starts_at=NOW + starts * DAY, ends_at=ends_at)
    used_up = draw(st.none() | st.integers(0, 8))
    if used_up is not None and (lasts is None or used_up < lasts):
        ended(drawn, EndReason.DEPLETED, NOW + (starts + used_up) * DAY)
    return drawn


@given(
    drawn=st.tuples(*(lifetimes(number) for number in (1, 2, 3, 4))),
    today=st.integers(0, 20),
)
def test_unused_plan_began_on_the_first_day_that_it_was_first_in_line(
    drawn: tuple[PlanBalance, ...], today: int
) -> None:
    now = NOW + today * DAY
    queue = sorted(drawn, key=queue_order)
    found = told(*drawn, now=now)
    for place, each in enumerate(queue):
        first = [
            at
            for at in (NOW + day * DAY for day in range(today + 1))
            if _is_open(each, at) and not any(_is_open(other, at) for other in queue[:place])
        ]
        assert found[each.sequence][0] == (first[0] if first else None)


def _is_open(kept: PlanBalance, at: datetime) -> bool:
    end = kept.ended_at or kept.ends_at
    return kept.starts_at <= at and (end is None or at < end)


@pytest.mark.parametrize("number", [50, 500])
def test_long_histories_are_read_quickly(number: int) -> None:
    queue = [
        plan(n, 1, starts_at=NOW + n * DAY, ends_at=NOW + (n + 1) * DAY) for n in range(number)
    ]
    found = beginnings(queue, [None] * number, NOW + (number + 1) * DAY)
    assert all(because is not None for _, because in found)
