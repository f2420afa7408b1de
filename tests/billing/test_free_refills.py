"""Free offers refill each period, once, without a hole."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from dateutil.relativedelta import relativedelta

from billing_app.billing import ids
from billing_app.billing.accounts import free_refills
from billing_app.billing.accounts.free_refills import AHEAD, refill_free_offers
from billing_app.billing.accounts.provisioning import AccountFields
from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.composition import Services
from billing_app.db.enums import Interval
from tests.factories import OPERATOR, PLATFORM_SERVICE, connect

SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)
MONTH = relativedelta(months=1)


@pytest.fixture
async def own(services: Services) -> str:
    """An organization that began with a free offer of 500 executions a month."""
    code, own = ids.new_id("free-"), ids.new_id("acme-")
    terms = OfferTerms("Free", "", 500, 0, "USD", Interval.MONTH)
    await publish_offer(services.database, OPERATOR, code=code, terms=terms, now=SINCE)
    await services.provisioning.put_organization(
        PLATFORM_SERVICE,
        own,
        AccountFields(name="Acme", offer=code),
        details_queue=None,
        now=SINCE,
    )
    return own


def periods(services: Services, own: str) -> list[tuple[datetime, datetime, int]]:
    with connect(services.database.url) as connection:
        return connection.execute(
            "SELECT p.starts_at, p.ends_at, p.executions FROM plans AS p"
            " JOIN accounts AS a ON a.id = p.account_id"
            " WHERE a.organization_id = %s ORDER BY p.sequence",
            [own],
        ).fetchall()  # pyright: ignore[reportReturnType]


def change(services: Services, own: str, values: str) -> None:
    with connect(services.database.url) as connection:
        connection.execute(
            f"UPDATE account_profiles SET {values} WHERE account_id ="  # pyright: ignore[reportArgumentType, reportCallIssue] # noqa: S608
            " (SELECT id FROM accounts WHERE organization_id = %s)",
            [own],
        )


async def test_next_period_is_queued_ahead_and_once(services: Services, own: str) -> None:
    first = (SINCE, SINCE + MONTH, 500)
    await refill_free_offers(services.database, first[1] - AHEAD - timedelta(seconds=1))
    assert periods(services, own) == [first]
    for _ in range(2):
        await refill_free_offers(services.database, first[1] - AHEAD)
    assert periods(services, own) == [first, (SINCE + MONTH, SINCE + 2 * MONTH, 500)]


async def test_the_31st_comes_back(services: Services, own: str) -> None:
    at = SINCE
    while at < SINCE + 4 * MONTH:
        await refill_free_offers(services.database, at)
        at += timedelta(days=1)
    starts = [period[0] for period in periods(services, own)]
    days = [(start.month, start.day) for start in starts[:4]]
    assert days == [(1, 31), (2, 28), (3, 31), (4, 30)]
    ends = [period[1] for period in periods(services, own)]
    assert ends[:-1] == starts[1:], "no hole and no overlap"


async def test_missed_periods_are_not_made_up(services: Services, own: str) -> None:
    await refill_free_offers(services.database, SINCE + 5 * MONTH + timedelta(days=3))
    assert [period[0] for period in periods(services, own)] == [SINCE, SINCE + 5 * MONTH]


async def test_many_workers_refill_once(services: Services, own: str) -> None:
    now = SINCE + MONTH
    await asyncio.gather(*[refill_free_offers(services.database, now) for _ in range(4)])
    assert len(periods(services, own)) == 2


async def test_closed_account_is_not_refilled(services: Services, own: str) -> None:
    change(services, own, "closed_at = now()")
    await refill_free_offers(services.database, SINCE + MONTH)
    assert len(periods(services, own)) == 1


async def test_subscription_takes_the_place_of_refills(
    services: Services, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live(*_: object) -> object:
        return object()

    with monkeypatch.context() as patched:
        patched.setattr(free_refills, "live_subscription", live)
        await refill_free_offers(services.database, SINCE + MONTH)
    assert len(periods(services, own)) == 1
    await refill_free_offers(services.database, SINCE + 2 * MONTH)
    assert [period[0] for period in periods(services, own)] == [SINCE, SINCE + 2 * MONTH]
