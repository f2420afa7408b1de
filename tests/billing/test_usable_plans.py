"""The plans that pages list are in the order in which `decide` uses them."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.executions.state import PlanBalance, queue_order
from billing_app.billing.plans.service import CurrentPlan, PlanRow, current_plan
from billing_app.db.enums import PlanSource
from tests.billing.counting import SECOND, consume
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, plan

DAY = timedelta(days=1)


@st.composite
def held_plans(draw: st.DrawFn) -> list[PlanBalance]:
    """Used in part, reserved, paused, to come or over; several may end together."""
    made: list[PlanBalance] = []
    for sequence in range(1, draw(st.integers(1, 6)) + 1):
        executions = draw(st.integers(1, 5))
        used = draw(st.integers(0, executions - 1))
        starts = draw(st.sampled_from([-3, -2, -1, 1]))
        lasts = draw(st.none() | st.integers(1, 5))
        made.append(
            plan(
                sequence,
                executions,
                used=used,
                held=draw(st.integers(0, executions - used)),
                starts_at=NOW + starts * DAY,
                ends_at=None if lasts is None else NOW + (starts + lasts) * DAY,
                priority=draw(st.sampled_from([50, 100, 100, 200])),
                paused_at=draw(st.sampled_from([None, None, None, NOW])),
            )
        )
    return made


def found(plans: list[PlanBalance]) -> CurrentPlan:
    queue = sorted(plans, key=queue_order)
    rows = [PlanRow(each, PlanSource.STAFF_GRANT, each.starts_at) for each in queue]
    return current_plan(1, rows, None, NOW)


@given(plans=held_plans())
def test_usable_plans_are_in_the_order_of_use(plans: list[PlanBalance]) -> None:
    current = found(plans)
    promised = [view.sequence for view in current.usable for _ in range(view.remaining)]
    ledger = MemoryLedger(plans)
    used: list[int] = []
    for number in range(len(promised)):
        answer = consume(ledger, 1, f"key {number}", NOW + number * SECOND)
        used += [sequence for sequence, _ in ledger.parts(answer["event_id"])]
    assert used == promised


@given(plans=held_plans())
def test_usable_plans_add_up_to_the_balance(plans: list[PlanBalance]) -> None:
    current = found(plans)
    if current.usable:
        assert sum(view.remaining for view in current.usable) == current.executions_remaining
        assert sum(view.held for view in current.usable) == current.executions_held
        assert sum(view.executions for view in current.usable) == current.executions_total
