"""One example for each rule of consuming and of idempotency keys."""

from typing import Any

import msgspec
import pytest

from billing_app.billing import ids
from billing_app.billing.errors import IdempotencyKeyReusedError, InsufficientExecutionsError
from billing_app.billing.executions.requests import MAX_EXECUTIONS, Accepted, Mode
from billing_app.db.enums import EndReason
from tests.billing.counting import LATER, balances, consume, event_number, ledger_of, refuse
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, check_request, plan


def test_consume_answer_has_balances_after_it() -> None:
    ledger = ledger_of(10, 5)
    answer = consume(ledger, 4, "k")
    assert answer["allowed"] is True
    assert (answer["mode"], answer["executions"]) == ("consume", 4)
    assert answer["plan"] == {"id": ids.encode(ids.PLAN, 1, 1), "type": "paid", "name": "Plan 1"}
    assert (answer["executions_total"], answer["executions_used"]) == (15, 4)
    assert (answer["executions_held"], answer["executions_remaining"]) == (0, 11)
    assert answer["reservation"] is None
    assert answer["account_id"] == ids.encode_account(1)


def test_check_changes_nothing() -> None:
    ledger = ledger_of(3)
    answer = ledger.accept(check_request(Mode.CHECK, 3), NOW)
    assert answer["executions_remaining"] == 3
    assert answer["event_id"] is None
    assert balances(ledger) == [(0, 0)]
    assert not ledger.events
    assert not ledger.known


def test_consume_may_span_two_plans() -> None:
    ledger = ledger_of(3, 2, 4)
    answer = consume(ledger, 6, "k")
    assert ledger.parts(answer["event_id"]) == [(1, 3), (2, 2), (3, 1)]
    assert answer["plan"]["name"] == "Plan 3"
    first, second, third = ledger.plans[1].values()
    assert first.ended_because == second.ended_because == EndReason.DEPLETED
    assert third.ended_at is None
    assert first.began_at == second.began_at == third.began_at == NOW


def test_consume_is_all_or_nothing() -> None:
    ledger = ledger_of(3, 2)
    error = refuse(ledger, 6, "k")
    assert isinstance(error, InsufficientExecutionsError)
    assert error.extensions["executions_remaining"] == 5
    assert error.extensions["executions_requested"] == 6
    assert error.extensions["allowed"] is False
    assert balances(ledger) == [(0, 0), (0, 0)]
    assert ledger.denied == {"insufficient_executions": 1}


def test_denial_is_not_stored_and_retry_is_decided_again() -> None:
    ledger = ledger_of(3)
    request = check_request(Mode.CONSUME, 4, "k")
    assert isinstance(ledger.refuse(request, NOW), InsufficientExecutionsError)
    ledger.plans[1][2] = plan(2, 10)
    answer = ledger.accept(request, LATER)
    assert ledger.parts(str(answer["event_id"])) == [(1, 3), (2, 1)]


def test_same_key_and_body_gets_same_bytes_and_counts_once() -> None:
    ledger = ledger_of(10)
    request = check_request(Mode.CONSUME, 4, "k")
    first = ledger.one(request, NOW)
    again = ledger.one(request, LATER)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.answer == again.answer
    assert balances(ledger) == [(4, 0)]


def test_replay_works_when_nothing_is_left() -> None:
    ledger = ledger_of(4)
    consume(ledger, 4, "k")
    again = ledger.one(check_request(Mode.CONSUME, 4, "k"), LATER)
    assert isinstance(again, Accepted)
    assert again.replayed


@pytest.mark.parametrize(
    "other",
    [
        check_request(Mode.CONSUME, 5, "k"),
        check_request(Mode.RESERVE, 4, "k"),
        check_request(Mode.CONSUME, 4, "k", workflow="w"),
        check_request(Mode.CONSUME, 4, "k", hold_seconds=1),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_same_key_with_another_body_is_refused(other: Any, *, together: bool) -> None:
    ledger = ledger_of(10)
    first = check_request(Mode.CONSUME, 4, "k")
    if together:
        _, decision = ledger.decide([first, other], NOW)
    else:
        ledger.accept(first, NOW)
        decision = ledger.one(other, LATER)
    assert isinstance(decision, IdempotencyKeyReusedError)
    assert balances(ledger) == [(4, 0)]


def test_same_request_twice_in_one_batch_counts_once() -> None:
    ledger = ledger_of(10)
    request = check_request(Mode.CONSUME, 4, "k")
    first, again, third = ledger.decide([request, request, request], NOW)
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert isinstance(third, Accepted)
    assert [first.replayed, again.replayed, third.replayed] == [False, True, True]
    assert first.answer == again.answer == third.answer
    assert len(ledger.events) == 1


def test_requests_of_a_batch_see_balances_left_by_earlier_ones() -> None:
    ledger = ledger_of(5)
    decisions = ledger.decide([check_request(Mode.CONSUME, 2, key) for key in "abc"], NOW)
    assert [isinstance(decision, Accepted) for decision in decisions] == [True, True, False]
    assert isinstance(decisions[2], InsufficientExecutionsError)
    assert decisions[2].extensions["executions_remaining"] == 1


def test_keys_are_separate_per_account() -> None:
    ledger = MemoryLedger([plan(1, 5)], [plan(1, 5)])
    requests = [
        check_request(Mode.CONSUME, 2, "k", organization_id=name) for name in ("org", "org2")
    ]
    decisions = ledger.decide(requests, NOW)
    assert [isinstance(d, Accepted) and not d.replayed for d in decisions] == [True, True]


def test_event_numbers_are_unique_within_a_batch() -> None:
    ledger = ledger_of(1000)
    modes = [Mode.CONSUME, Mode.RESERVE]
    requests = [check_request(modes[n % 2], 1, f"k{n}") for n in range(500)]
    answers = [
        msgspec.json.decode(d.answer)
        for d in ledger.decide(requests, NOW)
        if isinstance(d, Accepted)
    ]
    names = [a["event_id"] or a["reservation"]["id"] for a in answers]
    assert len(set(names)) == 500
    assert len({event_number(a) for a in answers if a["event_id"]}) == 250


def test_largest_request_fits_largest_plans() -> None:
    ledger = ledger_of(10**15, 10**15)
    answer = consume(ledger, MAX_EXECUTIONS, "k")
    assert answer["executions_remaining"] == 2 * 10**15 - MAX_EXECUTIONS
