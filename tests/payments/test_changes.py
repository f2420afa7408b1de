"""Changing, cancelling and resuming: the previewed amount is charged, to the cent."""

from datetime import datetime

import pytest

from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.executions.requests import Mode
from billing_app.billing.offers.catalogue import OfferUnknownError
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.errors import (
    ChangeLosesValueError,
    CurrencyDiffersError,
    PaymentActionRequiredError,
    PaymentOverdueError,
    SameOfferError,
)
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
)
from billing_app.billing.subscriptions.service import (
    SubscriptionEndedError,
    SubscriptionNotFoundError,
)
from billing_app.db.enums import Scope, When
from tests import factories
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, accepted, commit_of

pytestmark = pytest.mark.stripe_test_mode


async def test_upgrade_charges_previewed_amount_and_credits_unused_value(
    harness: BillingHarness,
) -> None:
    before = await harness.subscribed("starter")
    accepted(await harness.use(1_234))
    harness.skip(10 * DAY)
    preview = await harness.preview("growth")
    credit_minor = 1_900 * (5_000 - 1_234) // 5_000
    assert (preview.executions_unused, preview.credit_minor) == (3_766, credit_minor)
    assert preview.amount_due_minor == 7_900 - credit_minor
    assert sum(line.amount_minor for line in preview.lines) == preview.amount_due_minor
    after = await harness.change("growth")
    assert (after.id, after.offer.code) == (before.id, "growth")
    assert after.period_start > before.period_start
    assert harness.charged_minor() == 1_900 + preview.amount_due_minor
    await harness.deliver()
    old, new = harness.plans()
    assert (old["ended_because"], old["used"]) == ("replaced", 1_234)
    assert (new["executions"], new["ends_at"]) == (30_000, after.period_end)
    assert (await harness.current()).executions_remaining == 30_000


async def test_no_credit_when_everything_was_used_in_the_first_hour(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    preview = await harness.preview("growth")
    assert (preview.credit_minor, preview.amount_due_minor) == (0, 7_900)
    await harness.change("growth")
    assert harness.charged_minor() == 1_900 + 7_900
    assert (await harness.current()).executions_remaining == 30_000


async def test_use_between_preview_and_change_counts_against_new_plan(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.subscribed("starter")
    apply = CustomerSync.customer

    async def use_then_apply(self: CustomerSync, customer_id: str, now: datetime) -> object:
        if harness.rows("SELECT 1 FROM provider_writes WHERE operation = 'change_now'"):
            accepted(await harness.use(700))
        return await apply(self, customer_id, now)

    with monkeypatch.context() as patch:
        patch.setattr(CustomerSync, "customer", use_then_apply)
        await harness.change("growth")
    assert harness.charged_minor() == 7_900, "all of the first plan was credited"
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 30_000 - 700]


async def test_depleting_old_plan_after_preview_grants_nothing_twice(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.subscribed("starter")
    apply = CustomerSync.customer

    async def use_then_apply(self: CustomerSync, customer_id: str, now: datetime) -> object:
        if harness.rows("SELECT 1 FROM provider_writes WHERE operation = 'change_now'"):
            accepted(await harness.use(5_000))
        return await apply(self, customer_id, now)

    with monkeypatch.context() as patch:
        patch.setattr(CustomerSync, "customer", use_then_apply)
        await harness.change("growth")
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 25_000]
    # What was taken off the plan is not worth money either.
    preview = await harness.preview("scale")
    assert preview.credit_minor == 7_900 * 25_000 // 30_000


async def test_reservation_made_before_change_is_honoured(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    held = accepted(await harness.use(100, Mode.RESERVE))
    assert (await harness.preview("growth")).executions_unused == 4_900
    await harness.change("growth")
    accepted(await harness.decide(commit_of(held)))
    assert [plan["used"] for plan in harness.plans()] == [100, 0]


async def test_declined_upgrade_changes_nothing_and_keeps_scheduled_change(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("growth")
    await harness.change("starter", When.PERIOD_END)
    await harness.deliver()
    before, charged = harness.snapshot(), harness.charged_minor()
    harness.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await harness.change("scale")
    await harness.deliver()
    found = await harness.live()
    assert (found.offer.code, found.next_offer and found.next_offer.code) == ("growth", "starter")
    assert harness.charged_minor() == charged
    assert harness.snapshot()["plans"] == before["plans"]
    harness.use_card("pm_card_visa")
    after = await harness.change("scale")
    assert (after.offer.code, after.next_offer) == ("scale", None)
    assert harness.charged_minor() == charged + 29_900 - 7_900


async def test_bank_that_asks_for_confirmation_is_no_decline(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    before, charged = harness.snapshot(), harness.charged_minor()
    harness.use_card("pm_card_authenticationRequiredOnSetup")
    with pytest.raises(PaymentActionRequiredError, match="confirm the payment"):
        await harness.change("growth")
    await harness.deliver()
    assert harness.charged_minor() == charged
    assert harness.snapshot()["plans"] == before["plans"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("growth", "starter"), ("starter", "growth-yearly"), ("growth-yearly", "starter")],
)
async def test_change_at_period_end(harness: BillingHarness, old: str, new: str) -> None:
    first = await harness.subscribed(old)
    charged = harness.charged_minor()
    waiting = await harness.change(new, When.PERIOD_END)
    assert (waiting.offer.code, waiting.period_end) == (old, first.period_end)
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == new
    assert harness.charged_minor() == charged
    harness.skip((first.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    found = await harness.live()
    assert (found.offer.code, found.next_offer, found.status) == (new, None, "active")
    assert found.period_start == first.period_end
    days = (found.period_end - found.period_start).days
    assert days > 360 if new == "growth-yearly" else days < 32
    assert harness.charged_minor() == charged + found.offer.price_minor
    current = (await harness.current()).plan
    assert current is not None
    assert (current.executions, current.ends_at) == (found.offer.executions, found.period_end)
    # The schedule has done its work: the next period is of the same offer and length.
    harness.skip((found.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    again = await harness.live()
    assert (again.offer.code, again.period_start) == (new, found.period_end)
    assert harness.charged_minor() == charged + 2 * found.offer.price_minor


async def test_scheduled_change_can_be_replaced_and_withdrawn(harness: BillingHarness) -> None:
    await harness.subscribed("scale")
    await harness.change("growth", When.PERIOD_END)
    again = await harness.change("starter", When.PERIOD_END)
    assert again.next_offer is not None
    assert again.next_offer.code == "starter"
    assert (await harness.resume()).next_offer is None
    end = (await harness.live()).period_end
    harness.skip((end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    assert (await harness.live()).offer.code == "scale"


async def test_cancel_at_period_end_keeps_remaining_executions_until_then(
    harness: BillingHarness,
) -> None:
    first = await harness.subscribed()
    cancelled = await harness.cancel(When.PERIOD_END)
    assert (cancelled.cancel_at_period_end, cancelled.status) == (True, "active")
    harness.skip(20 * DAY)
    await harness.deliver()
    accepted(await harness.use(1))
    harness.skip((first.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    assert await harness.subscription() is None
    assert await harness.denied() == "insufficient_executions"
    assert harness.charged_minor() == 1_900


async def test_resume_withdraws_cancellation(harness: BillingHarness) -> None:
    first = await harness.subscribed()
    await harness.cancel(When.PERIOD_END)
    assert (await harness.resume()).cancel_at_period_end is False
    harness.skip((first.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    assert (await harness.live()).status == "active"
    assert harness.charged_minor() == 2 * 1_900


async def test_cancel_now_ends_plan_and_honours_open_reservations(
    harness: BillingHarness,
) -> None:
    await harness.subscribed()
    held = accepted(await harness.use(10, Mode.RESERVE))
    cancelled = await harness.cancel(When.NOW)
    assert cancelled.status == "canceled"
    assert await harness.denied() == "insufficient_executions"
    accepted(await harness.decide(commit_of(held)))
    (plan,) = harness.plans()
    assert (plan["ended_because"], plan["used"], plan["held"]) == ("cancelled", 10, 0)
    with pytest.raises(SubscriptionEndedError):
        await harness.services.subscriptions.resume(
            factories.OPERATOR, cancelled.id, now=harness.now
        )


async def test_refusals(harness: BillingHarness) -> None:
    found = await harness.subscribed("growth")
    before = harness.rows("SELECT count(*) FROM provider_writes")
    with pytest.raises(SameOfferError):
        await harness.change("growth")
    with pytest.raises(SameOfferError):
        await harness.change("growth", When.PERIOD_END)
    with pytest.raises(OfferUnknownError):
        await harness.change("nothing")
    with pytest.raises(InvalidInputError):
        await harness.change("pack")
    with pytest.raises(CurrencyDiffersError):
        await harness.preview("euros")
    with pytest.raises(ChangeLosesValueError):
        await harness.change("starter")
    stranger = factories.organization(harness.url)
    actor = ServiceActor(1, frozenset(Scope), stranger.organization_id)
    subscriptions = harness.services.subscriptions
    with pytest.raises(SubscriptionNotFoundError):
        await subscriptions.cancel(actor, found.id, when=When.NOW, now=harness.now)
    with pytest.raises(SubscriptionNotFoundError):
        await subscriptions.preview(actor, "sub_nonsense", offer_code="scale", now=harness.now)
    assert harness.rows("SELECT count(*) FROM provider_writes") == before


async def test_unpaid_period_is_not_credited(
    harness: BillingHarness,
) -> None:
    """Otherwise grace days could be turned into money."""
    first = await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    harness.skip((first.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    assert (await harness.live()).status == "past_due"
    harness.use_card("pm_card_visa")
    with pytest.raises(PaymentOverdueError):
        await harness.change("growth")
    assert harness.charged_minor() == 1_900


async def test_customer_continues_between_period_end_and_payment(
    harness: BillingHarness,
) -> None:
    """A renewal's invoice is a draft for an hour before it is charged."""
    first = await harness.subscribed("starter")
    harness.skip((first.period_end - harness.now).total_seconds() + 60)
    await harness.deliver()
    assert harness.charged_minor() == 1_900
    assert await harness.denied() == ""
    assert harness.plans()[-1]["suspended_at"] is not None
    harness.skip(2 * HOUR)
    await harness.deliver()
    assert harness.charged_minor() == 2 * 1_900
    assert harness.plans()[-1]["suspended_at"] is None
    assert len(harness.plans()) == 2


async def test_portal_offers_no_plan_changes(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    url = await harness.services.subscriptions.portal_url(
        factories.OPERATOR,
        harness.holder.account_id,
        return_url="http://localhost:3000/",
        now=harness.now,
    )
    await harness.services.subscriptions.portal_url(
        factories.OPERATOR,
        harness.holder.account_id,
        return_url="http://localhost:3000/",
        now=harness.now,
    )
    assert "/portal/" in url
    configurations = harness.client.v1.billing_portal.configurations.list().data
    assert len([each for each in configurations if not each.is_default]) == 1
    assert not configurations[0].features.subscription_update.enabled
