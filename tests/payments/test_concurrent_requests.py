"""The same request several times at once is carried out once, and reported as no outage."""

import asyncio

import pytest

from billing_app.billing.subscriptions.errors import SubscriptionEndedError
from billing_app.db.enums import SubscriptionStatus, When
from tests.payments.billing_harness import BillingHarness

TIMES = 6


@pytest.mark.parametrize("repeat", range(3))
async def test_concurrent_cancellations_are_done_once(harness: BillingHarness, repeat: int) -> None:
    await harness.subscribed("starter")
    found = await asyncio.gather(
        *(harness.cancel(When.NOW) for _ in range(TIMES)), return_exceptions=True
    )
    refused = [each for each in found if isinstance(each, BaseException)]
    assert [each for each in refused if not isinstance(each, SubscriptionEndedError)] == []
    assert len(refused) < TIMES
    assert {row[0] for row in harness.rows("SELECT state FROM provider_writes")} == {"done"}
    assert [each.status for each in harness.subscriptions()] == [SubscriptionStatus.CANCELED]


async def test_concurrent_changes_are_done_once(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    found = await asyncio.gather(*(harness.change("growth") for _ in range(TIMES)))
    assert {each.offer.code for each in found} == {"growth"}
    assert harness.charged_minor() == 7_900


@pytest.mark.parametrize("repeat", range(3))
async def test_concurrent_first_sales_of_an_offer_create_one_price(
    harness: BillingHarness, repeat: int
) -> None:
    """Its price is created at Stripe when first needed, here by several requests at once."""
    begun = await asyncio.gather(*(harness.begin("growth") for _ in range(TIMES)))
    assert len({each.checkout_url for each in begun}) == 1
    assert harness.rows("SELECT count(*) FROM offer_prices") == [(1,)]
