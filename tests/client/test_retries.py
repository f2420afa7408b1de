"""What is sent again, with what, and for how long, against a real TCP server that misbehaves."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from billing_app.client import (
    Billing,
    CheckAnswer,
    CheckItem,
    DeniedError,
    ProblemError,
    RateLimitedError,
    Retries,
    UnavailableError,
    UndecidedError,
    UnexpectedAnswerError,
)
from billing_app.client.retries import FINAL_CODES, retry_after_seconds
from tests.client.conftest import IMPATIENT
from tests.client.driven import Driven
from tests.client.faulty import Fault, FaultyServer
from tests.factories import Holder, connect
from tests.processes import free_port

# With tests of their own.
NOT_QUICK = {Fault.SLOW_AFTER, Fault.BUSY_A_SECOND, Fault.LIMITED_A_SECOND}
RETRIED = [fault for fault in Fault if fault not in {Fault.PASS, Fault.NONSENSE, *NOT_QUICK}]
# Shorter than the slow answer.
HURRIED = Retries(budget_seconds=10, attempt_seconds=0.4)


def used(url: str, holder: Holder) -> tuple[int, int]:
    """Executions used and held."""
    with connect(url) as connection:
        row = connection.execute(
            "SELECT used, held FROM plans WHERE account_id = %s", [holder.account_number]
        ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("fault", RETRIED)
def test_retry_counts_once(
    impatient: Driven,
    faulty: FaultyServer,
    holder: Holder,
    client_database_url: str,
    fault: Fault,
) -> None:
    faulty.plan([fault])
    answer = impatient.consume(holder.organization_id, executions=2)
    assert answer.executions_used == 2
    assert used(client_database_url, holder) == (2, 0)
    first, again = faulty.received
    assert first.key == again.key != ""
    assert first.body == again.body


def test_slow_answer_is_asked_for_again(
    faulty: FaultyServer, key: str, holder: Holder, client_database_url: str
) -> None:
    faulty.plan([Fault.SLOW_AFTER])
    with Billing(faulty.url, key, retries=HURRIED) as billing:
        assert billing.consume(holder.organization_id).executions_used == 1
    assert used(client_database_url, holder) == (1, 0)
    assert len(faulty.received) > 1


@pytest.mark.parametrize("fault", [Fault.BUSY_A_SECOND, Fault.LIMITED_A_SECOND])
def test_retry_after_is_waited_out(
    faulty: FaultyServer, key: str, holder: Holder, fault: Fault
) -> None:
    faulty.plan([fault])
    with Billing(faulty.url, key) as billing:
        billing.consume(holder.organization_id)
    first, again = faulty.received
    assert again.at - first.at >= 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("-7", 0),
        ("1e3", 0),
        ("soon", 0),
        ("\u0663", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 99 Nov 1994", 0),
    ],
)
def test_retry_after_of_any_kind(value: str, seconds: float) -> None:
    headers = [(b"Retry-After", value.encode())]
    assert retry_after_seconds(httpx.Response(503, headers=headers)) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after_seconds(httpx.Response(503, headers={"Retry-After": later})) <= 90


def test_time_budget_ends_retries(
    impatient: Driven, faulty: FaultyServer, holder: Holder, client_database_url: str
) -> None:
    faulty.plan([], then=Fault.BUSY)
    with pytest.raises(UnavailableError, match="nothing was counted") as raised:
        impatient.consume(holder.organization_id, idempotency_key="mine")
    assert not raised.value.is_unclear
    assert raised.value.idempotency_key == "mine"
    assert raised.value.attempts == len(faulty.received) > 2
    assert used(client_database_url, holder) == (0, 0)


def test_rate_limit_that_lasts_is_its_own_error(impatient: Driven, faulty: FaultyServer) -> None:
    faulty.plan([], then=Fault.LIMITED)
    with pytest.raises(RateLimitedError) as raised:
        impatient.consume("acme")
    assert raised.value.code == "too_many_attempts"
    assert len(faulty.received) > 1
    faulty.plan([Fault.DROP_AFTER], then=Fault.LIMITED)
    with pytest.raises(UnavailableError) as unclear:
        impatient.consume("acme")
    assert unclear.value.is_unclear


def test_too_long_retry_after_is_not_waited_for(impatient: Driven, faulty: FaultyServer) -> None:
    faulty.plan([], then=Fault.BUSY_A_SECOND)
    with pytest.raises(UnavailableError, match="503 overloaded"):
        impatient.consume("acme")
    assert len(faulty.received) <= 2


@pytest.mark.parametrize(
    "fault", [Fault.DROP_AFTER, Fault.CUT_AFTER, Fault.UNDECIDED_AFTER, Fault.GATEWAY_AFTER]
)
def test_unclear_outcome_says_so_and_is_found_out(
    impatient: Driven,
    faulty: FaultyServer,
    holder: Holder,
    client_database_url: str,
    fault: Fault,
) -> None:
    faulty.plan([], then=fault)
    with pytest.raises(UnavailableError, match="unclear") as raised:
        impatient.consume(holder.organization_id)
    assert raised.value.is_unclear
    faulty.plan([])
    key = raised.value.idempotency_key
    assert impatient.consume(holder.organization_id, idempotency_key=key).executions_used == 1
    assert used(client_database_url, holder) == (1, 0)


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Billing(url, "key", retries=IMPATIENT) as billing:
        with pytest.raises(UnavailableError) as raised:
            billing.consume("acme")
        assert not raised.value.is_unclear
        with pytest.raises(UnavailableError), billing.run("acme"):
            pytest.fail("the run started without a decision")


def test_decisions_are_not_retried(impatient: Driven, faulty: FaultyServer, holder: Holder) -> None:
    with pytest.raises(DeniedError):
        impatient.consume(holder.organization_id, executions=101)
    with pytest.raises(ProblemError):
        impatient.consume(holder.organization_id, executions=0)
    assert len(faulty.received) == 2


def test_answer_of_something_else_is_no_decision(impatient: Driven, faulty: FaultyServer) -> None:
    faulty.plan([Fault.NONSENSE])
    with pytest.raises(UnexpectedAnswerError):
        impatient.consume("acme")
    assert len(faulty.received) == 1


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.UNDECIDED, Fault.GATEWAY])
def test_purchases_are_sent_once(impatient: Driven, faulty: FaultyServer, fault: Fault) -> None:
    faulty.plan([fault])
    with pytest.raises(UnavailableError, match=r"after 1 attempt .*unclear"):
        impatient.subscribe("acme", "growth")
    assert len(faulty.received) == 1


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.LIMITED])
def test_purchases_are_sent_again_when_nothing_was_done(
    impatient: Driven, faulty: FaultyServer, fault: Fault
) -> None:
    faulty.plan([fault])
    with pytest.raises(ProblemError):
        impatient.subscribe("acme", "no-such-offer")
    assert len(faulty.received) == 2


def test_paused_payments_are_final() -> None:
    assert "provider_not_adopted" in FINAL_CODES


def test_batch_sends_undecided_items_again(
    impatient: Driven, faulty: FaultyServer, holder: Holder, client_database_url: str
) -> None:
    faulty.plan([Fault.DROP_AFTER, Fault.UNDECIDED_AFTER])
    items = [CheckItem(organization_id=holder.organization_id, mode="consume")] * 3
    results = impatient.batch(items)
    assert [type(each) for each in results] == [CheckAnswer] * 3
    assert used(client_database_url, holder) == (3, 0)


def test_retries_of_the_caller_are_kept(faulty: FaultyServer, key: str) -> None:
    faulty.plan([], then=Fault.BUSY)
    with (
        Billing(faulty.url, key, retries=Retries(budget_seconds=0.3)) as billing,
        pytest.raises(UnavailableError, match="after 1 attempt "),
    ):
        billing.offers()
    assert issubclass(UndecidedError, ProblemError)
