"""A run counts exactly once, or not at all."""

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.billing.executions.verification import Difference, verify
from billing_app.client import (
    AsyncBilling,
    Billing,
    ConflictError,
    DeniedError,
    RateLimitedError,
    Retries,
    UnavailableError,
    UnexpectedAnswerError,
)
from billing_app.client.runs import POLICIES
from billing_app.db.engine import Database
from tests.api.server import ApiServer
from tests.billing.profiles import examples
from tests.client.driven import Driven
from tests.client.faulty import Fault, FaultyServer
from tests.client.test_retries import used
from tests.factories import Holder, organization


class RunError(Exception):
    """What a run fails with."""


def test_run_counts_what_was_reserved(
    driven: Driven, holder: Holder, client_database_url: str
) -> None:
    with driven.run(holder.organization_id, executions=4, workflow="triage") as run:
        assert used(client_database_url, holder) == (0, 4)
        assert run.decision is not None
        assert run.decision.plan.name == "Plan 1"
    assert used(client_database_url, holder) == (4, 0)
    assert run.settlement is not None
    assert driven.receipt(run.settlement.event_id).workflow == "triage"


@pytest.mark.parametrize(("said", "counted"), [(0, 0), (1, 1), (9, 9), (10, 10)])
def test_run_counts_what_it_used(
    driven: Driven, holder: Holder, client_database_url: str, said: int, counted: int
) -> None:
    with driven.run(holder.organization_id, executions=10) as run:
        run.use(3)
        run.use(said)
    assert used(client_database_url, holder) == (counted, 0)


def test_run_cannot_use_more_than_it_reserved(
    driven: Driven, holder: Holder, client_database_url: str
) -> None:
    with driven.run(holder.organization_id, executions=10) as run:
        for wrong in (-1, 11):
            with pytest.raises(ValueError, match="10 reserved"):
                run.use(wrong)
    assert used(client_database_url, holder) == (10, 0)


@pytest.mark.parametrize("failure", [RunError, KeyboardInterrupt, GeneratorExit])
def test_failed_run_counts_nothing(
    driven: Driven,
    holder: Holder,
    client_database_url: str,
    failure: type[BaseException],
) -> None:
    with pytest.raises(failure), driven.run(holder.organization_id, executions=10):
        raise failure
    assert used(client_database_url, holder) == (0, 0)


def test_denied_run_never_starts(driven: Driven, holder: Holder) -> None:
    with pytest.raises(DeniedError), driven.run(holder.organization_id, executions=101):
        pytest.fail("the run started")


def test_same_key_is_the_same_reservation(
    driven: Driven, holder: Holder, client_database_url: str
) -> None:
    for _ in range(2):
        with driven.run(holder.organization_id, executions=2, idempotency_key="run-1"):
            pass
    assert used(client_database_url, holder) == (2, 0)


def test_run_that_outlives_its_reservation_is_counted(
    driven: Driven, holder: Holder, client_database_url: str
) -> None:
    with driven.run(holder.organization_id, executions=6, hold_seconds=1) as run:
        time.sleep(1.3)
        run.use(5)
    assert used(client_database_url, holder)[0] == 5
    assert run.settlement is not None
    assert run.settlement.executions == 5


def test_late_run_is_denied_when_nothing_is_left(
    billing: Billing, holder: Holder, client_database_url: str
) -> None:
    def run() -> None:
        with billing.run(holder.organization_id, executions=60, hold_seconds=1):
            time.sleep(1.3)
            billing.consume(holder.organization_id, executions=60)

    with pytest.raises(DeniedError):
        run()
    assert used(client_database_url, holder)[0] == 60


def test_settled_elsewhere_is_reported(billing: Billing, holder: Holder) -> None:
    def run() -> None:
        with billing.run(holder.organization_id) as started:
            assert started.decision is not None
            assert started.decision.reservation is not None
            billing.release(started.decision.reservation.id)

    with pytest.raises(ConflictError) as raised:
        run()
    assert raised.value.code == "reservation_settled"


def test_failing_release_never_hides_the_error(
    impatient: Driven, faulty: FaultyServer, holder: Holder
) -> None:
    def run() -> None:
        with impatient.run(holder.organization_id):
            faulty.plan([], then=Fault.DROP)
            raise RunError

    with pytest.raises(RunError) as raised:
        run()
    assert "will expire" in raised.value.__notes__[0]


def test_only_deny_is_offered() -> None:
    assert list(POLICIES) == ["deny"]


FAULTS = st.lists(st.sampled_from([fault for fault in Fault if fault != Fault.SLOW_AFTER]))
ENDLESS = st.sampled_from([Fault.PASS, Fault.PASS, Fault.DROP_AFTER, Fault.BUSY])
HASTY = Retries(
    budget_seconds=0.3, attempt_seconds=0.2, first_wait_seconds=0.001, max_wait_seconds=0.005
)


@pytest.fixture(scope="module", params=["sync", "async"])
def chaos(
    request: pytest.FixtureRequest, server: ApiServer, key: str
) -> Iterator[tuple[FaultyServer, Driven]]:
    make = Billing if request.param == "sync" else AsyncBilling
    with (
        FaultyServer(server.port) as faulty,
        Driven(make(faulty.url, key, retries=HASTY)) as driven,
    ):
        yield faulty, driven


@settings(max_examples=examples(0.6))
@given(faults=FAULTS, then=ENDLESS, count=st.integers(0, 3), fails=st.booleans())
def test_run_counts_once_or_not_at_all_whatever_breaks(
    chaos: tuple[FaultyServer, Driven],
    client_database_url: str,
    faults: list[Fault],
    then: Fault,
    count: int,
    fails: bool,
) -> None:
    faulty, driven = chaos
    holder = organization(client_database_url, 10)
    faulty.plan(faults, then)
    allowed = {0}
    try:
        with driven.run(holder.organization_id, executions=3) as run:
            run.use(count)
            allowed = {0} if fails else {0, count}
            if fails:
                raise RunError  # noqa: TRY301
        allowed = {count}
    except (RunError, RateLimitedError, UnavailableError, UnexpectedAnswerError):
        pass
    counted, held = used(client_database_url, holder)
    assert counted in allowed
    assert held in {0, 3}
    assert counted == 0 or held == 0
    assert asyncio.run(differences(client_database_url)) == []


async def differences(url: str) -> list[Difference]:
    """Between balances and the ledger."""
    database = Database(url)
    try:
        return list(await verify(database))
    finally:
        await database.dispose()


def test_transport_can_be_given() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json={"items": []})

    with Billing("http://x", "key", transport=httpx.MockTransport(answer)) as billing:
        assert billing.offers().items == []
    assert seen == ["/billing/offers"]
