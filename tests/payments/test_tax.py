"""Stripe Tax: what is previewed with the tax is charged, and no credit counts a tax twice."""

from typing import Any

import pytest

from billing_app.billing.offers.catalogue import OfferView, list_offers
from billing_app.billing.subscriptions.packs import PackOrder
from billing_app.billing.subscriptions.provider_errors import BillingAddressMissingError
from billing_app.billing.subscriptions.purchase_previews import charge_minor
from billing_app.billing.subscriptions.top_ups import NO_ADDRESS
from billing_app.composition import build_services
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import PUBLIC_URL, BillingHarness, payment_settings, post_form
from tests.payments.test_overage_reports import renew

GERMAN = {"country": "DE", "line1": "Torstr. 1", "postal_code": "10119"}


async def offer_of(harness: BillingHarness, code: str) -> OfferView:
    offers = await list_offers(harness.services.database)
    return next(each for each in offers if each.code == code)


async def charge_today(harness: BillingHarness, code: str) -> int:
    services, offer = harness.services, await offer_of(harness, code)
    account_id = harness.holder.account_id
    return await charge_minor(
        services.database, services.provider, OPERATOR, account_id, offer, harness.now
    )


async def change(harness: BillingHarness, offer: str) -> int:
    """The preview's amount, which must be what is charged."""
    preview = await harness.preview(offer)
    before = harness.charged_minor()
    await harness.change(offer)
    assert harness.charged_minor() - before == preview.amount_due_minor
    assert sum(line.amount_minor for line in preview.lines) == preview.amount_due_minor
    return preview.amount_due_minor


async def buy_pack(harness: BillingHarness) -> None:
    offer, method = await offer_of(harness, "pack"), harness.use_card("pm_card_visa")
    order = PackOrder(offer, method, "order-1")
    packs = harness.services.subscriptions.packs
    await packs.buy(OPERATOR, harness.holder.account_id, order, harness.now)


async def switch_on_top_up(harness: BillingHarness, *, cap_minor: int) -> None:
    await harness.services.top_ups.switch_on(
        OPERATOR,
        harness.holder.account_id,
        offer_code="pack",
        threshold_executions=1_000,
        monthly_cap_minor=cap_minor,
        now=harness.now,
    )


async def test_checkout_and_renewal_are_taxed(taxed: BillingHarness) -> None:
    await taxed.subscribed("starter", **GERMAN)
    assert taxed.charged_minor() == 2_261
    assert [plan["executions"] for plan in taxed.plans()] == [5_000]
    taxed.use_card("pm_card_visa")
    await renew(taxed, report_first=False)
    assert taxed.charged_minor() == 2 * 2_261


async def test_country_without_tax(taxed: BillingHarness) -> None:
    await taxed.subscribed("starter")
    assert taxed.charged_minor() == 1_900


async def test_upgrade_credits_the_price_and_not_its_tax(taxed: BillingHarness) -> None:
    """Each upgrade pays the difference of the prices, and the tax on that."""
    await taxed.subscribed("starter", **GERMAN)
    assert await change(taxed, "growth") == 6_000 + 1_140
    assert (await taxed.preview("scale")).credit_minor == 7_900
    assert await change(taxed, "scale") == 22_000 + 4_180
    assert taxed.charged_minor() == 29_900 + 5_681
    await taxed.deliver()
    assert await taxed.reconcile() == []


async def test_credit_is_previewed_and_charged_with_the_same_rounding(
    taxed: BillingHarness,
) -> None:
    """The tax is rounded for each line: a credit as a line of its own would give another cent."""
    await taxed.subscribed("starter", country="CH", line1="Seestr. 1")
    for used in (7, 640, 1_203):
        await taxed.use(used)
        preview = await taxed.preview("growth")
        taxed_minor = 7_900 - preview.credit_minor
        assert preview.amount_due_minor == taxed_minor + round(taxed_minor * 0.081)
    await change(taxed, "growth")


async def test_previews_leave_no_coupon_behind(taxed: BillingHarness) -> None:
    await taxed.subscribed("starter", **GERMAN)
    await taxed.preview("growth")
    assert taxed.client.v1.coupons.list().data == []


async def test_scheduled_change_keeps_the_tax(taxed: BillingHarness) -> None:
    await taxed.subscribed("growth", **GERMAN)
    taxed.use_card("pm_card_visa")
    await taxed.change("starter", When.PERIOD_END)
    await renew(taxed, report_first=False)
    assert taxed.charged_minor() == 9_401 + 2_261


async def test_subscription_from_before_the_setting_is_taxed_from_its_change_on(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter", **GERMAN)
    harness.use_card("pm_card_visa")
    assert harness.charged_minor() == 1_900
    await harness.services.close()
    harness.services = build_services(
        payment_settings(harness.sandbox, stripe_tax=True), harness.url
    )
    assert await change(harness, "growth") == 6_000 + 1_140


async def test_charge_with_card_on_file_is_told_with_its_tax(taxed: BillingHarness) -> None:
    await taxed.subscribed("starter", **GERMAN)
    before = taxed.charged_minor()
    pending: Any = {"customer": taxed.customer_id(), "amount": 4_000, "currency": "usd"}
    taxed.client.v1.invoice_items.create(pending)
    assert await charge_today(taxed, "pack") == 2_975
    await buy_pack(taxed)
    assert taxed.charged_minor() - before == 2_975


async def test_new_subscription_with_card_on_file_is_told_with_its_tax(
    taxed: BillingHarness,
) -> None:
    await taxed.subscribed("starter", **GERMAN)
    taxed.use_card("pm_card_visa")
    await taxed.cancel(When.NOW)
    before = taxed.charged_minor()
    due = await charge_today(taxed, "growth")
    assert (await taxed.begin("growth")).subscription is not None
    assert (due, taxed.charged_minor() - before) == (9_401, 9_401)


async def test_without_an_address_nothing_is_charged_until_it_is_added(
    taxed: BillingHarness,
) -> None:
    services, account_id = taxed.services, taxed.holder.account_id
    url = await services.subscriptions.portal_url(
        OPERATOR, account_id, return_url=f"{PUBLIC_URL}/billing", now=taxed.now
    )
    taxed.use_card("pm_card_visa")
    with pytest.raises(BillingAddressMissingError):
        await charge_today(taxed, "starter")
    with pytest.raises(BillingAddressMissingError):
        await charge_today(taxed, "pack")
    with pytest.raises(BillingAddressMissingError):
        await taxed.begin("starter")
    with pytest.raises(BillingAddressMissingError):
        await buy_pack(taxed)
    assert (taxed.charged_minor(), taxed.plans()) == (0, [])
    assert taxed.rows("SELECT state FROM provider_writes WHERE state = 'pending'") == []
    post_form(url, **GERMAN, action="update_customer")
    assert (await taxed.begin("starter")).subscription is not None
    assert taxed.charged_minor() == 2_261


async def test_change_without_an_address_keeps_everything(taxed: BillingHarness) -> None:
    await taxed.subscribed("growth", **GERMAN)
    taxed.use_card("pm_card_visa")
    await taxed.change("starter", When.PERIOD_END)
    gone: Any = {"address": ""}
    taxed.client.v1.customers.update(taxed.customer_id(), gone)
    for attempt in (taxed.preview, taxed.change):
        with pytest.raises(BillingAddressMissingError):
            await attempt("scale")
    found = await taxed.live()
    assert found.next_offer is not None
    assert (found.offer.code, found.next_offer.code) == ("growth", "starter")
    assert taxed.charged_minor() == 9_401


async def test_renewal_without_an_address_goes_on_without_tax(taxed: BillingHarness) -> None:
    await taxed.subscribed("starter", **GERMAN)
    taxed.use_card("pm_card_visa")
    gone: Any = {"address": ""}
    taxed.client.v1.customers.update(taxed.customer_id(), gone)
    await renew(taxed, report_first=False)
    assert taxed.charged_minor() == 2_261 + 1_900
    assert (await taxed.live()).status == "active"


async def test_top_up_counts_its_tax_against_the_cap(taxed: BillingHarness) -> None:
    """$25 and 19 % are $29.75: a cap of $55 allows one."""
    await taxed.subscribed("starter", **GERMAN)
    taxed.use_card("pm_card_visa")
    await switch_on_top_up(taxed, cap_minor=5_500)
    before = taxed.charged_minor()
    for _ in range(2):
        await taxed.use((await taxed.current()).executions_remaining - 500)
        await taxed.services.top_ups.run(taxed.now)
    found = await taxed.services.top_ups.read(OPERATOR, taxed.holder.account_id, taxed.now)
    assert found is not None
    assert (taxed.charged_minor() - before, found.spent_minor) == (2_975, 2_975)


async def test_top_up_without_an_address_stops_and_says_why(taxed: BillingHarness) -> None:
    await taxed.subscribed("starter", **GERMAN)
    taxed.use_card("pm_card_visa")
    await switch_on_top_up(taxed, cap_minor=5_500)
    gone: Any = {"address": ""}
    taxed.client.v1.customers.update(taxed.customer_id(), gone)
    before = taxed.charged_minor()
    await taxed.use(4_500)
    await taxed.services.top_ups.run(taxed.now)
    found = await taxed.services.top_ups.read(OPERATOR, taxed.holder.account_id, taxed.now)
    assert found is not None
    assert (taxed.charged_minor() - before, found.stopped_because) == (0, NO_ADDRESS)
