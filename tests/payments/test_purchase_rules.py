"""What is refused before it is charged, the card that is charged, and disputes of a part."""

from typing import Any

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.subscriptions.errors import CurrencyDiffersError
from billing_app.billing.subscriptions.invoices import read_payment_method
from billing_app.billing.subscriptions.purchase_rules import FreePeriodUsedError
from billing_app.db.enums import Interval, When
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, BillingHarness
from tests.payments.test_quantities import price_of
from tests.payments.test_top_ups import order, run

pytestmark = pytest.mark.stripe_test_mode

EURO_PACK = OfferTerms("Euro pack", "", 1_000, 500, "EUR", Interval.ONCE)
FREE = OfferTerms("Free", "", 100, 0, "USD", Interval.MONTH)


async def publish(harness: BillingHarness, code: str, terms: OfferTerms) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
    )


async def test_pack_in_another_currency_is_refused_before_it_is_ordered(
    harness: BillingHarness,
) -> None:
    await publish(harness, "euro-pack", EURO_PACK)
    await harness.subscribed("starter")
    with pytest.raises(CurrencyDiffersError):
        await harness.begin("euro-pack")
    with pytest.raises(CurrencyDiffersError):
        await harness.services.top_ups.switch_on(
            OPERATOR,
            harness.holder.account_id,
            offer_code="euro-pack",
            threshold_executions=10,
            monthly_cap_minor=5_000,
            now=harness.now,
        )


async def test_free_plan_is_given_once_a_period(harness: BillingHarness) -> None:
    await publish(harness, "free", FREE)
    await harness.subscribed("free")
    await harness.use(100)
    await harness.cancel(When.NOW)
    with pytest.raises(FreePeriodUsedError):
        await harness.begin("free")
    assert sum(plan["executions"] for plan in harness.plans()) == 100
    harness.skip(32 * DAY)
    await harness.subscribed("free")
    assert (await harness.current()).executions_remaining == 100


async def test_named_card_is_the_one_that_is_charged(harness: BillingHarness) -> None:
    """The subscription's own card, whatever the customer's default is."""
    await harness.subscribed("starter")
    own = harness.use_card("pm_card_mastercard")
    other = harness.client.v1.payment_methods.attach(
        "pm_card_visa", {"customer": harness.customer_id()}
    ).id
    default: Any = {"invoice_settings": {"default_payment_method": other}}
    harness.client.v1.customers.update(harness.customer_id(), default)
    services = harness.services
    named = await read_payment_method(
        services.database, services.provider, OPERATOR, harness.holder.account_id
    )
    assert named is not None
    assert named.provider_id == own
    await harness.change("growth")
    assert harness.charges()[-1].payment_method == own


async def test_top_up_paid_by_the_credit_balance_is_bought(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    grant: Any = {"amount": -2_500, "currency": "usd"}
    harness.client.v1.customers.balance_transactions.create(harness.customer_id(), grant)
    await order(harness, threshold=100_000, cap_minor=2_500)
    assert await run(harness) == 1
    found = await harness.services.top_ups.read(OPERATOR, harness.holder.account_id, harness.now)
    assert found is not None
    assert (found.stopped_because, found.spent_minor) == (None, 2_500)
    assert harness.charged_minor() == 1_900
    assert await run(harness) == 0


@pytest.mark.parametrize(("amount", "denial"), [(100, ""), (1_900, "payment_past_due")])
async def test_small_dispute_does_not_stop_the_plan(
    harness: BillingHarness, amount: int, denial: str
) -> None:
    await harness.subscribed("starter")
    harness.sandbox.control("disputes", charge=harness.charges()[0].id, amount=amount)
    await harness.deliver()
    assert await harness.denied() == denial
    assert await harness.reconcile(dry_run=True) == []


async def test_second_subscription_is_shown_and_changes_leave_its_plan_alone(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("growth")
    harness.use_card("pm_card_visa")
    first = await harness.live()
    await harness.preview("scale")
    body: Any = {
        "customer": harness.customer_id(),
        "items": [{"price": price_of(harness, "scale")}],
    }
    second = harness.client.v1.subscriptions.create(body)
    await harness.deliver()
    assert (await harness.live()).id == first.id
    rows = harness.rows("SELECT provider_id, is_duplicate FROM subscriptions ORDER BY 2")
    assert rows[1] == (second.id, True)
    (told,) = await harness.reconcile()
    assert (told.what, told.healed) == ("subscription", False)
    assert "end one of the two" in told.ours
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[-1].id)
    await harness.deliver()
    live = await harness.live()
    assert live.offer.code == "scale"
    assert await harness.reconcile() == []
