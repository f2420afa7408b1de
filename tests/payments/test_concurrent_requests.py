"""The same asked several times at once: it is done once, and nobody is told of an outage."""

import asyncio

import pytest

from billing_app.billing.subscriptions.errors import SubscriptionEndedError
from billing_app.db.enums import SubscriptionStatus, When
from tests.payments.billing_harness import BillingHarness

TIMES = 6


@pytest.mark.parametrize("repeat", range(3))
async def test_cancelling_now(harness: BillingHarness, repeat: int) -> None:
    await harness.subscribed("starter")
    found = await asyncio.gather(
        *(harness.cancel(When.NOW) for _ in range(TIMES)), return_exceptions=True
    )
    refused = [each for each in found if isinstance(each, BaseException)]
    assert [each for each in refused if not isinstance(each, SubscriptionEndedError)] == []
    assert len(refused) < TIMES
    assert {row[0] for row in harness.rows("SELECT state FROM provider_writes")} == {"done"}
    assert [each.status for each in harness.subscriptions()] == [SubscriptionStatus.CANCELED]


async def test_changing_now(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    found = await asyncio.gather(*(harness.change("growth") for _ in range(TIMES)))
    assert {each.offer.code for each in found} == {"growth"}
    assert harness.charged_minor() == 7_900


@pytest.mark.parametrize("repeat", range(3))
async def test_the_first_sales_of_an_offer(harness: BillingHarness, repeat: int) -> None:
    """Its price is made at Stripe when somebody wants it, and by now several do."""
    begun = await asyncio.gather(*(harness.begin("growth") for _ in range(TIMES)))
    assert len({each.checkout_url for each in begun}) == 1
    assert harness.rows("SELECT count(*) FROM offer_prices") == [(1,)]
