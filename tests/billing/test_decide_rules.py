"""Each rule of counting by one example."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from billing_app.billing import ids
from billing_app.billing.errors import (
    BillingError,
    EventNotFoundError,
    IdempotencyKeyReusedError,
    InsufficientExecutionsError,
    InvalidInputError,
    PaymentPastDueError,
    PlanNotFoundError,
    RefundExceedsError,
    ReservationExpiredError,
    ReservationNotFoundError,
    ReservationSettledError,
    TrialEndedError,
)
from billing_app.billing.executions.decisions import Accepted
from billing_app.billing.executions.requests import (
    MAX_EXECUTIONS,
    Adjust,
    Caller,
    Commit,
    Mode,
    Refund,
    Release,
)
from billing_app.db.tables.plans import OVERAGE_PRIORITY
from billing_app.db.words import EndReason, EventKind, PlanType, ReservationStatus
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, PLATFORM, ask, plan

SECOND = timedelta(seconds=1)
LATER = NOW + SECOND
OTHERS_CALLER = Caller(api_key_id=7, organization_id="other")


def ledger_of(*executions: int) -> MemoryLedger:
    return MemoryLedger([plan(number, count) for number, count in enumerate(executions, 1)])


def consume(ledger: MemoryLedger, executions: int, key: str, at: datetime = NOW) -> Any:
    return ledger.accept(ask(Mode.CONSUME, executions, key), at)


def reserve(
    ledger: MemoryLedger, executions: int, key: str, at: datetime = NOW, hold_seconds: int = 900
) -> int:
    """Returns the reservation's number."""
    wanted = ask(Mode.RESERVE, executions, key, hold_seconds=hold_seconds)
    answer: Any = ledger.accept(wanted, at)
    return _number(ids.RESERVATION, answer["reservation"]["id"])


def _number(prefix: str, text: str) -> int:
    pair = ids.decode(prefix, text)
    assert pair is not None
    return pair[1]


def event_number(answer: Any) -> int:
    return _number(ids.EVENT, answer["event_id"])


def balances(ledger: MemoryLedger) -> list[tuple[int, int]]:
    return [(plan.used, plan.held) for plan in ledger.plans[1].values()]


def test_a_refund_gives_back_no_more_than_an_adjustment_left() -> None:
    ledger = MemoryLedger([plan(1, 10)])
    event_id = str(ledger.accept(ask(Mode.CONSUME, 6, "a"), NOW)["event_id"])
    pair = ids.decode(ids.EVENT, event_id)
    assert pair is not None
    assert ledger.accept(Adjust(1, [(1, -4)], "wrong"), NOW + SECOND)["executions_used"] == 2
    error = ledger.refuse(Refund(*pair, 3, "failed", "", PLATFORM), NOW + SECOND)
    assert (error.code, error.facts["executions_refundable"]) == ("refund_exceeds_event", 2)
    answer = ledger.accept(Refund(*pair, None, "failed", "", PLATFORM), NOW + 2 * SECOND)
    assert (answer["executions"], answer["executions_used"]) == (2, 0)


def test_an_adjustment_stays_within_its_plan_and_is_whole() -> None:
    ledger = MemoryLedger([plan(1, 10), plan(2, 5)])
    ledger.accept(ask(Mode.RESERVE, 3, "a"), NOW)
    for parts, facts in (([(1, 8)], (0, 7)), ([(1, 7), (2, 6)], (0, 5)), ([(1, -1)], (0, 7))):
        error = ledger.refuse(Adjust(1, parts, "wrong"), NOW)
        used = (error.facts["executions_used"], error.facts["executions_remaining"])
        assert (error.code, used) == ("adjustment_exceeds_plan", facts)
    assert ledger.refuse(Adjust(1, [(3, 1)], "wrong"), NOW).code == "plan_unknown"
    assert ledger.refuse(Adjust(9, [(1, 1)], "wrong"), NOW).code == "account_not_found"
    assert ledger.plans[1][1].used == ledger.plans[1][2].used == 0
    answer = ledger.accept(Adjust(1, [(1, 7), (2, 5)], "wrong"), NOW + SECOND)
    assert (answer["executions"], answer["executions_remaining"]) == (12, 0)
    assert ledger.plans[1][2].ended_because == EndReason.DEPLETED
    ledger.accept(Adjust(1, [(2, -1)], "wrong"), NOW + 2 * SECOND)
    assert ledger.plans[1][2].ended_because is None


def test_a_consume_answers_with_the_numbers_after_it() -> None:
    ledger = ledger_of(10, 5)
    answer = consume(ledger, 4, "k")
    assert answer["allowed"] is True
    assert (answer["mode"], answer["executions"]) == ("consume", 4)
    assert answer["plan"] == {"id": ids.encode(ids.PLAN, 1, 1), "type": "paid", "name": "Plan 1"}
    assert (answer["executions_total"], answer["executions_used"]) == (15, 4)
    assert (answer["executions_held"], answer["executions_remaining"]) == (0, 11)
    assert answer["reservation"] is None
    assert answer["account_id"] == ids.encode_account(1)


def test_a_check_changes_nothing() -> None:
    ledger = ledger_of(3)
    answer = ledger.accept(ask(Mode.CHECK, 3), NOW)
    assert answer["executions_remaining"] == 3
    assert answer["event_id"] is None
    assert balances(ledger) == [(0, 0)]
    assert not ledger.events
    assert not ledger.known


def test_a_consume_may_span_the_end_of_one_plan_and_the_start_of_the_next() -> None:
    ledger = ledger_of(3, 2, 4)
    answer = consume(ledger, 6, "k")
    assert ledger.parts(answer["event_id"]) == [(1, 3), (2, 2), (3, 1)]
    assert answer["plan"]["name"] == "Plan 3"
    first, second, third = ledger.plans[1].values()
    assert first.ended_because == second.ended_because == EndReason.DEPLETED
    assert third.ended_at is None
    assert first.began_at == second.began_at == third.began_at == NOW


def test_all_or_nothing_when_the_plans_together_have_too_few() -> None:
    ledger = ledger_of(3, 2)
    error = ledger.refuse(ask(Mode.CONSUME, 6, "k"), NOW)
    assert isinstance(error, InsufficientExecutionsError)
    assert error.facts["executions_remaining"] == 5
    assert error.facts["executions_requested"] == 6
    assert error.facts["allowed"] is False
    assert balances(ledger) == [(0, 0), (0, 0)]
    assert ledger.denied == {"insufficient_executions": 1}


def test_a_denial_is_not_stored_so_that_a_retry_is_decided_afresh() -> None:
    ledger = ledger_of(3)
    request = ask(Mode.CONSUME, 4, "k")
    assert isinstance(ledger.refuse(request, NOW), InsufficientExecutionsError)
    ledger.plans[1][2] = plan(2, 10)
    answer = ledger.accept(request, LATER)
    assert ledger.parts(str(answer["event_id"])) == [(1, 3), (2, 1)]


def test_the_same_key_and_body_gets_the_same_bytes_and_counts_once() -> None:
    ledger = ledger_of(10)
    request = ask(Mode.CONSUME, 4, "k")
    first = ledger.one(request, NOW)
    again = ledger.one(request, LATER)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.answer == again.answer
    assert balances(ledger) == [(4, 0)]


def test_a_replay_is_given_even_when_nothing_is_left() -> None:
    ledger = ledger_of(4)
    consume(ledger, 4, "k")
    again = ledger.one(ask(Mode.CONSUME, 4, "k"), LATER)
    assert isinstance(again, Accepted)
    assert again.replayed


@pytest.mark.parametrize(
    "other",
    [
        ask(Mode.CONSUME, 5, "k"),
        ask(Mode.RESERVE, 4, "k"),
        ask(Mode.CONSUME, 4, "k", workflow="w"),
        ask(Mode.CONSUME, 4, "k", hold_seconds=1),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_the_same_key_with_another_body_is_refused(other: Any, *, together: bool) -> None:
    ledger = ledger_of(10)
    first = ask(Mode.CONSUME, 4, "k")
    if together:
        _, decision = ledger.decide([first, other], NOW)
    else:
        ledger.accept(first, NOW)
        decision = ledger.one(other, LATER)
    assert isinstance(decision, IdempotencyKeyReusedError)
    assert balances(ledger) == [(4, 0)]


def test_the_same_request_twice_in_one_batch_counts_once() -> None:
    ledger = ledger_of(10)
    request = ask(Mode.CONSUME, 4, "k")
    first, again, third = ledger.decide([request, request, request], NOW)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert isinstance(third, Accepted)
    assert [first.replayed, again.replayed, third.replayed] == [False, True, True]
    assert first.answer == again.answer == third.answer
    assert len(ledger.events) == 1


def test_each_request_of_a_batch_sees_what_the_ones_before_it_left() -> None:
    ledger = ledger_of(5)
    decisions = ledger.decide([ask(Mode.CONSUME, 2, key) for key in "abc"], NOW)
    assert [isinstance(decision, Accepted) for decision in decisions] == [True, True, False]
    assert isinstance(decisions[2], InsufficientExecutionsError)
    assert decisions[2].facts["executions_remaining"] == 1


def test_the_same_key_in_two_accounts_is_two_keys() -> None:
    ledger = MemoryLedger([plan(1, 5)], [plan(1, 5)])
    requests = [ask(Mode.CONSUME, 2, "k", organization_id=name) for name in ("org", "org2")]
    decisions = ledger.decide(requests, NOW)
    assert [isinstance(d, Accepted) and not d.replayed for d in decisions] == [True, True]


def test_numbers_are_unique_within_a_batch_of_one_moment() -> None:
    ledger = ledger_of(1000)
    modes = [Mode.CONSUME, Mode.RESERVE]
    requests = [ask(modes[n % 2], 1, f"k{n}") for n in range(500)]
    answers = [
        msgspec.json.decode(d.answer)
        for d in ledger.decide(requests, NOW)
        if isinstance(d, Accepted)
    ]
    names = [a["event_id"] or a["reservation"]["id"] for a in answers]
    assert len(set(names)) == 500
    assert len({event_number(a) for a in answers if a["event_id"]}) == 250


def test_an_account_without_plans_is_told_so() -> None:
    ledger = MemoryLedger([])
    error = ledger.refuse(ask(Mode.CONSUME, 1, "k"), NOW)
    assert isinstance(error, PlanNotFoundError)
    assert error.facts["executions_remaining"] == 0


def test_a_plan_is_usable_from_its_start_to_just_before_its_end() -> None:
    ledger = MemoryLedger([plan(1, 5, starts_at=NOW, ends_at=LATER)])
    just_before = NOW - timedelta(microseconds=1)
    assert isinstance(
        ledger.refuse(ask(Mode.CONSUME, 1, "a"), just_before), InsufficientExecutionsError
    )
    consume(ledger, 1, "b", NOW)
    consume(ledger, 1, "c", LATER - timedelta(microseconds=1))
    error = ledger.refuse(ask(Mode.CONSUME, 1, "d"), LATER)
    assert isinstance(error, InsufficientExecutionsError)
    assert error.facts["period_end"] == LATER
    assert ledger.plans[1][1].ended_because == EndReason.PERIOD_ENDED
    assert ledger.plans[1][1].ended_at == LATER


def test_when_a_plan_ends_the_next_takes_over_by_itself() -> None:
    ledger = MemoryLedger([plan(1, 5, ends_at=LATER), plan(2, 5)])
    answer = consume(ledger, 3, "k", LATER)
    assert ledger.parts(answer["event_id"]) == [(2, 3)]
    assert answer["executions_total"] == 5


@pytest.mark.parametrize("used", [0, 2])
def test_an_ended_trial_says_so(used: int) -> None:
    trial = plan(1, 5, type=PlanType.TRIAL, used=used, ends_at=LATER)
    ledger = MemoryLedger([trial])
    for moment in (LATER, LATER + SECOND):  # first as it ends, then found closed
        error = ledger.refuse(ask(Mode.CONSUME, 1, "k"), moment)
        assert isinstance(error, TrialEndedError)
        assert error.facts["period_end"] == LATER
        assert error.facts["executions_remaining"] == 0
    assert ledger.denied == {"trial_ended": 2}


def test_a_trial_used_up_within_its_time_is_not_said_to_have_ended() -> None:
    ledger = MemoryLedger([plan(1, 5, type=PlanType.TRIAL, ends_at=LATER)])
    consume(ledger, 5, "k")
    for moment in (NOW, LATER):
        error = ledger.refuse(ask(Mode.CONSUME, 1, "l"), moment + SECOND)
        assert isinstance(error, InsufficientExecutionsError)


def test_a_reservation_holds_until_it_is_committed() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 6, "k")
    assert balances(ledger) == [(0, 6)]
    assert isinstance(ledger.refuse(ask(Mode.CONSUME, 5, "l"), NOW), InsufficientExecutionsError)
    answer: Any = ledger.accept(Commit(1, number, None, PLATFORM), LATER)
    assert answer["reservation"]["status"] == "committed"
    assert (answer["executions"], answer["executions_released"]) == (6, 0)
    assert balances(ledger) == [(6, 0)]
    (event,) = ledger.events
    assert (event.kind, event.idempotency_key) == (EventKind.COMMIT, "k")
    assert event.refers_to == number


def test_a_part_may_be_committed_and_the_rest_is_released() -> None:
    ledger = ledger_of(4, 10)
    number = reserve(ledger, 6, "k")
    assert balances(ledger) == [(0, 4), (0, 2)]
    answer: Any = ledger.accept(Commit(1, number, 3, PLATFORM), LATER)
    assert (answer["executions"], answer["executions_released"]) == (3, 3)
    assert ledger.parts(answer["event_id"]) == [(1, 3)]
    assert balances(ledger) == [(3, 0), (0, 0)]


def test_more_than_is_held_cannot_be_committed_and_the_hold_stays() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 6, "k")
    error = ledger.refuse(Commit(1, number, 7, PLATFORM), LATER)
    assert isinstance(error, InvalidInputError)
    assert error.facts["field"] == "executions"
    assert balances(ledger) == [(0, 6)]


def test_settling_is_idempotent_and_final() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 6, "k")
    first = ledger.one(Commit(1, number, None, PLATFORM), LATER)
    again = ledger.one(Commit(1, number, 6, PLATFORM), LATER + SECOND)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert again.replayed
    assert again.answer == first.answer
    assert isinstance(ledger.refuse(Commit(1, number, 5, PLATFORM), LATER), ReservationSettledError)
    assert isinstance(ledger.refuse(Release(1, number, PLATFORM), LATER), ReservationSettledError)
    assert balances(ledger) == [(6, 0)]


def test_a_release_gives_all_back_and_writes_no_event() -> None:
    ledger = ledger_of(4, 4)
    number = reserve(ledger, 6, "k")
    answer: Any = ledger.accept(Release(1, number, PLATFORM), LATER)
    assert answer["reservation"]["status"] == "released"
    assert answer["event_id"] is None
    assert answer["executions_released"] == 6
    assert balances(ledger) == [(0, 0), (0, 0)]
    assert not ledger.events


def test_an_expired_reservation_frees_itself_at_the_next_decision() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 10, "k", hold_seconds=1)
    moment_before = LATER - timedelta(microseconds=1)
    assert isinstance(ledger.refuse(ask(Mode.CONSUME, 1, "l"), moment_before), BillingError)
    consume(ledger, 10, "m", LATER)
    assert ledger.reservations[1, number].status == ReservationStatus.EXPIRED
    assert balances(ledger) == [(10, 0)]


@pytest.mark.parametrize("settle", [Commit(1, 0, None, PLATFORM), Release(1, 0, PLATFORM)])
def test_an_expired_reservation_cannot_be_settled(settle: Commit | Release) -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 10, "k", hold_seconds=1)
    error = ledger.refuse(msgspec.structs.replace(settle, number=number), LATER)
    assert isinstance(error, ReservationExpiredError)
    assert error.facts["expires_at"] == LATER
    assert balances(ledger) == [(0, 0)]


def test_a_reservation_is_honoured_though_its_plan_has_ended() -> None:
    ledger = MemoryLedger([plan(1, 10, ends_at=LATER)])
    number = reserve(ledger, 6, "k")
    moment = LATER + SECOND
    assert isinstance(ledger.refuse(ask(Mode.CONSUME, 1, "l"), moment), BillingError)
    answer: Any = ledger.accept(Commit(1, number, 5, PLATFORM), moment)
    assert ledger.parts(answer["event_id"]) == [(1, 5)]
    assert answer["executions_remaining"] == 0
    ledger.refuse(ask(Mode.CONSUME, 1, "m"), moment)
    kept = ledger.plans[1][1]
    assert (kept.used, kept.held) == (5, 0)
    assert (kept.ended_at, kept.ended_because) == (LATER, EndReason.PERIOD_ENDED)


def test_a_plan_that_holds_something_takes_no_more_from_its_end_on() -> None:
    ledger = MemoryLedger([plan(1, 10, ends_at=LATER)])
    reserve(ledger, 6, "k")
    assert isinstance(ledger.refuse(ask(Mode.CHECK, 1), LATER), InsufficientExecutionsError)
    assert isinstance(ledger.refuse(ask(Mode.CONSUME, 1, "l"), LATER), InsufficientExecutionsError)


def test_a_hold_that_outlives_its_plan_is_freed_when_it_expires() -> None:
    ledger = MemoryLedger([plan(1, 10, ends_at=LATER)])
    reserve(ledger, 6, "k", hold_seconds=60)
    ledger.refuse(ask(Mode.CONSUME, 1, "l"), LATER + SECOND)
    assert balances(ledger) == [(0, 6)]
    ledger.refuse(ask(Mode.CONSUME, 1, "m"), NOW + 60 * SECOND)
    assert balances(ledger) == [(0, 0)]
    assert ledger.plans[1][1].ended_because == EndReason.PERIOD_ENDED


def test_no_more_than_is_left_of_an_event_can_be_refunded() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    ledger.accept(Refund(1, number, 4, "most", "", PLATFORM), LATER)
    error = ledger.refuse(Refund(1, number, 3, "more", "", PLATFORM), LATER + SECOND)
    assert isinstance(error, RefundExceedsError)
    assert error.facts["executions_refundable"] == 2
    assert balances(ledger) == [(2, 0)]


def test_a_refund_reopens_a_plan_that_was_used_up() -> None:
    ledger = ledger_of(5)
    answer = consume(ledger, 5, "k")
    assert ledger.plans[1][1].ended_because == EndReason.DEPLETED
    refund = Refund(1, event_number(answer), 2, "it failed", "", PLATFORM)
    refunded: Any = ledger.accept(refund, LATER)
    assert (refunded["executions"], refunded["executions_refundable"]) == (2, 3)
    assert refunded["executions_remaining"] == 2
    assert ledger.plans[1][1].ended_at is None
    consume(ledger, 2, "l", LATER + SECOND)


def test_a_refund_does_not_reopen_a_plan_whose_period_is_over() -> None:
    ledger = MemoryLedger([plan(1, 5, ends_at=LATER)])
    answer = consume(ledger, 5, "k")
    refund = Refund(1, event_number(answer), None, "it failed", "", PLATFORM)
    refunded: Any = ledger.accept(refund, LATER)
    assert refunded["executions_remaining"] == 0
    assert balances(ledger) == [(0, 0)]
    assert isinstance(ledger.refuse(ask(Mode.CONSUME, 1, "l"), LATER + SECOND), BillingError)


def test_a_refund_over_several_plans_gives_back_to_the_one_that_paid_last_first() -> None:
    ledger = ledger_of(3, 3, 9)
    number = event_number(consume(ledger, 8, "k"))
    answer: Any = ledger.accept(Refund(1, number, 4, "part", "r1", PLATFORM), LATER)
    assert sorted(ledger.parts(answer["event_id"])) == [(2, -2), (3, -2)]
    answer = ledger.accept(Refund(1, number, None, "rest", "r2", PLATFORM), LATER + SECOND)
    assert sorted(ledger.parts(answer["event_id"])) == [(1, -3), (2, -1)]
    assert balances(ledger) == [(0, 0), (0, 0), (0, 0)]
    error = ledger.refuse(Refund(1, number, 1, "more", "r3", PLATFORM), LATER + 2 * SECOND)
    assert isinstance(error, RefundExceedsError)
    assert error.facts["executions_refundable"] == 0


def test_a_refund_without_a_key_is_idempotent_by_what_it_names() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    first = ledger.one(Refund(1, number, 2, "failed", "", PLATFORM), LATER)
    again = ledger.one(Refund(1, number, 2, "failed", "", PLATFORM), LATER + SECOND)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.replayed, again.answer) == (True, first.answer)
    assert balances(ledger) == [(4, 0)]


def test_a_refund_that_asks_for_more_than_was_used_is_bad_input() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    error = ledger.refuse(Refund(1, number, 7, "failed", "", PLATFORM), LATER)
    assert isinstance(error, InvalidInputError)
    assert balances(ledger) == [(6, 0)]


def test_a_refund_cannot_be_refunded() -> None:
    ledger = ledger_of(9)
    number = event_number(consume(ledger, 6, "k"))
    refunded = ledger.accept(Refund(1, number, 2, "failed", "", PLATFORM), LATER)
    refund_again = Refund(1, event_number(refunded), 1, "failed", "", PLATFORM)
    assert isinstance(ledger.refuse(refund_again, LATER + SECOND), EventNotFoundError)


def test_a_key_of_another_organization_finds_nothing_of_this_one() -> None:
    ledger = ledger_of(9)
    event = event_number(consume(ledger, 3, "k"))
    held = reserve(ledger, 3, "l", LATER)
    for request, expected in (
        (Commit(1, held, None, OTHERS_CALLER), ReservationNotFoundError),
        (Release(1, held, OTHERS_CALLER), ReservationNotFoundError),
        (Refund(1, event, None, "mine", "", OTHERS_CALLER), EventNotFoundError),
    ):
        assert isinstance(ledger.refuse(request, LATER + SECOND), expected)
    assert balances(ledger) == [(3, 3)]


def test_ids_that_name_nothing_are_not_found() -> None:
    ledger = ledger_of(9)
    for account in (1, 99):
        missing = Commit(account, 5, None, PLATFORM)
        assert isinstance(ledger.refuse(missing, NOW), ReservationNotFoundError)
        refund = Refund(account, 5, None, "why", "", PLATFORM)
        assert isinstance(ledger.refuse(refund, NOW), EventNotFoundError)


def test_the_largest_request_fits_the_largest_plans() -> None:
    ledger = ledger_of(10**15, 10**15)
    answer = consume(ledger, MAX_EXECUTIONS, "k")
    assert answer["executions_remaining"] == 2 * 10**15 - MAX_EXECUTIONS


def test_what_follows_a_run_carries_its_workflow() -> None:
    ledger = ledger_of(20)
    number = event_number(ledger.accept(ask(Mode.CONSUME, 5, "a", workflow="w"), NOW))
    reserved: Any = ledger.accept(ask(Mode.RESERVE, 4, "b", workflow="w"), LATER)
    held = _number(ids.RESERVATION, reserved["reservation"]["id"])
    ledger.accept(Commit(1, held, None, PLATFORM), LATER + SECOND)
    ledger.accept(Refund(1, number, 1, "why", "", PLATFORM), LATER + 2 * SECOND)
    assert {row.workflow for row in ledger.events} == {"w"}
    assert [row.executions for row in ledger.events] == [5, 4, -1]


def two_with_the_second_first() -> MemoryLedger:
    return MemoryLedger([plan(1, 3), plan(2, 3, priority=50)])


def test_a_plan_of_more_priority_is_used_first() -> None:
    ledger = two_with_the_second_first()
    answer = consume(ledger, 5, "k")
    assert sorted(ledger.parts(answer["event_id"])) == [(1, 2), (2, 3)]
    assert answer["plan"]["name"] == "Plan 1"


def test_a_refund_gives_back_to_the_plan_that_paid_last_whatever_its_sequence() -> None:
    ledger = two_with_the_second_first()
    number = event_number(consume(ledger, 5, "k"))
    answer: Any = ledger.accept(Refund(1, number, 2, "part", "", PLATFORM), LATER)
    assert ledger.parts(answer["event_id"]) == [(1, -2)]


def test_a_part_is_committed_from_the_plan_that_is_used_first() -> None:
    ledger = two_with_the_second_first()
    number = reserve(ledger, 5, "k")
    answer: Any = ledger.accept(Commit(1, number, 3, PLATFORM), LATER)
    assert ledger.parts(answer["event_id"]) == [(2, 3)]


def test_a_plan_whose_payment_is_overdue_is_not_used_but_honours_what_it_holds() -> None:
    ledger = MemoryLedger([plan(1, 5, suspended_at=LATER)])
    number = reserve(ledger, 3, "k")
    error = ledger.refuse(ask(Mode.CONSUME, 1, "l"), LATER)
    assert isinstance(error, PaymentPastDueError)
    assert error.facts["executions_remaining"] == 0
    assert ledger.denied == {"payment_past_due": 1}
    answer: Any = ledger.accept(Commit(1, number, 2, PLATFORM), LATER + SECOND)
    assert ledger.parts(answer["event_id"]) == [(1, 2)]
    ledger.plans[1][1].suspended_at = None
    consume(ledger, 3, "m", LATER + 2 * SECOND)


@pytest.mark.parametrize(
    ("stop", "code"), [("paused_at", "plan_paused"), ("blocked_at", "account_blocked")]
)
def test_a_plan_that_staff_stopped_gives_nothing_and_says_why(stop: str, code: str) -> None:
    ledger = MemoryLedger([plan(1, 10, **{stop: NOW - SECOND})])
    assert ledger.refuse(ask(Mode.CONSUME, 1, "a"), NOW).code == code
    assert (balances(ledger), ledger.denied) == ([(0, 0)], {code: 1})


def test_a_reservation_is_honoured_when_its_plan_is_stopped_meanwhile() -> None:
    ledger = MemoryLedger([plan(1, 10)])
    number = reserve(ledger, 4, "a")
    ledger.plans[1][1].paused_at = ledger.plans[1][1].blocked_at = NOW
    ledger.accept(Commit(1, number, 3, PLATFORM), LATER)
    assert balances(ledger) == [(3, 0)]


def test_overage_pays_last_and_says_so_when_it_is_used_up() -> None:
    ledger = MemoryLedger([plan(1, 10), plan(2, 5, priority=OVERAGE_PRIORITY), plan(3, 3)])
    answer = consume(ledger, 12, "a")
    assert ledger.parts(answer["event_id"]) == [(1, 10), (3, 2)]
    answer = consume(ledger, 6, "b", at=LATER)
    assert ledger.parts(answer["event_id"]) == [(3, 1), (2, 5)]
    assert ledger.refuse(ask(Mode.CONSUME, 1, "c"), LATER).code == "budget_exceeded"
    assert ledger.overage == {(1, 2): 5}
    pair = ids.decode(ids.EVENT, answer["event_id"])
    assert pair is not None
    refunded = Refund(1, pair[1], 2, "failed", "", PLATFORM)
    ledger.accept(refunded, LATER + SECOND)
    assert ledger.overage == {(1, 2): 3}
    assert ledger.plans[1][2].ended_at is None
