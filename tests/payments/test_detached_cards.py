"""A card that was taken off the file between what somebody agreed to and the charge."""

from typing import Final

import pytest

from billing_app.billing.offers.catalogue import find_offer
from billing_app.billing.staff.repairs.moves import MOVE_OFFER, Move
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.subscriptions.errors import PaymentMethodMissingError, QuoteOutdatedError
from billing_app.billing.subscriptions.provider import OfferPrices
from billing_app.billing.subscriptions.purchase_previews import AgreedSubscription
from billing_app.billing.subscriptions.views import Begun
from billing_app.db.enums import When
from billing_app.states.error_messages import problem
from tests.factories import OPERATOR
from tests.payments import test_pack_purchases as packs
from tests.payments.billing_harness import PUBLIC_URL, BillingHarness, accepted
from tests.payments.storefront import Storefront
from tests.payments.storefront import problem as problem_document
from tests.payments.test_quantities import price_of
from tests.payments.test_top_ups import order, run, seen

pytestmark = pytest.mark.stripe_test_mode

GONE: Final = "The card ending in 4242 is no longer on file. Add a card, then try again."


@pytest.fixture
async def card(harness: BillingHarness) -> str:
    await harness.subscribed("starter")
    return harness.use_card("pm_card_visa")


def detach(harness: BillingHarness) -> None:
    """Every card of the customer."""
    query = {"limit": 100}
    for method in harness.client.v1.customers.payment_methods.list(harness.customer_id(), query):  # pyright: ignore[reportArgumentType]
        harness.client.v1.payment_methods.detach(method.id)


async def begin_with(harness: BillingHarness, card: str, code: str = "growth") -> Begun:
    async with harness.services.database.reading() as session:
        offer = await find_offer(session, code)
    return await harness.services.subscriptions.begin(
        OPERATOR,
        harness.holder.account_id,
        offer_code=code,
        success_url=PUBLIC_URL,
        cancel_url=PUBLIC_URL,
        now=harness.now,
        agreed=AgreedSubscription(offer, card, offer.price_minor, 0),
    )


async def test_change_says_which_card_is_gone_and_changes_nothing(
    harness: BillingHarness, card: str
) -> None:
    await harness.change("scale", When.PERIOD_END)
    preview = await harness.preview("growth")
    detach(harness)
    with pytest.raises(PaymentMethodMissingError) as refused:
        await harness.services.subscriptions.change(
            OPERATOR,
            (await harness.live()).id,
            offer_code="growth",
            when=When.NOW,
            now=harness.now,
            agreed=preview,
        )
    assert refused.value.detail == GONE
    kept = await harness.live()
    assert (kept.offer.code, kept.next_offer and kept.next_offer.code) == ("starter", "scale")
    assert harness.charged_minor() == 1_900
    shown = problem(refused.value, charges=True)
    assert (shown.text, shown.url_label) == (f"{GONE} Nothing was charged.", "Add a card")
    harness.use_card("pm_card_mastercard")
    assert (await harness.change("growth")).offer.code == "growth"


async def test_preview_of_what_cannot_be_charged_says_so(
    harness: BillingHarness, card: str
) -> None:
    detach(harness)
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await harness.preview("growth")


async def test_next_period_is_not_begun(harness: BillingHarness, card: str) -> None:
    accepted(await harness.use(5_000))
    detach(harness)
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await harness.change("starter")
    assert harness.charged_minor() == 1_900


async def test_what_charges_nothing_needs_no_card(harness: BillingHarness, card: str) -> None:
    detach(harness)
    assert (await harness.change("growth", When.PERIOD_END)).next_offer is not None
    assert (await harness.resume()).next_offer is None
    assert (await harness.cancel(When.PERIOD_END)).cancel_at_period_end
    assert not (await harness.resume()).cancel_at_period_end


async def test_customer_balance_pays_without_a_card(harness: BillingHarness, card: str) -> None:
    detach(harness)
    credit = {"amount": -20_000, "currency": "usd"}
    harness.client.v1.customers.balance_transactions.create(harness.customer_id(), credit)  # pyright: ignore[reportArgumentType]
    assert (await harness.change("growth")).offer.code == "growth"
    assert harness.charged_minor() == 1_900


async def test_subscription_is_begun_with_the_agreed_card_alone(harness: BillingHarness) -> None:
    await harness.begin("starter")
    card = harness.use_card("pm_card_visa")
    other = harness.use_card("pm_card_mastercard")
    with pytest.raises(QuoteOutdatedError):
        await begin_with(harness, card)
    harness.client.v1.payment_methods.detach(card)
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await begin_with(harness, card)
    assert harness.charges() == []
    assert (await begin_with(harness, other)).subscription is not None


async def test_card_that_goes_during_the_request(harness: BillingHarness, card: str) -> None:
    """It was there when the request began."""
    await harness.begin("pack")
    detach(harness)
    provider, who = harness.services.provider, harness.customer_id()
    prices = OfferPrices(price_of(harness, "starter"), None)
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await provider.create_subscription(
            customer_id=who, prices=prices, trial_days=0, payment_method_id=card, key="one"
        )
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await provider.buy_pack(
            customer_id=who,
            price_id=price_of(harness, "pack"),
            payment_method_id=card,
            key="two",
        )
    assert harness.charged_minor() == 1_900


async def test_pack_is_not_bought(harness: BillingHarness, card: str) -> None:
    confirmed = await packs.order(harness, card)
    detach(harness)
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await packs.buy(harness, confirmed)
    assert harness.charged_minor() == 1_900


async def test_top_up_stops_and_says_so(
    harness: BillingHarness, card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card goes between the look at it and the charge."""
    accepted(await harness.use(4_500))
    await order(harness)
    buy_pack = harness.services.provider.buy_pack

    async def too_late(**parameters: str) -> None:
        detach(harness)
        await buy_pack(**parameters)

    monkeypatch.setattr(harness.services.provider, "buy_pack", too_late)
    assert await run(harness) == 0
    assert (await seen(harness)).stopped_because == GONE
    assert harness.charged_minor() == 1_900
    assert [each.status for each in harness.invoices()] == ["paid"]


async def test_move_by_staff_says_so(harness: BillingHarness, card: str) -> None:
    detach(harness)
    with pytest.raises(PaymentMethodMissingError, match="4242"):
        await carry_out(
            harness.services.repairs,
            OPERATOR,
            MOVE_OFFER,
            harness.holder.account_id,
            Move("growth", when=When.NOW),
            reason="Asked",
            now=harness.now,
        )
    async with harness.services.database.reading() as session:
        assert (await find_offer(session, "growth")).code == "growth"
    assert (await harness.live()).offer.code == "starter"


def test_http_says_so(storefront: Storefront) -> None:
    customer = storefront.customer()
    subscription_id = customer.subscribed("starter")
    client, who = storefront.stripe.v1, customer.customer_id()
    for method in client.customers.payment_methods.list(who).data:
        client.payment_methods.detach(method.id)
    document = problem_document(
        customer.put(subscription_id, "growth"), 409, "payment_method_missing"
    )
    assert document["detail"] == GONE
