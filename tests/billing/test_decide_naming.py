"""One example for each rule of requests that name a reservation or an event."""

from typing import Any

from billing_app.billing import ids
from billing_app.billing.errors import EventNotFoundError, ReservationNotFoundError
from billing_app.billing.executions.requests import Caller, Commit, Mode, Refund, Release
from tests.billing.counting import (
    LATER,
    SECOND,
    balances,
    consume,
    event_number,
    ledger_of,
    number_of,
    reserve,
)
from tests.factories import NOW, PLATFORM, check_request

OTHERS_CALLER = Caller(api_key_id=7, organization_id="other")


def test_key_of_another_organization_finds_nothing() -> None:
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


def test_unknown_ids_are_not_found() -> None:
    ledger = ledger_of(9)
    for account in (1, 99):
        missing = Commit(account, 5, None, PLATFORM)
        assert isinstance(ledger.refuse(missing, NOW), ReservationNotFoundError)
        refund = Refund(account, 5, None, "why", "", PLATFORM)
        assert isinstance(ledger.refuse(refund, NOW), EventNotFoundError)


def test_commit_and_refund_keep_the_workflow() -> None:
    ledger = ledger_of(20)
    number = event_number(ledger.accept(check_request(Mode.CONSUME, 5, "a", workflow="w"), NOW))
    reserved: Any = ledger.accept(check_request(Mode.RESERVE, 4, "b", workflow="w"), LATER)
    held = number_of(ids.RESERVATION, reserved["reservation"]["id"])
    ledger.accept(Commit(1, held, None, PLATFORM), LATER + SECOND)
    ledger.accept(Refund(1, number, 1, "why", "", PLATFORM), LATER + 2 * SECOND)
    assert {row.workflow for row in ledger.events} == {"w"}
    assert [row.executions for row in ledger.events] == [5, 4, -1]
