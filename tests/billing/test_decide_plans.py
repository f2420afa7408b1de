"""One example for each rule of which plan is used, and of why none is."""

from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import (
    InsufficientExecutionsError,
    PaymentPastDueError,
    PlanNotFoundError,
    TrialEndedError,
)
from billing_app.billing.executions.requests import Commit, Refund
from billing_app.db.enums import EndReason, PlanType
from billing_app.db.tables.plans import OVERAGE_PRIORITY
from tests.billing.counting import (
    LATER,
    SECOND,
    balances,
    consume,
    refuse,
    reserve,
    two_with_the_second_first,
)
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, PLATFORM, plan


def test_account_without_plans_is_denied() -> None:
    ledger = MemoryLedger([])
    error = refuse(ledger, 1, "k")
    assert isinstance(error, PlanNotFoundError)
    assert error.extensions["executions_remaining"] == 0


def test_plan_is_usable_from_start_to_just_before_end() -> None:
    ledger = MemoryLedger([plan(1, 5, starts_at=NOW, ends_at=LATER)])
    just_before = NOW - timedelta(microseconds=1)
    assert isinstance(refuse(ledger, 1, "a", just_before), InsufficientExecutionsError)
    consume(ledger, 1, "b", NOW)
    consume(ledger, 1, "c", LATER - timedelta(microseconds=1))
    error = refuse(ledger, 1, "d", LATER)
    assert isinstance(error, InsufficientExecutionsError)
    assert error.extensions["period_end"] == LATER
    assert ledger.plans[1][1].ended_because == EndReason.PERIOD_ENDED
    assert ledger.plans[1][1].ended_at == LATER


def test_next_plan_takes_over_when_a_plan_ends() -> None:
    ledger = MemoryLedger([plan(1, 5, ends_at=LATER), plan(2, 5)])
    answer = consume(ledger, 3, "k", LATER)
    assert ledger.parts(answer["event_id"]) == [(2, 3)]
    assert answer["executions_total"] == 5


@pytest.mark.parametrize("used", [0, 2])
def test_ended_trial_is_the_denial_reason(used: int) -> None:
    trial = plan(1, 5, type=PlanType.TRIAL, used=used, ends_at=LATER)
    ledger = MemoryLedger([trial])
    for moment in (LATER, LATER + SECOND):  # first as it ends, then found closed
        error = refuse(ledger, 1, "k", moment)
        assert isinstance(error, TrialEndedError)
        assert error.extensions["period_end"] == LATER
        assert error.extensions["executions_remaining"] == 0
    assert ledger.denied == {"trial_ended": 2}


def test_depleted_trial_is_not_reported_as_ended() -> None:
    ledger = MemoryLedger([plan(1, 5, type=PlanType.TRIAL, ends_at=LATER)])
    consume(ledger, 5, "k")
    for moment in (NOW, LATER):
        error = refuse(ledger, 1, "l", moment + SECOND)
        assert isinstance(error, InsufficientExecutionsError)


def test_plan_with_lower_priority_number_is_used_first() -> None:
    ledger = two_with_the_second_first()
    answer = consume(ledger, 5, "k")
    assert sorted(ledger.parts(answer["event_id"])) == [(1, 2), (2, 3)]
    assert answer["plan"]["name"] == "Plan 1"


def test_overdue_plan_is_not_used_but_honours_reservations() -> None:
    ledger = MemoryLedger([plan(1, 5, suspended_at=LATER)])
    number = reserve(ledger, 3, "k")
    error = refuse(ledger, 1, "l", LATER)
    assert isinstance(error, PaymentPastDueError)
    assert error.extensions["executions_remaining"] == 0
    assert ledger.denied == {"payment_past_due": 1}
    answer: Any = ledger.accept(Commit(1, number, 2, PLATFORM), LATER + SECOND)
    assert ledger.parts(answer["event_id"]) == [(1, 2)]
    ledger.plans[1][1].suspended_at = None
    consume(ledger, 3, "m", LATER + 2 * SECOND)


@pytest.mark.parametrize(
    ("stop", "code"), [("paused_at", "plan_paused"), ("blocked_at", "account_blocked")]
)
def test_paused_or_blocked_plan_is_not_used(stop: str, code: str) -> None:
    ledger = MemoryLedger([plan(1, 10, **{stop: NOW - SECOND})])
    assert refuse(ledger, 1, "a").code == code
    assert (balances(ledger), ledger.denied) == ([(0, 0)], {code: 1})


def test_overage_is_used_last_and_explains_denials() -> None:
    ledger = MemoryLedger([plan(1, 10), plan(2, 5, priority=OVERAGE_PRIORITY), plan(3, 3)])
    answer = consume(ledger, 12, "a")
    assert ledger.parts(answer["event_id"]) == [(1, 10), (3, 2)]
    answer = consume(ledger, 6, "b", at=LATER)
    assert ledger.parts(answer["event_id"]) == [(3, 1), (2, 5)]
    assert refuse(ledger, 1, "c", LATER).code == "budget_exceeded"
    assert ledger.overage == {(1, 2): 5}
    pair = ids.decode(ids.EVENT, answer["event_id"])
    assert pair is not None
    refunded = Refund(1, pair[1], 2, "failed", "", PLATFORM)
    ledger.accept(refunded, LATER + SECOND)
    assert ledger.overage == {(1, 2): 3}
    assert ledger.plans[1][2].ended_at is None
