"""One example for each rule of refunds and adjustments."""

from typing import Any

from billing_app.billing import ids
from billing_app.billing.errors import (
    BillingError,
    EventNotFoundError,
    InvalidInputError,
    RefundExceedsError,
)
from billing_app.billing.executions.requests import Accepted, Adjust, Mode, Refund
from billing_app.db.enums import EndReason
from tests.billing.counting import (
    LATER,
    SECOND,
    balances,
    consume,
    event_number,
    ledger_of,
    refuse,
    two_with_the_second_first,
)
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, PLATFORM, check_request, plan


def test_refund_is_limited_to_what_an_adjustment_left() -> None:
    ledger = MemoryLedger([plan(1, 10)])
    event_id = str(ledger.accept(check_request(Mode.CONSUME, 6, "a"), NOW)["event_id"])
    pair = ids.decode(ids.EVENT, event_id)
    assert pair is not None
    assert ledger.accept(Adjust(1, [(1, -4)], "wrong"), NOW + SECOND)["executions_used"] == 2
    error = ledger.refuse(Refund(*pair, 3, "failed", "", PLATFORM), NOW + SECOND)
    assert (error.code, error.extensions["executions_refundable"]) == ("refund_exceeds_event", 2)
    answer = ledger.accept(Refund(*pair, None, "failed", "", PLATFORM), NOW + 2 * SECOND)
    assert (answer["executions"], answer["executions_used"]) == (2, 0)


def test_adjustment_stays_within_plan_and_is_all_or_nothing() -> None:
    ledger = MemoryLedger([plan(1, 10), plan(2, 5)])
    ledger.accept(check_request(Mode.RESERVE, 3, "a"), NOW)
    for parts, figures in (([(1, 8)], (0, 7)), ([(1, 7), (2, 6)], (0, 5)), ([(1, -1)], (0, 7))):
        error = ledger.refuse(Adjust(1, parts, "wrong"), NOW)
        used = (error.extensions["executions_used"], error.extensions["executions_remaining"])
        assert (error.code, used) == ("adjustment_exceeds_plan", figures)
    assert ledger.refuse(Adjust(1, [(3, 1)], "wrong"), NOW).code == "plan_unknown"
    assert ledger.refuse(Adjust(9, [(1, 1)], "wrong"), NOW).code == "account_not_found"
    assert ledger.plans[1][1].used == ledger.plans[1][2].used == 0
    answer = ledger.accept(Adjust(1, [(1, 7), (2, 5)], "wrong"), NOW + SECOND)
    assert (answer["executions"], answer["executions_remaining"]) == (12, 0)
    assert ledger.plans[1][2].ended_because == EndReason.DEPLETED
    ledger.accept(Adjust(1, [(2, -1)], "wrong"), NOW + 2 * SECOND)
    assert ledger.plans[1][2].ended_because is None


def test_refund_is_limited_to_what_is_left_of_the_event() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    ledger.accept(Refund(1, number, 4, "most", "", PLATFORM), LATER)
    error = ledger.refuse(Refund(1, number, 3, "more", "", PLATFORM), LATER + SECOND)
    assert isinstance(error, RefundExceedsError)
    assert error.extensions["executions_refundable"] == 2
    assert balances(ledger) == [(2, 0)]


def test_refund_reopens_a_depleted_plan() -> None:
    ledger = ledger_of(5)
    answer = consume(ledger, 5, "k")
    assert ledger.plans[1][1].ended_because == EndReason.DEPLETED
    refund = Refund(1, event_number(answer), 2, "it failed", "", PLATFORM)
    refunded: Any = ledger.accept(refund, LATER)
    assert (refunded["executions"], refunded["executions_refundable"]) == (2, 3)
    assert refunded["executions_remaining"] == 2
    assert ledger.plans[1][1].ended_at is None
    consume(ledger, 2, "l", LATER + SECOND)


def test_refund_does_not_reopen_a_plan_whose_period_ended() -> None:
    ledger = MemoryLedger([plan(1, 5, ends_at=LATER)])
    answer = consume(ledger, 5, "k")
    refund = Refund(1, event_number(answer), None, "it failed", "", PLATFORM)
    refunded: Any = ledger.accept(refund, LATER)
    assert refunded["executions_remaining"] == 0
    assert balances(ledger) == [(0, 0)]
    assert isinstance(refuse(ledger, 1, "l", LATER + SECOND), BillingError)


def test_refund_goes_to_the_last_payer_first() -> None:
    ledger = ledger_of(3, 3, 9)
    number = event_number(consume(ledger, 8, "k"))
    answer: Any = ledger.accept(Refund(1, number, 4, "part", "r1", PLATFORM), LATER)
    assert sorted(ledger.parts(answer["event_id"])) == [(2, -2), (3, -2)]
    answer = ledger.accept(Refund(1, number, None, "rest", "r2", PLATFORM), LATER + SECOND)
    assert sorted(ledger.parts(answer["event_id"])) == [(1, -3), (2, -1)]
    assert balances(ledger) == [(0, 0), (0, 0), (0, 0)]
    error = ledger.refuse(Refund(1, number, 1, "more", "r3", PLATFORM), LATER + 2 * SECOND)
    assert isinstance(error, RefundExceedsError)
    assert error.extensions["executions_refundable"] == 0


def test_refund_without_key_is_idempotent() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    first = ledger.one(Refund(1, number, 2, "failed", "", PLATFORM), LATER)
    again = ledger.one(Refund(1, number, 2, "failed", "", PLATFORM), LATER + SECOND)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.replayed, again.answer) == (True, first.answer)
    assert balances(ledger) == [(4, 0)]


def test_refund_of_more_than_was_used_is_invalid() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    error = ledger.refuse(Refund(1, number, 7, "failed", "", PLATFORM), LATER)
    assert isinstance(error, InvalidInputError)
    assert balances(ledger) == [(6, 0)]


def test_refund_cannot_be_refunded() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    refunded = ledger.accept(Refund(1, number, 2, "failed", "", PLATFORM), LATER)
    refund_again = Refund(1, event_number(refunded), 1, "failed", "", PLATFORM)
    assert isinstance(ledger.refuse(refund_again, LATER + SECOND), EventNotFoundError)


def test_last_payer_is_found_by_priority_not_sequence() -> None:
    ledger = two_with_the_second_first()
    number = event_number(consume(ledger, 5, "k"))
    answer: Any = ledger.accept(Refund(1, number, 2, "part", "", PLATFORM), LATER)
    assert ledger.parts(answer["event_id"]) == [(1, -2)]
