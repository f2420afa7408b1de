"""One example for each rule of reservations: reserve, commit, release and expire."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from billing_app.billing.errors import (
    BillingError,
    InsufficientExecutionsError,
    InvalidInputError,
    ReservationExpiredError,
    ReservationSettledError,
)
from billing_app.billing.executions.requests import Accepted, Commit, Mode, Release
from billing_app.db.enums import EndReason, EventKind, ReservationStatus
from tests.billing.counting import (
    LATER,
    SECOND,
    balances,
    consume,
    ledger_of,
    refuse,
    reserve,
    two_with_the_second_first,
)
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, PLATFORM, check_request, plan


def test_reservation_holds_executions_until_commit() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 6, "k")
    assert balances(ledger) == [(0, 6)]
    assert isinstance(refuse(ledger, 5, "l"), InsufficientExecutionsError)
    answer: Any = ledger.accept(Commit(1, number, None, PLATFORM), LATER)
    assert answer["reservation"]["status"] == "committed"
    assert (answer["executions"], answer["executions_released"]) == (6, 0)
    assert balances(ledger) == [(6, 0)]
    (event,) = ledger.events
    assert (event.kind, event.idempotency_key) == (EventKind.COMMIT, "k")
    assert event.refers_to == number


def test_partial_commit_releases_the_rest() -> None:
    ledger = ledger_of(4, 10)
    number = reserve(ledger, 6, "k")
    assert balances(ledger) == [(0, 4), (0, 2)]
    answer: Any = ledger.accept(Commit(1, number, 3, PLATFORM), LATER)
    assert (answer["executions"], answer["executions_released"]) == (3, 3)
    assert ledger.parts(answer["event_id"]) == [(1, 3)]
    assert balances(ledger) == [(3, 0), (0, 0)]


def test_commit_of_more_than_is_held_is_refused() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 6, "k")
    error = ledger.refuse(Commit(1, number, 7, PLATFORM), LATER)
    assert isinstance(error, InvalidInputError)
    assert error.extensions["field"] == "executions"
    assert balances(ledger) == [(0, 6)]


def test_commit_and_release_are_idempotent_and_final() -> None:
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


def test_release_gives_everything_back_and_writes_no_event() -> None:
    ledger = ledger_of(4, 4)
    number = reserve(ledger, 6, "k")
    answer: Any = ledger.accept(Release(1, number, PLATFORM), LATER)
    assert answer["reservation"]["status"] == "released"
    assert answer["event_id"] is None
    assert answer["executions_released"] == 6
    assert balances(ledger) == [(0, 0), (0, 0)]
    assert not ledger.events


def test_expired_reservation_is_released_by_the_next_decision() -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 10, "k", hold_seconds=1)
    moment_before = LATER - timedelta(microseconds=1)
    assert isinstance(refuse(ledger, 1, "l", moment_before), BillingError)
    consume(ledger, 10, "m", LATER)
    assert ledger.reservations[1, number].status == ReservationStatus.EXPIRED
    assert balances(ledger) == [(10, 0)]


@pytest.mark.parametrize("settle", [Commit(1, 0, None, PLATFORM), Release(1, 0, PLATFORM)])
def test_expired_reservation_cannot_be_committed_or_released(settle: Commit | Release) -> None:
    ledger = ledger_of(10)
    number = reserve(ledger, 10, "k", hold_seconds=1)
    error = ledger.refuse(msgspec.structs.replace(settle, number=number), LATER)
    assert isinstance(error, ReservationExpiredError)
    assert error.extensions["expires_at"] == LATER
    assert balances(ledger) == [(0, 0)]


def test_reservation_is_honoured_after_its_plan_ended() -> None:
    ledger = MemoryLedger([plan(1, 10, ends_at=LATER)])
    number = reserve(ledger, 6, "k")
    moment = LATER + SECOND
    assert isinstance(refuse(ledger, 1, "l", moment), BillingError)
    answer: Any = ledger.accept(Commit(1, number, 5, PLATFORM), moment)
    assert ledger.parts(answer["event_id"]) == [(1, 5)]
    assert answer["executions_remaining"] == 0
    refuse(ledger, 1, "m", moment)
    kept = ledger.plans[1][1]
    assert (kept.used, kept.held) == (5, 0)
    assert (kept.ended_at, kept.ended_because) == (LATER, EndReason.PERIOD_ENDED)


def test_ended_plan_with_a_reservation_is_not_used() -> None:
    ledger = MemoryLedger([plan(1, 10, ends_at=LATER)])
    reserve(ledger, 6, "k")
    assert isinstance(
        ledger.refuse(check_request(Mode.CHECK, 1), LATER), InsufficientExecutionsError
    )
    assert isinstance(refuse(ledger, 1, "l", LATER), InsufficientExecutionsError)


def test_reservation_of_an_ended_plan_is_released_when_it_expires() -> None:
    ledger = MemoryLedger([plan(1, 10, ends_at=LATER)])
    reserve(ledger, 6, "k", hold_seconds=60)
    refuse(ledger, 1, "l", LATER + SECOND)
    assert balances(ledger) == [(0, 6)]
    refuse(ledger, 1, "m", NOW + 60 * SECOND)
    assert balances(ledger) == [(0, 0)]
    assert ledger.plans[1][1].ended_because == EndReason.PERIOD_ENDED


def test_partial_commit_uses_the_first_plan_of_the_queue() -> None:
    ledger = two_with_the_second_first()
    number = reserve(ledger, 5, "k")
    answer: Any = ledger.accept(Commit(1, number, 3, PLATFORM), LATER)
    assert ledger.parts(answer["event_id"]) == [(2, 3)]


def test_reservation_is_honoured_after_its_plan_was_stopped() -> None:
    ledger = MemoryLedger([plan(1, 10)])
    number = reserve(ledger, 4, "a")
    ledger.plans[1][1].paused_at = ledger.plans[1][1].blocked_at = NOW
    ledger.accept(Commit(1, number, 3, PLATFORM), LATER)
    assert balances(ledger) == [(3, 0)]
