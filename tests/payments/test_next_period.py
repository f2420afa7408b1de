"""A used-up period: the next one begins now, at the same offer, for exactly what is shown."""

from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import (
    OfferTerms,
    OverageTerms,
    new_version,
    publish_offer,
)
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.errors import PaymentOverdueError, SameOfferError
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
)
from billing_app.billing.subscriptions.purchase_rules import FreePeriodUsedError
from billing_app.db.enums import Interval, SubscriptionStatus, When
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, BillingHarness, accepted

pytestmark = pytest.mark.stripe_test_mode


async def publish(harness: BillingHarness, code: str, **terms: Any) -> None:
    values: dict[str, Any] = {
        "name": code.title(),
        "description": "",
        "executions": 5_000,
        "price_minor": 1_900,
        "currency": "USD",
        "interval": Interval.MONTH,
    }
    said = OfferTerms(**values | terms)
    await publish_offer(harness.services.database, OPERATOR, code=code, terms=said, now=harness.now)


async def may_begin(harness: BillingHarness) -> bool:
    database, account_id = harness.services.database, harness.holder.account_id
    summary = await read_summary(database, OPERATOR, account_id, harness.now)
    return summary.is_period_used_up


async def test_used_up_period_is_followed_by_the_next_one_now(harness: BillingHarness) -> None:
    first = await harness.subscribed("starter")
    harness.skip(12 * DAY)
    accepted(await harness.use(5_000))
    assert await harness.denied() == "insufficient_executions"
    assert await may_begin(harness)
    preview = await harness.preview("starter")
    assert (preview.amount_due_minor, preview.credit_minor) == (1_900, 0)
    after = await harness.change("starter")
    assert harness.charged_minor() == 2 * 1_900
    assert after.period_start > first.period_start
    assert after.offer.code == "starter"
    assert preview.period_end is not None
    assert abs(after.period_end - preview.period_end) < timedelta(minutes=1)
    assert (await harness.current()).executions_remaining == 5_000
    await harness.deliver()
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 5_000]
    assert await harness.reconcile() == []
    harness.skip((after.period_end - harness.now).total_seconds() + 2 * 3_600)
    await harness.deliver()
    assert harness.charged_minor() == 3 * 1_900, "it renews a month after the new start"


async def test_next_period_waits_while_something_is_left(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(4_999))
    assert not await may_begin(harness)
    with pytest.raises(SameOfferError):
        await harness.preview("starter")
    with pytest.raises(SameOfferError):
        await harness.change("starter")
    accepted(await harness.use(1))
    with pytest.raises(SameOfferError):
        await harness.change("starter", When.PERIOD_END)


async def test_repeated_request_begins_one_period(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    await harness.change("starter")
    with pytest.raises(SameOfferError):
        await harness.change("starter")
    assert harness.charged_minor() == 2 * 1_900


async def test_declined_next_period_changes_nothing(harness: BillingHarness) -> None:
    first = await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    harness.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await harness.change("starter")
    await harness.deliver()
    assert (await harness.live()).period_end == first.period_end
    assert harness.charged_minor() == 1_900
    assert await may_begin(harness)


async def test_used_up_trial_starts_paying_now(harness: BillingHarness) -> None:
    await publish(harness, "tried", trial_days=14)
    found = await harness.subscribed("tried")
    assert found.status is SubscriptionStatus.TRIALING
    harness.use_card("pm_card_visa")
    accepted(await harness.use(5_000))
    preview = await harness.preview("tried")
    assert (preview.amount_due_minor, preview.credit_minor) == (1_900, 0)
    after = await harness.change("tried")
    assert after.status is SubscriptionStatus.ACTIVE
    assert harness.charged_minor() == 1_900
    await harness.deliver()
    assert (await harness.current()).executions_remaining == 5_000
    assert not await may_begin(harness)


async def test_overage_is_billed_once_when_the_next_period_begins(harness: BillingHarness) -> None:
    await publish(harness, "soft", overage=OverageTerms(25, 100, 1_000))
    await harness.subscribed("soft")
    accepted(await harness.use(5_000 + 250))
    preview = await harness.preview("soft")
    assert (preview.overage_minor, preview.amount_due_minor) == (75, 1_900 + 75)
    await harness.change("soft")
    assert harness.charged_minor() == 1_900 + 1_900 + 75
    await harness.deliver()
    current = await harness.current()
    assert current.executions_remaining == 5_000
    assert current.overage is not None
    assert (current.overage.executions_used, current.overage.executions_limit) == (0, 1_000)
    harness.skip((current.overage.period_end - harness.now).total_seconds() + 2 * 3_600)  # pyright: ignore[reportOptionalOperand]
    await harness.deliver()
    assert harness.charged_minor() == 1_900 + 1_900 + 75 + 1_900


async def test_next_period_keeps_the_terms_it_was_sold_with(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    terms = OfferTerms("Starter", "", 6_000, 2_900, "USD", Interval.MONTH)
    ((offer_id,),) = harness.rows("SELECT id FROM offers WHERE code = 'starter'")
    async with harness.services.database.transaction() as session:
        session.add(new_version(offer_id, 2, terms, harness.now))
    accepted(await harness.use(5_000))
    preview = await harness.preview("starter")
    assert (preview.offer.version, preview.amount_due_minor) == (1, 1_900)
    await harness.change("starter")
    assert harness.charged_minor() == 2 * 1_900


async def test_archived_offer_still_begins_its_next_period(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    harness.rows("UPDATE offers SET archived_at = now() WHERE code = 'starter' RETURNING 1")
    await harness.change("starter")
    assert harness.charged_minor() == 2 * 1_900


async def test_period_that_costs_nothing_is_not_begun_again(harness: BillingHarness) -> None:
    """Nor one that a discount makes free: it would be begun without end."""
    found = await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    coupon = harness.client.v1.coupons.create({"percent_off": 100, "duration": "forever"})
    (theirs,) = harness.subscriptions()
    harness.client.v1.subscriptions.update(theirs.id, {"discounts": [{"coupon": coupon.id}]})
    with pytest.raises(FreePeriodUsedError):
        await harness.preview("starter")
    with pytest.raises(FreePeriodUsedError):
        await harness.change("starter")
    assert (await harness.live()).period_end == found.period_end
    assert [plan["executions"] for plan in harness.plans()] == [5_000]


async def test_overdue_period_is_paid_before_the_next_begins(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    harness.rows("UPDATE subscriptions SET past_due_since = now() RETURNING 1")
    with pytest.raises(PaymentOverdueError):
        await harness.change("starter")
