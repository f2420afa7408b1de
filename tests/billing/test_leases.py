"""Leases: held like a reservation, settled line by line, never over-consumed."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.errors import (
    BillingError,
    InsufficientExecutionsError,
    InvalidInputError,
    LeaseEndedError,
    LeaseExceededError,
    LeaseNotFoundError,
    LeaseTokenInvalidError,
    ReservationNotFoundError,
)
from billing_app.billing.executions.requests import Accepted, Caller, Commit, Mode, Renewal
from billing_app.billing.executions.verification import verify
from billing_app.billing.ids import LEASE, decode
from billing_app.db.engine import Database
from tests.billing.leasing import WINDOW_SECONDS, Desk, lease_request, rows, settlement, total
from tests.factories import Holder, add_plan, check_request, connect, end_plan, organization

EVENING = (datetime.now(UTC) - timedelta(days=2)).replace(hour=23, minute=30, second=0)
MORNING = EVENING + timedelta(minutes=40)
FIRST, SECOND = EVENING.date(), MORNING.date()
HELD = "SELECT used, held FROM plans WHERE account_id = $1 ORDER BY sequence"
DAYS = (
    "SELECT day, workflow, user_id, used FROM daily_usage WHERE account_id = $1"
    " ORDER BY day, workflow, user_id"
)
EVENTS = (
    "SELECT kind, executions, workflow, (occurred_at AT TIME ZONE 'UTC')::date"
    " FROM execution_events WHERE account_id = $1 ORDER BY number, plan_sequence"
)
UNSETTLED = "SELECT unsettled, unsettled_at IS NOT NULL FROM leases WHERE account_id = $1"


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    desk = Desk(database_url)
    yield desk
    await desk.close()


Holding = Callable[..., Holder]


@pytest.fixture
async def holding(database_url: str) -> AsyncIterator[Holding]:
    """Makes accounts, whose ledgers must add up after the test."""
    made: set[str] = set()

    def make(*executions: int) -> Holder:
        holder = organization(database_url)
        made.add(holder.account_id)
        for sequence, count in enumerate(executions, 1):
            add_plan(database_url, holder, sequence, count, starts_at=EVENING - timedelta(days=3))
        return holder

    yield make
    database = Database(database_url)
    assert [each for each in await verify(database) if each.account_id in made] == []
    await database.dispose()


async def held(url: str, holder: Any) -> list[tuple[Any, ...]]:
    return await rows(url, HELD, holder.account_number)


async def test_a_lease_holds_and_each_line_is_one_event_on_its_day(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(10, 100)
    lease = await desk.accept(lease_request(holder, 50), EVENING)
    assert (lease["lease"]["executions"], lease["lease"]["status"]) == (50, "open")
    assert (lease["executions_held"], lease["executions_remaining"]) == (50, 60)
    assert await held(database_url, holder) == [(0, 10), (0, 40)]
    report = settlement(
        lease, total(4, FIRST, "triage", "ada"), total(8, SECOND, "triage"), closes=True
    )
    answer = await desk.accept(report, MORNING)
    assert (answer["executions"], answer["executions_released"]) == (12, 38)
    assert [each["executions"] for each in answer["events"]] == [8, 4]
    assert answer["lease"]["status"] == "closed"
    assert await held(database_url, holder) == [(10, 0), (2, 0)]
    assert await rows(database_url, DAYS, holder.account_number) == [
        (FIRST, "triage", "ada", 4),
        (SECOND, "triage", "", 8),
    ]
    assert {
        (row[0], row[3]) for row in await rows(database_url, EVENTS, holder.account_number)
    } == {
        ("commit", FIRST),
        ("commit", SECOND),
    }


async def test_repeated_and_older_reports_change_nothing(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(100)
    lease = await desk.accept(lease_request(holder, 50), EVENING)
    newer = settlement(lease, total(9, FIRST), sequence=2)
    older = settlement(lease, total(5, FIRST), sequence=1, closes=True)
    for report, counted in ((newer, 9), (older, 0), (newer, 0)):
        assert (await desk.accept(report, EVENING))["executions"] == counted
    assert await held(database_url, holder) == [(9, 41)]


async def test_a_report_of_more_than_is_held_counts_nothing_and_staff_see_it(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(100)
    lease = await desk.accept(lease_request(holder, 10), EVENING)
    await desk.accept(settlement(lease, total(4, FIRST, "a")), EVENING)
    refused = await desk.decide(
        settlement(lease, total(5, FIRST, "a"), total(8, FIRST, "b")), EVENING
    )
    assert isinstance(refused, LeaseExceededError)
    assert refused.extensions == {
        "executions": 10,
        "executions_settled": 4,
        "executions_reported": 13,
    }
    assert await held(database_url, holder) == [(4, 6)]
    assert await rows(database_url, UNSETTLED, holder.account_number) == [(3, True)]


async def test_expired_lease_is_settled_within_its_window_and_freed_after_it(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(100)
    lease = await desk.accept(lease_request(holder, 50, seconds=60), EVENING)
    late = EVENING + timedelta(seconds=60 + WINDOW_SECONDS - 1)
    renewing = settlement(lease, total(5, FIRST), renewal=Renewal(50, 60), sequence=1)
    answer = await desk.accept(renewing, late)
    assert (answer["executions"], answer["executions_renewed"]) == (5, 0)
    assert (answer["denied_because"], answer["lease"]["status"]) == ("lease_expired", "expired")
    assert await held(database_url, holder) == [(5, 45)]
    after = late + timedelta(seconds=2)
    refused = await desk.decide(settlement(lease, total(7, FIRST)), after)
    assert isinstance(refused, LeaseEndedError)
    assert await held(database_url, holder) == [(5, 0)]
    assert await rows(database_url, UNSETTLED, holder.account_number) == [(2, True)]
    again = await desk.accept(settlement(lease, total(5, FIRST)), after)
    assert (again["executions"], again["lease"]["status"]) == (0, "freed")


async def test_renewal_fills_up_what_is_left_and_repeats_without_effect(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(20, 100)
    lease = await desk.accept(lease_request(holder, 20, seconds=60), EVENING)
    soon = EVENING + timedelta(seconds=30)
    renewing = settlement(lease, total(15, FIRST), renewal=Renewal(20, 600), sequence=1)
    for added in (15, 0):
        answer = await desk.accept(renewing, soon)
        assert answer["executions_renewed"] == added
        assert answer["lease"]["executions"] == 35
    assert await held(database_url, holder) == [(15, 5), (0, 15)]
    later = soon + timedelta(seconds=599)
    answer = await desk.accept(settlement(answer, total(35, FIRST), closes=True), later)
    assert answer["executions_released"] == 0
    assert await held(database_url, holder) == [(20, 0), (15, 0)]


async def test_renewals_end_a_day_after_the_lease_was_opened(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(100)
    lease = await desk.accept(lease_request(holder, 10, seconds=86_000), EVENING)
    later = EVENING + timedelta(seconds=85_000)
    renewed = await desk.accept(settlement(lease, renewal=Renewal(10, 86_400)), later)
    expires_at = datetime.fromisoformat(renewed["lease"]["expires_at"])
    assert expires_at == EVENING + timedelta(days=1)


async def test_near_the_end_of_a_plan(desk: Desk, database_url: str, holding: Holding) -> None:
    holder = holding(30)
    refused = await desk.decide(lease_request(holder, 50, at_least=31), EVENING)
    assert isinstance(refused, InsufficientExecutionsError)
    lease = await desk.accept(lease_request(holder, 50, at_least=1), EVENING)
    assert lease["lease"]["executions"] == 30
    answer = await desk.accept(
        settlement(lease, total(10, FIRST), renewal=Renewal(50, 600)), EVENING
    )
    assert (answer["executions_renewed"], answer["denied_because"]) == (
        0,
        "insufficient_executions",
    )


async def test_a_plan_that_ends_meanwhile_honours_its_lease(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(30)
    lease = await desk.accept(lease_request(holder, 20))
    end_plan(database_url, holder, 1)
    today = datetime.now(UTC).date()
    answer = await desk.accept(settlement(lease, total(20, today), renewal=Renewal(20, 600)))
    assert (answer["executions"], answer["executions_renewed"]) == (20, 0)
    assert answer["denied_because"] == "no_usable_plan"
    assert await held(database_url, holder) == [(20, 0)]


async def test_a_retry_of_opening_gets_the_same_bytes(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(30)
    first = await desk.decide(lease_request(holder, 20, idempotency_key="same"))
    again = await desk.decide(lease_request(holder, 20, idempotency_key="same"))
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.answer, again.replayed) == (first.answer, True)
    other = await desk.decide(lease_request(holder, 21, idempotency_key="same"))
    assert isinstance(other, BillingError)
    assert other.code == "idempotency_key_reused"
    assert await held(database_url, holder) == [(0, 20)]


async def test_misuse_counts_nothing(desk: Desk, database_url: str, holding: Holding) -> None:
    holder, other = holding(30), holding(30)
    lease = await desk.accept(lease_request(holder, 20, workflow="triage"), EVENING)
    second = await desk.accept(lease_request(holder, 5), EVENING)
    foreign = await desk.accept(lease_request(other, 20), EVENING)
    line = total(1, FIRST, "triage")
    refusals: list[tuple[Any, type[BillingError]]] = [
        (settlement(lease, line, token=second["token"]), LeaseTokenInvalidError),
        (settlement(lease, line, token=foreign["token"]), LeaseTokenInvalidError),
        (settlement(lease, line, token=lease["token"][:-1]), LeaseTokenInvalidError),
        (settlement(lease, line, token="é"), LeaseTokenInvalidError),
        (settlement(lease, total(1, FIRST, "other")), InvalidInputError),
        (settlement(lease, total(1, FIRST)), InvalidInputError),
        (settlement(lease, total(1, SECOND, "triage")), InvalidInputError),
        (
            settlement(lease, total(1, FIRST - timedelta(days=1), "triage")),
            InvalidInputError,
        ),
        (
            settlement(lease, line, caller=Caller(None, other.organization_id)),
            LeaseNotFoundError,
        ),
    ]
    for request, kind in refusals:
        assert isinstance(await desk.decide(request, EVENING), kind), request
    pair = decode(LEASE, lease["lease"]["id"])
    assert pair is not None
    commit = Commit(*pair, None, Caller(None, None))
    assert isinstance(await desk.decide(commit, EVENING), ReservationNotFoundError)
    assert await held(database_url, holder) == [(0, 25)]


async def test_reservations_and_consumes_beside_a_lease(
    desk: Desk, database_url: str, holding: Holding
) -> None:
    holder = holding(30)
    lease = await desk.accept(lease_request(holder, 20))
    denied = await desk.decide(
        check_request(Mode.CONSUME, 11, "a", organization_id=holder.organization_id)
    )
    assert isinstance(denied, InsufficientExecutionsError)
    await desk.accept(check_request(Mode.CONSUME, 10, "b", organization_id=holder.organization_id))
    today = datetime.now(UTC).date()
    await desk.accept(settlement(lease, total(20, today)))
    with connect(database_url) as connection:
        (ended,) = connection.execute(
            "SELECT ended_because FROM plans WHERE account_id = %s", [holder.account_number]
        ).fetchone() or (None,)
    assert ended == "depleted"
    answer = await desk.accept(settlement(lease, closes=True, sequence=1))
    assert answer["lease"]["status"] == "closed"


async def test_verify_finds_a_lease_that_differs_from_its_events(own_database_url: str) -> None:
    desk, database = Desk(own_database_url), Database(own_database_url)
    holder = organization(own_database_url, 30)
    lease = await desk.accept(lease_request(holder, 20))
    await desk.accept(settlement(lease, total(5, datetime.now(UTC).date())))
    assert await verify(database) == []
    with connect(own_database_url) as connection:
        connection.execute("UPDATE leases SET settled = 6")
    found = {(each.figure, each.expected, each.actual) for each in await verify(database)}
    assert found == {("lease settled by lines", 5, 6), ("lease settled by events", 5, 6)}
    await desk.close()
    await database.dispose()
