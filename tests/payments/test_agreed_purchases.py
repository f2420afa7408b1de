"""Subscribing or buying with the card on file: what was confirmed is charged, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, find_offer, new_version
from billing_app.billing.subscriptions.errors import QuoteOutdatedError
from billing_app.billing.subscriptions.packs import PackOrder
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.billing.subscriptions.purchase_previews import AgreedSubscription, charge_minor
from billing_app.billing.subscriptions.refused_trials import CardTrialUsedError
from billing_app.billing.subscriptions.views import Begun
from billing_app.db.enums import Interval, When
from tests.factories import OPERATOR
from tests.payments.billing_harness import PUBLIC_URL, BillingHarness
from tests.payments.test_one_trial import TERMS, another, site, try_out
from tests.stripe_sandbox.running import Sandbox

__all__ = ["another", "site"]


async def confirmed(harness: BillingHarness, card: str, code: str) -> AgreedSubscription:
    """What the dialog shows."""
    services, account_id = harness.services, harness.holder.account_id
    async with services.database.reading() as session:
        offer = await find_offer(session, code)
    due_minor = await charge_minor(
        services.database, services.provider, OPERATOR, account_id, offer, harness.now
    )
    trial_days = await services.subscriptions.trial_days(OPERATOR, account_id, offer)
    return AgreedSubscription(offer, card, due_minor, trial_days)


async def subscribe(harness: BillingHarness, agreed: AgreedSubscription) -> Begun:
    return await harness.services.subscriptions.begin(
        OPERATOR,
        harness.holder.account_id,
        offer_code=agreed.offer.code,
        success_url=PUBLIC_URL,
        cancel_url=PUBLIC_URL,
        now=harness.now,
        agreed=agreed,
    )


async def raise_price(harness: BillingHarness, code: str) -> None:
    terms = OfferTerms("Starter", "", 5_000, 2_900, "USD", Interval.MONTH)
    ((offer_id,),) = harness.rows(f"SELECT id FROM offers WHERE code = '{code}'")  # noqa: S608
    async with harness.services.database.transaction() as session:
        session.add(new_version(offer_id, 2, terms, harness.now))


@pytest.fixture
async def card(harness: BillingHarness) -> str:
    """On file, after a subscription that has ended."""
    await harness.subscribed("starter")
    method = harness.use_card("pm_card_visa")
    await harness.cancel(When.NOW)
    return method


async def test_version_that_was_published_meanwhile_is_not_charged(
    harness: BillingHarness, card: str
) -> None:
    agreed = await confirmed(harness, card, "starter")
    await raise_price(harness, "starter")
    with pytest.raises(QuoteOutdatedError):
        await subscribe(harness, agreed)
    assert (harness.charged_minor(), await harness.subscription()) == (1_900, None)
    await subscribe(harness, await confirmed(harness, card, "starter"))
    assert harness.charged_minor() == 1_900 + 2_900


@pytest.mark.parametrize("code", ["starter", "pack"])
@pytest.mark.parametrize("balance_minor", [0, -500, -9_000, 700])
async def test_charge_is_told_with_balance_and_pending_items(
    harness: BillingHarness, card: str, code: str, balance_minor: int
) -> None:
    """Stripe puts pending items on a subscription's first invoice; a pack is charged alone."""
    customers, before = harness.client.v1.customers, harness.charged_minor()
    if balance_minor:
        change: Any = {"amount": balance_minor, "currency": "usd"}
        customers.balance_transactions.create(harness.customer_id(), change)
    item: Any = {"customer": harness.customer_id(), "amount": 5_000, "currency": "usd"}
    harness.client.v1.invoice_items.create(item)
    agreed = await confirmed(harness, card, code)
    if code == "pack":
        order = PackOrder(agreed.offer, card, "order-1", agreed.due_minor)
        packs = harness.services.subscriptions.packs
        await packs.buy(OPERATOR, harness.holder.account_id, order, harness.now)
    else:
        await subscribe(harness, agreed)
    assert harness.charged_minor() - before == agreed.due_minor
    price_minor = agreed.offer.price_minor + (5_000 if code == "starter" else 0)
    assert agreed.due_minor == max(0, price_minor + balance_minor)


async def test_charge_that_changed_meanwhile_is_shown_again(
    harness: BillingHarness, card: str
) -> None:
    agreed = await confirmed(harness, card, "starter")
    item: Any = {"customer": harness.customer_id(), "amount": 5_000, "currency": "usd"}
    harness.client.v1.invoice_items.create(item)
    with pytest.raises(QuoteOutdatedError):
        await subscribe(harness, agreed)
    order = PackOrder(replace(agreed.offer, code="pack"), card, "order-1", 1)
    async with harness.services.database.reading() as session:
        order = replace(order, offer=await find_offer(session, "pack"))
    with pytest.raises(QuoteOutdatedError):
        await harness.services.subscriptions.packs.buy(
            OPERATOR, harness.holder.account_id, order, harness.now
        )
    assert harness.charged_minor() == 1_900


async def test_trial_that_is_refused_and_unclear_is_not_charged_instead(
    site: BillingHarness, another: BillingHarness, sandbox: Sandbox
) -> None:
    """The dialog says "Start trial"; the answer gets lost, and the person presses it again."""
    await try_out(site)
    await another.services.subscriptions.portal_url(
        OPERATOR, another.holder.account_id, return_url=PUBLIC_URL, now=another.now
    )
    agreed = await confirmed(another, another.use_card("pm_card_visa"), "tried")
    assert (agreed.trial_days, agreed.due_minor) == (TERMS.trial_days, 1_900)
    fault = {"kind": "status", "status": 500, "method": "DELETE", "path": "/v1/subscriptions/*"}
    sandbox.control("faults", **fault, times=3)
    with pytest.raises(PaymentProviderUnavailableError):
        await subscribe(another, agreed)
    sandbox.http.delete("/_sandbox/faults")
    with pytest.raises((QuoteOutdatedError, CardTrialUsedError)):
        await subscribe(another, agreed)
    assert another.charged_minor() == 0
    agreed = await confirmed(another, agreed.payment_method_id, "tried")
    assert (agreed.trial_days, agreed.due_minor) == (0, 1_900)
    assert (await subscribe(another, agreed)).subscription is not None
    assert another.charged_minor() == 1_900
