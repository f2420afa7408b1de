"""The first payment: through the checkout, or with the card on file."""

import asyncio

import pytest

from billing_app.billing.offers.catalogue import OfferUnknownError
from billing_app.billing.subscriptions.errors import SubscriptionExistsError
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.db.enums import When
from tests.payments.billing_harness import (
    CHALLENGED,
    DECLINED,
    POOR,
    BillingHarness,
    accepted,
    answer_challenge,
    look,
    submit_card,
    type_card,
)


async def test_paid_checkout_creates_plan(harness: BillingHarness) -> None:
    begun = await harness.begin("starter")
    assert begun.subscription is None
    assert type_card(begun.checkout_url).headers["location"] == "http://localhost:3000/done"
    await harness.deliver()
    found = await harness.live()
    assert (found.status, found.offer.code) == ("active", "starter")
    assert harness.charged_minor() == 1_900
    (plan,) = harness.plans()
    assert (plan["source"], plan["executions"], plan["ends_at"]) == (
        "subscription",
        5_000,
        found.period_end,
    )
    assert accepted(await harness.use(3))["executions_remaining"] == 4_997


async def test_racing_requests_create_one_customer_and_one_checkout(
    harness: BillingHarness,
) -> None:
    first, second = await asyncio.gather(harness.begin("starter"), harness.begin("starter"))
    assert first.checkout_url == second.checkout_url
    assert len(harness.client.v1.customers.list().data) == 1
    assert len(harness.client.v1.checkout.sessions.list().data) == 1
    assert harness.rows("SELECT count(*) FROM provider_customers") == [(1,)]


async def test_checkout_for_another_offer_closes_the_open_one(harness: BillingHarness) -> None:
    first = (await harness.begin("starter")).checkout_url
    second = (await harness.begin("growth")).checkout_url
    assert first != second
    assert (await harness.begin("growth")).checkout_url == second
    statuses = [session.status for session in harness.client.v1.checkout.sessions.list().data]
    assert sorted(map(str, statuses)) == ["expired", "open"]
    assert "expired" in look(first)


async def test_repeated_purchase_before_the_event_is_not_charged_again(
    harness: BillingHarness,
) -> None:
    type_card((await harness.begin("starter")).checkout_url)
    with pytest.raises(SubscriptionExistsError):
        await harness.begin("starter")
    assert harness.charged_minor() == 1_900
    assert (await harness.live()).status == "active"
    assert len(harness.plans()) == 1


@pytest.mark.parametrize("card", [DECLINED, POOR])
async def test_decline_leaves_checkout_open_for_another_card(
    harness: BillingHarness, card: str
) -> None:
    url = (await harness.begin("starter")).checkout_url
    assert type_card(url, card).status_code == 402
    await harness.deliver()
    assert (await harness.subscription(), harness.plans()) == (None, [])
    assert (await harness.begin("starter")).checkout_url == url
    type_card(url)
    await harness.deliver()
    assert (harness.charged_minor(), len(harness.plans())) == (1_900, 1)


async def test_three_d_secure_at_checkout(harness: BillingHarness) -> None:
    url = (await harness.begin("starter")).checkout_url
    challenge = submit_card(str(url), CHALLENGED).headers["location"]
    await harness.deliver()
    assert (harness.charged_minor(), harness.plans()) == (0, [])
    answer_challenge(str(url), challenge, passed=False)
    await harness.deliver()
    assert (await harness.subscription(), harness.plans()) == (None, [])
    type_card(url, CHALLENGED)
    await harness.deliver()
    assert (harness.charged_minor(), len(harness.plans())) == (1_900, 1)
    assert (await harness.live()).status == "active"


async def test_card_on_file_is_charged_at_once(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    begun = await harness.begin("starter")
    assert begun.checkout_url is None
    assert begun.subscription is not None
    assert begun.subscription.status == "active"
    assert (harness.charged_minor(), len(harness.plans())) == (1_900, 1)
    statuses = [session.status for session in harness.client.v1.checkout.sessions.list().data]
    assert statuses == ["expired"], "nobody can pay a second time on the open page"
    await harness.deliver()
    assert len(harness.plans()) == 1


async def test_declined_card_on_file_says_why_and_leaves_nothing(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError) as refused:
        await harness.begin("starter")
    assert "declined" in refused.value.detail
    await harness.deliver()
    assert (await harness.subscription(), harness.plans(), harness.charged_minor()) == (None, [], 0)
    assert harness.rows("SELECT state, problem FROM provider_writes") == [
        ("failed", "payment_declined")
    ]
    harness.use_card("pm_card_visa")
    assert (await harness.begin("starter")).subscription is not None
    assert harness.charged_minor() == 1_900


async def test_required_confirmation_leads_to_checkout(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_authenticationRequired")
    begun = await harness.begin("starter")
    assert begun.subscription is None
    type_card(begun.checkout_url, CHALLENGED)
    await harness.deliver()
    assert (harness.charged_minor(), (await harness.live()).status) == (1_900, "active")


async def test_second_subscription_is_refused(harness: BillingHarness) -> None:
    await harness.subscribed()
    with pytest.raises(SubscriptionExistsError):
        await harness.begin("growth")
    await harness.cancel(When.NOW)
    await harness.deliver()
    assert (await harness.begin("growth")).subscription is not None


async def test_racing_requests_with_card_on_file_charge_once(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    await asyncio.gather(*[harness.begin("starter") for _ in range(4)], return_exceptions=True)
    assert harness.charged_minor() == 1_900
    assert len(harness.subscriptions()) == 1
    assert len(harness.plans()) == 1


async def test_unknown_offer_is_refused(harness: BillingHarness) -> None:
    with pytest.raises(OfferUnknownError):
        await harness.begin("nothing")
    assert harness.rows("SELECT count(*) FROM provider_customers") == [(0,)]


async def test_pack_creates_one_plan_without_expiry_after_the_subscription(
    harness: BillingHarness,
) -> None:
    url = (await harness.begin("pack")).checkout_url
    type_card(url)
    await harness.deliver()
    await harness.subscribed("starter")
    events = list(harness.client.v1.events.list({"limit": 100}).auto_paging_iter())
    assert events
    harness._seen.clear()
    await harness.deliver()
    pack, period = sorted(harness.plans(), key=lambda plan: plan["source"])
    assert (pack["source"], pack["executions"], pack["ends_at"]) == ("pack", 10_000, None)
    assert pack["priority"] > period["priority"]
    assert harness.charged_minor() == 2_500 + 1_900
    accepted(await harness.use(5_001))
    assert [plan["used"] for plan in (pack, period)] == [0, 0]
    used = {plan["source"]: plan["used"] for plan in harness.plans()}
    assert used == {"subscription": 5_000, "pack": 1}


async def test_paid_checkout_is_complete_once_its_subscription_is_here(
    harness: BillingHarness,
) -> None:
    """Even while the checkout itself cannot be read."""
    type_card((await harness.begin("starter")).checkout_url)
    harness.sandbox.fault(kind="status", status=503, path="/v1/checkout/sessions/*", times=99)
    syncing = harness.services.subscriptions.syncing
    harness.rows("UPDATE checkouts SET status = 'confirming' RETURNING 1")
    await syncing.customer(harness.customer_id(), harness.now)
    assert harness.rows("SELECT status FROM checkouts") == [("complete",)]
    assert (await harness.live()).offer.code == "starter"


@pytest.mark.parametrize("offer", ["starter", "pack"])
async def test_checkout_learned_of_after_what_it_bought_blocks_nothing(
    harness: BillingHarness, offer: str
) -> None:
    """Its own event comes last, when the customer cannot be read any more."""
    type_card((await harness.begin(offer)).checkout_url)
    syncing = harness.services.subscriptions.syncing
    await syncing.customer(harness.customer_id(), harness.now)
    harness.sandbox.fault(kind="status", status=503, path="/v1/invoices*", times=99)
    [(checkout, _)] = harness.rows("SELECT provider_id, status FROM checkouts")
    with pytest.raises(PaymentProviderUnavailableError):
        await syncing.checkout(checkout, harness.now)
    assert harness.rows("SELECT status FROM checkouts") == [("complete",)]
