"""Shared by the examples of counting: a ledger in memory, requests to it, its balances."""

from datetime import datetime, timedelta
from typing import Any

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.requests import Mode
from tests.billing.memory_ledger import MemoryLedger
from tests.factories import NOW, check_request, plan

SECOND = timedelta(seconds=1)
LATER = NOW + SECOND


def ledger_of(*executions: int) -> MemoryLedger:
    return MemoryLedger([plan(number, count) for number, count in enumerate(executions, 1)])


def two_with_the_second_first() -> MemoryLedger:
    return MemoryLedger([plan(1, 3), plan(2, 3, priority=50)])


def consume(ledger: MemoryLedger, executions: int, key: str, at: datetime = NOW) -> Any:
    return ledger.accept(check_request(Mode.CONSUME, executions, key), at)


def reserve(
    ledger: MemoryLedger, executions: int, key: str, at: datetime = NOW, hold_seconds: int = 900
) -> int:
    """Returns the reservation's number."""
    request = check_request(Mode.RESERVE, executions, key, hold_seconds=hold_seconds)
    answer: Any = ledger.accept(request, at)
    return number_of(ids.RESERVATION, answer["reservation"]["id"])


def refuse(ledger: MemoryLedger, executions: int, key: str, at: datetime = NOW) -> BillingError:
    """Consume what must be denied."""
    return ledger.refuse(check_request(Mode.CONSUME, executions, key), at)


def number_of(prefix: str, text: str) -> int:
    pair = ids.decode(prefix, text)
    assert pair is not None
    return pair[1]


def event_number(answer: Any) -> int:
    return number_of(ids.EVENT, answer["event_id"])


def balances(ledger: MemoryLedger) -> list[tuple[int, int]]:
    return [(plan.used, plan.held) for plan in ledger.plans[1].values()]
