"""What checkout and portal take beside a card: billing address, tax id, promotion code."""

from billing_app.billing.accounts.billing_details import change_billing_name, read_details
from billing_app.billing.subscriptions.customer_details import send_details
from billing_app.db.enums import Role
from tests.factories import OPERATOR, membership, person
from tests.payments.billing_harness import (
    PUBLIC_URL,
    VISA,
    BillingHarness,
    look,
    post_form,
    submit_card,
)

GERMAN = {
    "country": "DE",
    "line1": "Torstr. 1",
    "city": "Berlin",
    "postal_code": "10119",
    "business_name": "Ada GmbH",
    "tax_id": "DE 123456789",
}


async def portal_url(harness: BillingHarness) -> str:
    return await harness.services.subscriptions.portal_url(
        OPERATOR, harness.holder.account_id, return_url=f"{PUBLIC_URL}/billing", now=harness.now
    )


def tax_ids(harness: BillingHarness) -> list[tuple[str, str]]:
    rows = harness.client.v1.customers.tax_ids.list(harness.customer_id()).data
    return [(row.type, row.value) for row in rows]


async def test_checkout_keeps_address_and_tax_id_on_customer(harness: BillingHarness) -> None:
    url = str((await harness.begin("starter")).checkout_url)
    assert submit_card(url, VISA, **GERMAN).status_code == 303
    customer = harness.client.v1.customers.retrieve(harness.customer_id())
    assert customer.address is not None
    assert (customer.address.country, customer.address.line1) == ("DE", "Torstr. 1")
    assert customer.name == "Ada GmbH"
    assert tax_ids(harness) == [("eu_vat", "DE123456789")]
    (invoice,) = harness.invoices()
    assert [row.value for row in invoice.customer_tax_ids or []] == ["DE123456789"]


async def test_business_name_of_checkout_is_the_billing_name(harness: BillingHarness) -> None:
    """It stays when other details change, and reconciliation finds nothing."""
    url = str((await harness.begin("starter")).checkout_url)
    assert submit_card(url, VISA, **GERMAN).status_code == 303
    await harness.deliver()
    services, account_id = harness.services, harness.holder.account_id
    found = await read_details(services.database, OPERATOR, account_id, harness.now)
    assert found.used.name == "Ada GmbH"
    await send_details(services.database, services.provider, harness.holder.account_number)
    assert harness.client.v1.customers.retrieve(harness.customer_id()).name == "Ada GmbH"
    assert await harness.reconcile() == []


async def test_business_name_that_was_removed_does_not_come_back(harness: BillingHarness) -> None:
    """Events of the checkout may come again."""
    url = str((await harness.begin("starter")).checkout_url)
    assert submit_card(url, VISA, **GERMAN).status_code == 303
    events = harness.missed()
    await harness.deliver_each(events)
    services, account_id = harness.services, harness.holder.account_id
    owner = person(harness.url)
    membership(harness.url, harness.holder.organization_id, owner.user_id, Role.OWNER)
    await change_billing_name(services.database, None, owner, account_id, name="", now=harness.now)
    (checkout_id,) = [e.object_id for e in events if e.type == "checkout.session.completed"]
    await services.subscriptions.syncing.checkout(checkout_id, harness.now)
    found = await read_details(services.database, OPERATOR, account_id, harness.now)
    assert found.used.name == "Acme"


async def test_name_on_the_card_is_not_the_billing_name(harness: BillingHarness) -> None:
    """Stripe saves it on the customer (customer_update); ours comes back without a difference."""
    url = str((await harness.begin("starter")).checkout_url)
    assert submit_card(url, VISA, name="C. Holder").status_code == 303
    await harness.deliver()
    assert harness.client.v1.customers.retrieve(harness.customer_id()).name == "C. Holder"
    assert await harness.reconcile() == []
    assert harness.client.v1.customers.retrieve(harness.customer_id()).name == "Acme"


async def test_checkout_without_address_is_refused_and_charges_nothing(
    harness: BillingHarness,
) -> None:
    url = str((await harness.begin("starter")).checkout_url)
    answer = submit_card(url, VISA, country="")
    assert (answer.status_code, harness.charged_minor()) == (402, 0)
    assert "billing address is incomplete" in answer.text


async def test_promotion_code_discounts_what_checkout_charges(harness: BillingHarness) -> None:
    coupon = harness.client.v1.coupons.create({"percent_off": 50, "duration": "once"})
    harness.client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALF"}
    )
    for offer, charged in (("starter", 950), ("pack", 950 + 1_250)):
        url = str((await harness.begin(offer)).checkout_url)
        post_form(url, action="promotion", promotion_code="half")
        assert submit_card(url, VISA).status_code == 303
        await harness.deliver()
        assert harness.charged_minor() == charged
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 10_000]
    assert await harness.reconcile() == []


async def test_pack_that_a_promotion_code_makes_free_is_given(harness: BillingHarness) -> None:
    coupon = harness.client.v1.coupons.create({"percent_off": 100, "duration": "once"})
    harness.client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FREE"}
    )
    url = str((await harness.begin("pack")).checkout_url)
    post_form(url, action="promotion", promotion_code="FREE")
    assert submit_card(url, VISA).status_code == 303
    await harness.deliver()
    assert harness.charged_minor() == 0
    assert [plan["executions"] for plan in harness.plans()] == [10_000]
    assert harness.rows("SELECT status FROM checkouts") == [("complete",)]


async def test_portal_edits_address_and_tax_id(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    url = await portal_url(harness)
    assert post_form(url, **GERMAN, action="update_customer").status_code == 303
    customer = harness.client.v1.customers.retrieve(harness.customer_id())
    assert customer.address is not None
    assert customer.address.country == "DE"
    assert tax_ids(harness) == [("eu_vat", "DE123456789")]
    page = look(url)
    assert "DE123456789" in page
    (row,) = harness.client.v1.customers.tax_ids.list(harness.customer_id()).data
    post_form(url, action="remove_tax_id", tax_id=row.id)
    assert tax_ids(harness) == []


async def test_existing_installation_gets_the_new_portal(harness: BillingHarness) -> None:
    """The configuration of an earlier version stays, unused."""
    await harness.begin("starter")
    configurations = harness.client.v1.billing_portal.configurations
    earlier = configurations.create(
        {
            "features": {"invoice_history": {"enabled": True}},
            "metadata": {"billing_portal": "1"},
        }
    )
    for _ in range(2):
        assert "Billing information" in look(await portal_url(harness))
    ours = [row for row in configurations.list().data if row.metadata]
    assert len(ours) == 2
    assert earlier.id in [row.id for row in ours]


async def test_impossible_tax_id_is_refused(harness: BillingHarness) -> None:
    url = str((await harness.begin("starter")).checkout_url)
    answer = submit_card(url, VISA, **GERMAN | {"tax_id": "?"})
    assert (answer.status_code, harness.charged_minor()) == (402, 0)
