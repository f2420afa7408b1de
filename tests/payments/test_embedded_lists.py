"""Stripe embeds the first ten rows of a list in an object; we read every row."""

from typing import Any

import pytest

from billing_app.billing.offers.catalogue import publish_offer
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness
from tests.payments.test_overage import SOFT
from tests.payments.test_overage_reports import begun, renew, report, settle

pytestmark = pytest.mark.stripe_test_mode

MANY = 12


def add_items(harness: BillingHarness) -> None:
    """Amounts by hand, as staff add them in Stripe's dashboard, for the next invoice."""
    for index in range(MANY):
        item: Any = {
            "customer": harness.customer_id(),
            "amount": 10,
            "currency": "usd",
            "description": f"Support hour {index}",
        }
        harness.client.v1.invoice_items.create(item)


async def test_renewal_with_more_than_ten_lines_has_its_plan(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    add_items(harness)
    await renew(harness, report_first=False)
    assert [(plan["executions"], plan["used"]) for plan in harness.plans()] == [(5_000, 0)] * 2
    assert harness.charged_minor() == 1_900 * 2 + 10 * MANY
    assert await harness.reconcile(dry_run=True) == []


async def test_metered_line_beyond_the_tenth_is_billed_once(harness: BillingHarness) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await begun(harness, "soft")
    await harness.use(1_500)
    await report(harness)
    add_items(harness)
    await renew(harness)
    await settle(harness)
    await renew(harness)
    bought, overage, by_hand = 3 * SOFT.price_minor, 250, 10 * MANY
    assert harness.charged_minor() == bought + overage + by_hand


async def test_preview_with_more_than_ten_lines_adds_up(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    add_items(harness)
    preview = await harness.preview("growth")
    assert sum(line.amount_minor for line in preview.lines) == preview.amount_due_minor
    before = harness.charged_minor()
    await harness.change("growth")
    assert harness.charged_minor() - before == preview.amount_due_minor


async def test_subscription_with_more_than_ten_items_is_read_whole(
    harness: BillingHarness,
) -> None:
    """The plan's own item is the last one."""
    await harness.subscribed("starter")
    product = harness.client.v1.products.create({"name": "Seats"})
    items: list[Any] = []
    for index in range(MANY):
        price: Any = {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 100 + index,
            "recurring": {"interval": "month"},
        }
        items.append({"price": harness.client.v1.prices.create(price).id})
    found = harness.subscriptions()[0]
    ours = found.items.data[0]
    items += [{"id": ours.id, "deleted": True}, {"price": ours.price.id}]
    more: Any = {"items": items, "proration_behavior": "none"}
    harness.client.v1.subscriptions.update(found.id, more)
    await harness.deliver()
    snapshot = await harness.services.provider.customer_snapshot(harness.customer_id())
    assert [len(each.items) for each in snapshot.subscriptions] == [MANY + 1]
    assert (await harness.change("growth")).offer.code == "growth"
