"""Changes that support makes in Stripe's dashboard, with its prorations by time."""

from typing import Any

import pytest

from tests.payments.billing_harness import DAY, BillingHarness
from tests.payments.test_overage_reports import renew
from tests.payments.test_quantities import price_of

pytestmark = pytest.mark.stripe_test_mode


async def change_by_hand(harness: BillingHarness, behavior: str, **item: Any) -> None:
    found = harness.subscriptions()[0]
    body: Any = {
        "items": [{"id": found.items.data[0].id, **item}],
        "proration_behavior": behavior,
    }
    harness.client.v1.subscriptions.update(found.id, body)
    await harness.deliver()


async def known_prices(harness: BillingHarness) -> None:
    """A preview makes the price of an offer that nobody has bought yet."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    await harness.preview("growth")


@pytest.mark.parametrize("used", [0, 2_000])
async def test_prorated_upgrade_is_given_at_once(harness: BillingHarness, used: int) -> None:
    await known_prices(harness)
    if used:
        await harness.use(used)
    await change_by_hand(harness, "always_invoice", price=price_of(harness, "growth"))
    paid_minor = harness.charged_minor() - 1_900
    assert 5_990 <= paid_minor <= 6_000
    current = await harness.current()
    assert current.plan is not None
    assert current.plan.name == "Growth"
    assert 30_000 - used - 60 <= current.executions_remaining <= 30_000 - used
    assert current.plan.ends_at == (await harness.live()).period_end
    await renew(harness, report_first=False)
    assert (await harness.current()).executions_remaining == 30_000
    assert await harness.reconcile(dry_run=True) == []


async def test_prorated_upgrade_in_mid_period_gives_its_share(harness: BillingHarness) -> None:
    await known_prices(harness)
    harness.skip(15 * DAY)
    await change_by_hand(harness, "always_invoice", price=price_of(harness, "growth"))
    remaining = (await harness.current()).executions_remaining
    assert 14_000 <= remaining <= 16_500


async def test_prorations_of_the_renewal_are_given_with_it(harness: BillingHarness) -> None:
    await known_prices(harness)
    harness.skip(15 * DAY)
    await change_by_hand(harness, "create_prorations", price=price_of(harness, "growth"))
    assert (await harness.current()).executions_remaining == 5_000
    await renew(harness, report_first=False)
    remaining = (await harness.current()).executions_remaining
    share = remaining - 30_000
    assert 11_500 <= share <= 13_500
    assert await harness.reconcile(dry_run=True) == []


async def test_larger_quantity_is_given_at_once(harness: BillingHarness) -> None:
    await known_prices(harness)
    await change_by_hand(harness, "always_invoice", quantity=3)
    remaining = (await harness.current()).executions_remaining
    assert 14_980 <= remaining <= 15_000
