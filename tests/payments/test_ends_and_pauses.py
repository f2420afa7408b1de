"""Ways to end, to pause and to prolong a subscription that support uses in Stripe's dashboard."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import Interval
from billing_app.stripe_sandbox.dates import add_intervals
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, GRACE_DAYS, BillingHarness
from tests.payments.test_overage_reports import renew

pytestmark = pytest.mark.stripe_test_mode

ON_TRIAL = OfferTerms("Tried", "", 5_000, 1_900, "USD", Interval.MONTH, trial_days=14)


async def at_stripe(harness: BillingHarness, **body: Any) -> SubscriptionView:
    """Change the subscription in the dashboard."""
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, body)  # pyright: ignore[reportArgumentType]
    await harness.deliver()
    return await harness.live()


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


async def test_end_on_a_date_is_shown_and_can_be_withdrawn(harness: BillingHarness) -> None:
    found = await harness.subscribed("starter")
    ends_at = found.period_end - timedelta(days=10)
    ending = await at_stripe(harness, cancel_at=seconds(ends_at))
    assert (ending.cancel_at_period_end, ending.ends_at) == (True, ends_at)
    kept = await harness.resume()
    assert (kept.cancel_at_period_end, kept.ends_at) == (False, found.period_end)
    harness.skip(25 * DAY)
    await harness.deliver()
    assert (await harness.live()).ended_at is None
    assert await harness.denied() == ""


async def test_end_on_a_date_ends_the_plan_then(harness: BillingHarness) -> None:
    found = await harness.subscribed("starter")
    await at_stripe(harness, cancel_at=seconds(found.period_end - timedelta(days=10)))
    harness.skip(22 * DAY)
    await harness.deliver()
    assert await harness.subscription() is None
    assert await harness.denied() == "insufficient_executions"


@pytest.mark.parametrize("behavior", ["keep_as_draft", "mark_uncollectible", "void"])
async def test_paused_collection_keeps_the_plan(harness: BillingHarness, behavior: str) -> None:
    """docs.stripe.com/billing/subscriptions/pause-payment: the customer retains access."""
    await harness.subscribed("starter")
    paused = await at_stripe(harness, pause_collection={"behavior": behavior})
    assert not paused.is_collecting
    for _ in range(2):
        await renew(harness, report_first=False)
        harness.skip((GRACE_DAYS + 1) * DAY)
        await harness.deliver()
        assert await harness.denied() == ""
        assert (await harness.current()).executions_remaining == 5_000
    assert await harness.reconcile(dry_run=True) == []
    assert harness.charged_minor() == 1_900
    assert (await at_stripe(harness, pause_collection="")).is_collecting
    await renew(harness, report_first=False)
    assert harness.charged_minor() == 1_900 * 2
    assert await harness.denied() == ""


async def test_prolonged_trial_lasts_as_long_as_at_stripe(harness: BillingHarness) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code="tried", terms=ON_TRIAL, now=harness.now
    )
    found = await harness.subscribed("tried")
    await harness.use(1_000)
    longer = found.period_end + timedelta(days=20)
    await at_stripe(harness, trial_end=seconds(longer), proration_behavior="none")
    harness.skip(16 * DAY)
    await harness.deliver()
    assert await harness.denied() == ""
    (plan,) = harness.plans()
    assert (plan["executions"], plan["used"], plan["ends_at"]) == (5_000, 1_000, longer)
    assert await harness.reconcile(dry_run=True) == []


async def test_prolonged_period_gives_no_second_plan(harness: BillingHarness) -> None:
    found = await harness.subscribed("starter")
    await harness.use(1_000)
    longer = found.period_end + timedelta(days=20)
    await at_stripe(harness, trial_end=seconds(longer), proration_behavior="none")
    harness.skip(40 * DAY)
    await harness.deliver()
    (plan,) = harness.plans()
    assert (plan["executions"], plan["used"], plan["ends_at"]) == (5_000, 1_000, longer)
    assert (await harness.current()).executions_remaining == 4_000
    assert await harness.reconcile(dry_run=True) == []


@pytest.mark.parametrize("outcome", ["cancel", "unpaid"])
async def test_invoice_paid_after_all_gives_its_period(
    harness: BillingHarness, outcome: str
) -> None:
    harness.sandbox.control("settings", after_last_retry=outcome)
    try:
        found = await harness.subscribed("starter")
        harness.use_card("pm_card_chargeCustomerFail")
        harness.skip((found.period_end - harness.now).total_seconds() + 60)
        no_voiding = {"kind": "status", "status": 400, "path": "/v1/invoices/*/void"}
        harness.sandbox.fault(**no_voiding, times=1_000)
        for _ in range(45):
            harness.skip(DAY)
            await harness.deliver()
        assert await harness.denied() != ""
        method = harness.use_card("pm_card_visa")
        open_one = next(each for each in harness.invoices() if each.status == "open")
        harness.client.v1.invoices.pay(str(open_one.id), {"payment_method": method})
        paid_at = harness.now
        await harness.deliver()
    finally:
        harness.sandbox.http.delete("/_sandbox/faults")
        harness.sandbox.control("settings", after_last_retry="cancel")
    assert harness.charged_minor() == 1_900 * 2
    assert (await harness.current()).executions_remaining == 5_000
    length = add_intervals(seconds(found.period_end), "month", 1) - seconds(found.period_end)
    (plan,) = [each for each in harness.plans() if each["source_reference"] == open_one.id]
    assert abs((plan["ends_at"] - paid_at).total_seconds() - length) < 5
    assert await harness.reconcile(dry_run=True) == []
