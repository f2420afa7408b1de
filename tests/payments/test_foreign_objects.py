"""What is not ours at Stripe is left alone, and one customer never stops another."""

from typing import Any

import pytest

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.subscriptions.account_runs import AccountsFailedError
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness
from tests.payments.test_overage import SOFT
from tests.payments.test_overage_reports import begun, renew, report
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode


def price(harness: BillingHarness, **terms: Any) -> str:
    """A monthly price that somebody made by hand."""
    product = harness.client.v1.products.create({"name": "Support"})
    body: Any = {
        "product": product.id,
        "currency": "usd",
        "unit_amount": 700,
        "recurring": {"interval": "month"},
        **terms,
    }
    return harness.client.v1.prices.create(body).id


def metered_price(harness: BillingHarness) -> str:
    meter: Any = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation": {"formula": "sum"},
    }
    made = harness.client.v1.billing.meters.create(meter)
    recurring = {"interval": "month", "usage_type": "metered", "meter": made.id}
    return price(harness, recurring=recurring)


def subscribe(harness: BillingHarness, price_id: str) -> str:
    body: Any = {"customer": harness.customer_id(), "items": [{"price": price_id}]}
    return harness.client.v1.subscriptions.create(body).id


def change_items(harness: BillingHarness, items: list[dict[str, Any]]) -> None:
    body: Any = {"items": items, "proration_behavior": "none"}
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, body)


async def test_metered_subscription_of_others_disturbs_nothing(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    subscribe(harness, metered_price(harness))
    await harness.deliver()
    preview = await harness.preview("growth")
    assert (await harness.change("growth")).offer.code == "growth"
    assert harness.charged_minor() == 1_900 + preview.amount_due_minor
    await harness.deliver()
    assert await harness.reconcile(dry_run=True) == []


async def test_older_subscription_of_others_is_not_taken_for_ours(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    subscribe(harness, price(harness))
    found = await harness.subscribed("starter")
    assert found.offer.code == "starter"
    assert await harness.reconcile(dry_run=True) == []


@pytest.mark.parametrize("when", [When.NOW, When.PERIOD_END])
async def test_change_keeps_the_items_of_others(harness: BillingHarness, when: When) -> None:
    await harness.subscribed("starter")
    ours = harness.subscriptions()[0].items.data[0]
    support = price(harness)
    others = [{"price": support}, {"price": metered_price(harness)}]
    change_items(harness, [*others, {"id": ours.id, "deleted": True}, {"price": ours.price.id}])
    await harness.change("growth", when)
    if when is When.PERIOD_END:
        await renew(harness, report_first=False)
    items = harness.subscriptions()[0].items.data
    assert len(items) == 3
    assert {each["price"] for each in others} < {item.price.id for item in items}
    assert (await harness.live()).offer.code == "growth"


async def test_price_of_others_on_our_subscription_is_a_difference(
    harness: BillingHarness,
) -> None:
    found = await harness.subscribed("starter")
    ours = harness.subscriptions()[0].items.data[0]
    change_items(harness, [{"id": ours.id, "price": price(harness)}])
    await renew(harness, report_first=False)
    live = await harness.live()
    assert live.period_end > found.period_end
    (difference,) = await harness.reconcile()
    assert (difference.what, difference.healed) == ("invoice", False)
    assert "no line sells an offer" in difference.theirs
    harness.use_card("pm_card_visa")
    assert (await harness.change("growth")).offer.code == "growth"
    assert (await harness.current()).executions_remaining == 30_000


async def test_error_of_one_account_does_not_stop_the_others(
    harness: BillingHarness, sandbox: Sandbox
) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await begun(harness, "soft")
    await harness.use(1_200)
    other = await BillingHarness(sandbox, harness.url).open_beside(harness)
    await begun(other, "soft")
    await other.use(1_300)
    first = min((harness, other), key=lambda each: each.holder.account_number)
    gone = first.holder.account_number
    harness.rows(
        "UPDATE provider_customers SET customer_id = 'cus_gone'"  # noqa: S608
        f" WHERE account_id = {gone} RETURNING 1"
    )
    with pytest.raises(AccountsFailedError) as failed:
        await report(harness)
    assert failed.value.accounts == {first.holder.account_id: "payment_provider_failed"}
    assert failed.value.done == 1


async def test_unexpected_error_after_a_charge_is_told_as_unclear(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from billing_app.billing.subscriptions import customer_sync
    from billing_app.billing.subscriptions.provider_errors import (
        PaymentProviderUnavailableError,
    )

    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")

    apply_customer = customer_sync.apply.apply_customer

    async def broken(*arguments: Any, **options: Any) -> str | None:
        if harness.rows("SELECT 1 FROM provider_writes"):
            raise KeyError
        return await apply_customer(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(customer_sync.apply, "apply_customer", broken)
        with pytest.raises(PaymentProviderUnavailableError) as told:
            await harness.change("growth")
    assert "unclear" in told.value.detail
    assert harness.charged_minor() == 1_900 + 6_000
    await harness.deliver()
    assert (await harness.live()).offer.code == "growth"
