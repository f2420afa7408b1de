"""Executions are the quantity times the size: one plan for each line that sells."""

from typing import Any

import pytest

from tests.payments.billing_harness import VISA, BillingHarness, type_card
from tests.payments.test_overage_reports import renew

pytestmark = pytest.mark.stripe_test_mode


def sizes(harness: BillingHarness) -> list[tuple[str, int]]:
    return sorted((plan["source"], plan["executions"]) for plan in harness.plans())


def price_of(harness: BillingHarness, offer: str) -> str:
    return harness.client.v1.prices.list({"lookup_keys": [f"{offer}-v1"]}).data[0].id


def set_quantity(harness: BillingHarness, quantity: int) -> None:
    found = harness.subscriptions()[0]
    body: Any = {
        "items": [{"id": found.items.data[0].id, "quantity": quantity}],
        "proration_behavior": "none",
    }
    harness.client.v1.subscriptions.update(found.id, body)


async def test_two_of_a_plan_give_twice_the_executions(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    set_quantity(harness, 2)
    await renew(harness, report_first=False)
    assert sizes(harness) == [("subscription", 5_000), ("subscription", 10_000)]
    assert harness.charged_minor() == 1_900 * 3
    assert (await harness.live()).quantity == 2
    assert await harness.reconcile(dry_run=True) == []


async def test_change_keeps_the_quantity(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    set_quantity(harness, 2)
    await renew(harness, report_first=False)
    preview = await harness.preview("growth")
    assert (preview.executions_after, preview.amount_due_minor) == (60_000, 2 * (7_900 - 1_900))
    before = harness.charged_minor()
    await harness.change("growth")
    assert harness.charged_minor() - before == preview.amount_due_minor
    assert (await harness.current()).executions_remaining == 60_000


async def bought_pack(harness: BillingHarness) -> str:
    """The pack's price, which the first purchase makes."""
    type_card((await harness.begin("pack")).checkout_url, VISA)
    await harness.deliver()
    return price_of(harness, "pack")


async def test_packs_of_one_invoice_give_a_plan_each(harness: BillingHarness) -> None:
    pack = await bought_pack(harness)
    harness.use_card("pm_card_visa")
    invoices = harness.client.v1.invoices
    draft: Any = {"customer": harness.customer_id(), "auto_advance": False}
    made = invoices.create(draft)
    for quantity in (3, 1):
        item: Any = {
            "customer": harness.customer_id(),
            "invoice": made.id,
            "pricing": {"price": pack},
            "quantity": quantity,
        }
        harness.client.v1.invoice_items.create(item)
    invoices.finalize_invoice(made.id)
    invoices.pay(made.id)
    await harness.deliver()
    assert sizes(harness) == [("pack", 10_000), ("pack", 10_000), ("pack", 30_000)]
    assert await harness.reconcile(dry_run=True) == []


async def test_pack_on_a_renewal_is_given(harness: BillingHarness) -> None:
    pack = await bought_pack(harness)
    await harness.subscribed("starter")
    item: Any = {"customer": harness.customer_id(), "pricing": {"price": pack}, "quantity": 2}
    harness.client.v1.invoice_items.create(item)
    await renew(harness, report_first=False)
    assert sizes(harness) == [
        ("pack", 10_000),
        ("pack", 20_000),
        ("subscription", 5_000),
        ("subscription", 5_000),
    ]
    assert harness.charged_minor() == 3 * 2_500 + 2 * 1_900
    assert await harness.reconcile(dry_run=True) == []
