"""Prices and products that somebody archived at Stripe, of offers that are sold here."""

from typing import Final

import pytest

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.subscriptions.provider_errors import OfferUnavailableError
from billing_app.db.enums import When
from billing_app.payments.reconciliation import Difference
from billing_app.states.error_messages import problem
from tests.factories import OPERATOR
from tests.payments import test_pack_purchases as packs
from tests.payments.billing_harness import BillingHarness, accepted, type_card
from tests.payments.test_overage import SOFT
from tests.payments.test_quantities import price_of
from tests.payments.test_top_ups import order, run, seen

pytestmark = pytest.mark.stripe_test_mode

ARCHIVED: Final = pytest.mark.parametrize("what", ["price", "product"])
CANNOT: Final = {"kind": "status", "method": "POST", "path": "/v1/prices/*", "status": 403}


def archive(harness: BillingHarness, offer: str, what: str = "price") -> None:
    price_id, client = price_of(harness, offer), harness.client.v1
    if what == "price":
        client.prices.update(price_id, {"active": False})
    else:
        client.products.update(str(client.prices.retrieve(price_id).product), {"active": False})


def is_sold(harness: BillingHarness, offer: str) -> bool:
    price = harness.client.v1.prices.retrieve(price_of(harness, offer), {"expand": ["product"]})
    return price.active and bool(getattr(price.product, "active", False))


async def sold_before(harness: BillingHarness, offer: str) -> None:
    """Its price exists at Stripe."""
    await harness.begin(offer)
    await harness.begin("scale")


async def differences(harness: BillingHarness, *, dry_run: bool = False) -> list[Difference]:
    found = await harness.reconcile(dry_run=dry_run)
    return [each for each in found if each.what == "offer"]


@ARCHIVED
async def test_checkout_sells_it(harness: BillingHarness, what: str) -> None:
    await sold_before(harness, "growth")
    archive(harness, "growth", what)
    begun = await harness.begin("growth")
    type_card(begun.checkout_url)
    await harness.deliver()
    assert (await harness.live()).offer.code == "growth"
    assert is_sold(harness, "growth")
    assert harness.charged_minor() == 7_900


@ARCHIVED
async def test_card_on_file_buys_it(harness: BillingHarness, what: str) -> None:
    await sold_before(harness, "growth")
    harness.use_card("pm_card_visa")
    archive(harness, "growth", what)
    begun = await harness.begin("growth")
    assert begun.subscription is not None
    assert harness.charged_minor() == 7_900


@ARCHIVED
@pytest.mark.parametrize("when", [When.NOW, When.PERIOD_END])
@pytest.mark.parametrize("offer", ["starter", "growth"])
async def test_subscription_changes_to_and_from_it(
    harness: BillingHarness, offer: str, when: When, what: str
) -> None:
    await sold_before(harness, "growth")
    await harness.subscribed("starter")
    archive(harness, offer, what)
    if when is When.NOW:
        assert (await harness.preview("growth")).amount_due_minor == 6_000
        archive(harness, offer, what)
    changed = await harness.change("growth", when)
    assert (changed.next_offer or changed.offer).code == "growth"
    assert harness.charged_minor() == (7_900 if when is When.NOW else 1_900)


async def test_next_period_begins_at_an_archived_price(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    archive(harness, "starter")
    assert (await harness.preview("starter")).amount_due_minor == 1_900
    await harness.change("starter")
    assert harness.charged_minor() == 3_800


@ARCHIVED
async def test_pack_and_top_up_buy_it(harness: BillingHarness, what: str) -> None:
    await sold_before(harness, "pack")
    await harness.subscribed("starter")
    card = harness.use_card("pm_card_visa")
    archive(harness, "pack", what)
    await packs.buy(harness, await packs.order(harness, card))
    accepted(await harness.use(14_500))
    await order(harness)
    archive(harness, "pack", what)
    assert await run(harness) == 1
    assert harness.charged_minor() == 1_900 + 2 * 2_500


async def test_metered_price_is_sold_again_too(harness: BillingHarness) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await sold_before(harness, "soft")
    query = "SELECT overage_price_id FROM offer_prices WHERE overage_price_id IS NOT NULL"
    ((metered,),) = harness.rows(query)
    harness.client.v1.prices.update(metered, {"active": False})
    type_card((await harness.begin("soft")).checkout_url)
    await harness.deliver()
    assert (await harness.live()).offer.code == "soft"


async def test_what_cannot_be_sold_again_is_said_in_our_words(harness: BillingHarness) -> None:
    await sold_before(harness, "growth")
    archive(harness, "growth")
    harness.sandbox.fault(**CANNOT, times=2)
    with pytest.raises(OfferUnavailableError) as refused:
        await harness.begin("growth")
    assert "archived" in refused.value.detail
    assert problem(refused.value, charges=True).title == "This offer can't be bought at the moment"
    begun = await harness.begin("starter")
    type_card(begun.checkout_url)
    await harness.deliver()
    assert (await harness.live()).offer.code == "starter"


async def test_top_up_of_what_cannot_be_sold_again_stops_and_says_so(
    harness: BillingHarness,
) -> None:
    await sold_before(harness, "pack")
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    accepted(await harness.use(4_500))
    await order(harness)
    archive(harness, "pack")
    harness.sandbox.fault(**CANNOT)
    assert await run(harness) == 0
    assert (await seen(harness)).stopped_because == "The pack is no longer sold."


async def test_reconciliation_puts_it_on_sale_again(harness: BillingHarness) -> None:
    await sold_before(harness, "growth")
    archive(harness, "growth", "product")
    archive(harness, "growth")
    product, price = await differences(harness, dry_run=True)
    assert (product.theirs, product.ours, product.healed) == ("archived", "growth is sold", False)
    assert price.provider_id == price_of(harness, "growth")
    assert not is_sold(harness, "growth")
    harness.sandbox.fault(**CANNOT)
    assert [each.healed for each in await differences(harness)] == [False]
    assert [each.healed for each in await differences(harness)] == [True]
    assert is_sold(harness, "growth")
    assert await differences(harness) == []


async def test_archived_offer_stays_archived(harness: BillingHarness) -> None:
    """What is no longer sold here is nobody's difference."""
    await sold_before(harness, "growth")
    archive(harness, "growth")
    harness.rows("UPDATE offers SET archived_at = now() WHERE code = 'growth' RETURNING 1")
    assert await differences(harness) == []
    assert not is_sold(harness, "growth")
