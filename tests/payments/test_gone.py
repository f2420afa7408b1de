"""Objects that went away at Stripe: a deleted customer, what ended there while events were lost."""

import pytest

from billing_app.billing.subscriptions.errors import SubscriptionEndedError
from billing_app.billing.subscriptions.invoices import read_payment_method
from billing_app.billing.subscriptions.top_ups import PaymentMethodMissingError
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, PUBLIC_URL, BillingHarness, type_card
from tests.payments.test_top_ups import order

pytestmark = pytest.mark.stripe_test_mode


async def portal(harness: BillingHarness) -> str:
    return await harness.services.subscriptions.portal_url(
        OPERATOR, harness.holder.account_id, return_url=PUBLIC_URL, now=harness.now
    )


@pytest.mark.parametrize("had", ["nothing", "open checkout", "subscription"])
async def test_deleted_customer_buys_again_as_a_new_one(harness: BillingHarness, had: str) -> None:
    await portal(harness)
    if had == "open checkout":
        await harness.begin("starter")
    if had == "subscription":
        await harness.subscribed("starter")
    gone = harness.customer_id()
    harness.client.v1.customers.delete(gone)
    services, account_id = harness.services, harness.holder.account_id
    card = await read_payment_method(services.database, services.provider, OPERATOR, account_id)
    assert card is None
    with pytest.raises(PaymentMethodMissingError):
        await order(harness)
    type_card((await harness.begin("growth")).checkout_url)
    await harness.deliver()
    assert harness.customer_id() != gone
    assert (await harness.live()).offer.code == "growth"
    assert harness.charged_minor() == 7_900


async def test_deleted_customer_opens_the_portal_as_a_new_one(harness: BillingHarness) -> None:
    await portal(harness)
    gone = harness.customer_id()
    harness.client.v1.customers.delete(gone)
    assert await portal(harness)
    assert harness.customer_id() != gone


async def test_subscription_that_ended_at_stripe_does_not_stop_a_new_one(
    harness: BillingHarness,
) -> None:
    """Its events were lost."""
    await harness.subscribed("starter")
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)
    begun = await harness.begin("growth")
    assert begun.subscription is not None
    assert begun.subscription.offer.code == "growth"


@pytest.mark.parametrize("act", ["preview", "change"])
async def test_change_of_what_ended_at_stripe_says_so(harness: BillingHarness, act: str) -> None:
    await harness.subscribed("starter")
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)
    with pytest.raises(SubscriptionEndedError):
        await (harness.preview("growth") if act == "preview" else harness.change("growth"))
    assert (await harness.subscription(), harness.charged_minor()) == (None, 1_900)


async def test_overdue_invoice_that_was_paid_at_stripe_refuses_nothing(
    harness: BillingHarness,
) -> None:
    """Its events were lost."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    harness.skip(32 * DAY)
    await harness.deliver()
    harness.use_card("pm_card_visa")
    harness.client.v1.invoices.pay(str(harness.invoices()[-1].id))
    assert (await harness.live()).past_due_since is not None
    assert (await harness.preview("growth")).amount_due_minor == 7_900 - 1_900
