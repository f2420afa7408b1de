"""A pack charged to the card on file: what was confirmed, once, whatever fails in between."""

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import InvalidInputError, NotFoundError
from billing_app.billing.offers.catalogue import OfferUnknownError, find_offer
from billing_app.billing.subscriptions.errors import QuoteOutdatedError
from billing_app.billing.subscriptions.packs import PackOrder
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_requests import IN_FLIGHT
from billing_app.db.enums import Scope
from tests import factories
from tests.payments.billing_harness import BillingHarness

pytestmark = pytest.mark.stripe_test_mode

AFTER_FLIGHT_SECONDS = (IN_FLIGHT + timedelta(seconds=1)).total_seconds()


async def order(harness: BillingHarness, card: str, code: str = "pack") -> PackOrder:
    async with harness.services.database.reading() as session:
        offer = await find_offer(session, code)
    return PackOrder(offer, card, secrets.token_hex(8))


async def buy(harness: BillingHarness, confirmed: PackOrder) -> None:
    account_id = harness.holder.account_id
    packs = harness.services.subscriptions.packs
    await packs.buy(factories.OPERATOR, account_id, confirmed, harness.now)


@pytest.fixture
async def card(harness: BillingHarness) -> str:
    await harness.subscribed("starter")
    return harness.use_card("pm_card_visa")


async def test_order_is_charged_to_the_card_once(harness: BillingHarness, card: str) -> None:
    confirmed = await order(harness, card)
    await buy(harness, confirmed)
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 10_000]
    await buy(harness, confirmed)
    await harness.deliver()
    assert harness.charged_minor() == 1_900 + 2_500
    await buy(harness, await order(harness, card))
    assert harness.charged_minor() == 1_900 + 2 * 2_500
    assert len(harness.plans()) == 3


async def test_order_sent_twice_at_once_is_charged_once(harness: BillingHarness, card: str) -> None:
    confirmed = await order(harness, card)
    await asyncio.gather(*(buy(harness, confirmed) for _ in range(3)), return_exceptions=True)
    assert harness.charged_minor() == 1_900 + 2_500
    assert len(harness.plans()) == 2


@pytest.mark.parametrize("step", ["invoices", "invoiceitems", "invoices/*/finalize"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_unclear_purchase_is_voided_or_repeated(
    harness: BillingHarness, card: str, step: str, when: str
) -> None:
    """Whether the customer confirms again at once, or nobody does."""
    confirmed = await order(harness, card)
    fault = {"kind": "reset", "when": when, "method": "POST", "times": 3}
    harness.sandbox.control("faults", **fault, path=f"/v1/{step}")
    with pytest.raises(PaymentProviderUnavailableError):
        await buy(harness, confirmed)
    await buy(harness, confirmed)
    assert harness.charged_minor() == 1_900 + 2_500

    harness.sandbox.control("faults", **fault, path=f"/v1/{step}")
    with pytest.raises(PaymentProviderUnavailableError):
        await buy(harness, await order(harness, card))
    harness.skip(AFTER_FLIGHT_SECONDS)
    await harness.reconcile()
    assert harness.charged_minor() == 1_900 + 2_500
    assert {invoice.status for invoice in harness.invoices()} <= {"paid", "void"}
    states = harness.rows("SELECT state FROM provider_writes ORDER BY created_at")
    assert states == [("done",), ("failed",)]


@pytest.mark.parametrize("later", [False, True])
async def test_lost_answer_to_the_payment_is_looked_up(
    harness: BillingHarness, card: str, *, later: bool
) -> None:
    confirmed = await order(harness, card)
    fault = {"kind": "reset", "when": "after", "method": "POST", "times": 3}
    harness.sandbox.control("faults", **fault, path="/v1/invoices/*/pay")
    with pytest.raises(PaymentProviderUnavailableError):
        await buy(harness, confirmed)
    if later:
        harness.skip(AFTER_FLIGHT_SECONDS)
        await harness.reconcile()
    await buy(harness, confirmed)
    assert harness.charged_minor() == 1_900 + 2_500
    assert harness.rows("SELECT state FROM provider_writes") == [("done",)]


async def test_decline_leaves_nothing_to_pay(harness: BillingHarness, card: str) -> None:
    failing = harness.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await buy(harness, await order(harness, failing))
    assert harness.invoices()[-1].status == "void"
    assert harness.charged_minor() == 1_900
    assert len(harness.plans()) == 1
    assert card != failing


async def test_another_card_or_version_is_not_charged(harness: BillingHarness, card: str) -> None:
    confirmed = await order(harness, card)
    harness.use_card("pm_card_mastercard")
    with pytest.raises(QuoteOutdatedError):
        await buy(harness, confirmed)
    newer = replace(confirmed, offer=replace(confirmed.offer, version_id=1_000_000))
    with pytest.raises(QuoteOutdatedError):
        await buy(harness, newer)
    harness.rows("UPDATE offers SET archived_at = now() WHERE code = 'pack' RETURNING 1")
    with pytest.raises(OfferUnknownError):
        await buy(harness, confirmed)
    assert harness.charged_minor() == 1_900


async def test_only_packs_and_only_of_ones_own_account(harness: BillingHarness, card: str) -> None:
    with pytest.raises(InvalidInputError):
        await buy(harness, await order(harness, card, "growth"))
    stranger = factories.organization(harness.url)
    actor = ServiceActor(1, frozenset(Scope), stranger.organization_id)
    with pytest.raises(NotFoundError):
        await harness.services.subscriptions.packs.buy(
            actor, harness.holder.account_id, await order(harness, card), harness.now
        )
    assert harness.charged_minor() == 1_900
