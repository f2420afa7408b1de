"""Changing, cancelling and resuming: what is shown first is what is charged, to the cent."""

from datetime import datetime

import pytest

from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.executions.requests import Mode
from billing_app.billing.offers.catalogue import OfferUnknownError
from billing_app.billing.subscriptions.customer_sync import Syncing
from billing_app.billing.subscriptions.provider import PaymentDeclinedError
from billing_app.billing.subscriptions.rules import (
    ChangeLosesValueError,
    CurrencyDiffersError,
    PaymentOverdueError,
    SameOfferError,
)
from billing_app.billing.subscriptions.service import (
    SubscriptionEndedError,
    SubscriptionNotFoundError,
)
from billing_app.db.enums import Scope, When
from tests import factories
from tests.payments.billing_harness import DAY, HOUR, Bed, accepted, commit_of


async def test_upgrade_charges_what_the_preview_said_and_credits_unused_value(bed: Bed) -> None:
    before = await bed.subscribed("starter")
    accepted(await bed.use(1_234))
    bed.skip(10 * DAY)
    preview = await bed.preview("growth")
    credit_minor = 1_900 * (5_000 - 1_234) // 5_000
    assert (preview.executions_unused, preview.credit_minor) == (3_766, credit_minor)
    assert preview.amount_due_minor == 7_900 - credit_minor
    assert sum(line.amount_minor for line in preview.lines) == preview.amount_due_minor
    after = await bed.change("growth")
    assert (after.id, after.offer.code) == (before.id, "growth")
    assert after.period_start > before.period_start
    assert bed.charged_minor() == 1_900 + preview.amount_due_minor
    await bed.deliver()
    old, new = bed.plans()
    assert (old["ended_because"], old["used"]) == ("replaced", 1_234)
    assert (new["executions"], new["ends_at"]) == (30_000, after.period_end)
    assert (await bed.current()).executions_remaining == 30_000


async def test_nothing_is_credited_when_everything_was_used_in_the_first_hour(bed: Bed) -> None:
    await bed.subscribed("starter")
    accepted(await bed.use(5_000))
    preview = await bed.preview("growth")
    assert (preview.credit_minor, preview.amount_due_minor) == (0, 7_900)
    await bed.change("growth")
    assert bed.charged_minor() == 1_900 + 7_900
    assert (await bed.current()).executions_remaining == 30_000


async def test_what_is_used_between_quote_and_change_counts_against_the_new_plan(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bed.subscribed("starter")
    apply = Syncing.customer

    async def use_then_apply(self: Syncing, customer_id: str, now: datetime) -> object:
        accepted(await bed.use(700))
        return await apply(self, customer_id, now)

    with monkeypatch.context() as patch:
        patch.setattr(Syncing, "customer", use_then_apply)
        await bed.change("growth")
    assert bed.charged_minor() == 7_900, "all of the first plan was credited"
    assert [plan["executions"] for plan in bed.plans()] == [5_000, 30_000 - 700]


async def test_the_old_plan_used_up_between_quote_and_change_is_not_given_twice(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bed.subscribed("starter")
    apply = Syncing.customer

    async def use_then_apply(self: Syncing, customer_id: str, now: datetime) -> object:
        accepted(await bed.use(5_000))
        return await apply(self, customer_id, now)

    with monkeypatch.context() as patch:
        patch.setattr(Syncing, "customer", use_then_apply)
        await bed.change("growth")
    assert [plan["executions"] for plan in bed.plans()] == [5_000, 25_000]
    # What was taken off the plan is not worth money either.
    preview = await bed.preview("scale")
    assert preview.credit_minor == 7_900 * 25_000 // 30_000


async def test_a_run_that_began_before_the_change_is_honoured(bed: Bed) -> None:
    await bed.subscribed("starter")
    held = accepted(await bed.use(100, Mode.RESERVE))
    assert (await bed.preview("growth")).executions_unused == 4_900
    await bed.change("growth")
    accepted(await bed.decide(commit_of(held)))
    assert [plan["used"] for plan in bed.plans()] == [100, 0]


async def test_a_declined_upgrade_changes_nothing_and_keeps_what_waits(bed: Bed) -> None:
    await bed.subscribed("growth")
    await bed.change("starter", When.PERIOD_END)
    await bed.deliver()
    before, charged = bed.snapshot(), bed.charged_minor()
    bed.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await bed.change("scale")
    await bed.deliver()
    found = await bed.live()
    assert (found.offer.code, found.next_offer and found.next_offer.code) == ("growth", "starter")
    assert bed.charged_minor() == charged
    assert bed.snapshot()["plans"] == before["plans"]
    bed.use_card("pm_card_visa")
    after = await bed.change("scale")
    assert (after.offer.code, after.next_offer) == ("scale", None)
    assert bed.charged_minor() == charged + 29_900 - 7_900


async def test_a_bank_that_wants_a_confirmation_is_named_with_what_helps(bed: Bed) -> None:
    await bed.subscribed("starter")
    before, charged = bed.snapshot(), bed.charged_minor()
    bed.use_card("pm_card_authenticationRequiredOnSetup")
    with pytest.raises(PaymentDeclinedError, match="add it at Stripe once more"):
        await bed.change("growth")
    await bed.deliver()
    assert bed.charged_minor() == charged
    assert bed.snapshot()["plans"] == before["plans"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("growth", "starter"), ("starter", "growth-yearly"), ("growth-yearly", "starter")],
)
async def test_change_at_period_end(bed: Bed, old: str, new: str) -> None:
    first = await bed.subscribed(old)
    charged = bed.charged_minor()
    waiting = await bed.change(new, When.PERIOD_END)
    assert (waiting.offer.code, waiting.period_end) == (old, first.period_end)
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == new
    assert bed.charged_minor() == charged
    bed.skip((first.period_end - bed.now).total_seconds() + 2 * HOUR)
    await bed.deliver()
    found = await bed.live()
    assert (found.offer.code, found.next_offer, found.status) == (new, None, "active")
    assert found.period_start == first.period_end
    days = (found.period_end - found.period_start).days
    assert days > 360 if new == "growth-yearly" else days < 32
    assert bed.charged_minor() == charged + found.offer.price_minor
    current = (await bed.current()).plan
    assert current is not None
    assert (current.executions, current.ends_at) == (found.offer.executions, found.period_end)
    # The schedule has done its work: the next period is of the same offer and length.
    bed.skip((found.period_end - bed.now).total_seconds() + 2 * HOUR)
    await bed.deliver()
    again = await bed.live()
    assert (again.offer.code, again.period_start) == (new, found.period_end)
    assert bed.charged_minor() == charged + 2 * found.offer.price_minor


async def test_the_waiting_change_can_be_replaced_and_taken_back(bed: Bed) -> None:
    await bed.subscribed("scale")
    await bed.change("growth", When.PERIOD_END)
    again = await bed.change("starter", When.PERIOD_END)
    assert again.next_offer is not None
    assert again.next_offer.code == "starter"
    assert (await bed.resume()).next_offer is None
    end = (await bed.live()).period_end
    bed.skip((end - bed.now).total_seconds() + 2 * HOUR)
    await bed.deliver()
    assert (await bed.live()).offer.code == "scale"


async def test_cancel_at_period_end_keeps_what_is_left_until_then(bed: Bed) -> None:
    first = await bed.subscribed()
    cancelled = await bed.cancel(When.PERIOD_END)
    assert (cancelled.cancel_at_period_end, cancelled.status) == (True, "active")
    bed.skip(20 * DAY)
    await bed.deliver()
    accepted(await bed.use(1))
    bed.skip((first.period_end - bed.now).total_seconds() + 2 * HOUR)
    await bed.deliver()
    assert await bed.subscription() is None
    assert await bed.denied() == "insufficient_executions"
    assert bed.charged_minor() == 1_900


async def test_resume_takes_a_cancellation_back(bed: Bed) -> None:
    first = await bed.subscribed()
    await bed.cancel(When.PERIOD_END)
    assert (await bed.resume()).cancel_at_period_end is False
    bed.skip((first.period_end - bed.now).total_seconds() + 2 * HOUR)
    await bed.deliver()
    assert (await bed.live()).status == "active"
    assert bed.charged_minor() == 2 * 1_900


async def test_cancel_now_ends_the_plan_and_honours_running_reservations(bed: Bed) -> None:
    await bed.subscribed()
    held = accepted(await bed.use(10, Mode.RESERVE))
    cancelled = await bed.cancel(When.NOW)
    assert cancelled.status == "canceled"
    assert await bed.denied() == "insufficient_executions"
    accepted(await bed.decide(commit_of(held)))
    (plan,) = bed.plans()
    assert (plan["ended_because"], plan["used"], plan["held"]) == ("cancelled", 10, 0)
    with pytest.raises(SubscriptionEndedError):
        await bed.services.subscriptions.resume(factories.OPERATOR, cancelled.id, now=bed.now)


async def test_refusals(bed: Bed) -> None:
    found = await bed.subscribed("growth")
    with pytest.raises(SameOfferError):
        await bed.change("growth")
    with pytest.raises(SameOfferError):
        await bed.change("growth", When.PERIOD_END)
    with pytest.raises(OfferUnknownError):
        await bed.change("nothing")
    with pytest.raises(InvalidInputError):
        await bed.change("pack")
    with pytest.raises(CurrencyDiffersError):
        await bed.preview("euros")
    with pytest.raises(ChangeLosesValueError):
        await bed.change("starter")
    stranger = factories.organization(bed.url)
    actor = ServiceActor(1, frozenset(Scope), stranger.organization_id)
    subscriptions = bed.services.subscriptions
    with pytest.raises(SubscriptionNotFoundError):
        await subscriptions.cancel(actor, found.id, when=When.NOW, now=bed.now)
    with pytest.raises(SubscriptionNotFoundError):
        await subscriptions.preview(actor, "sub_nonsense", offer_code="scale", now=bed.now)
    assert bed.rows("SELECT count(*) FROM provider_writes") == [(0,)]


async def test_a_period_that_is_not_paid_for_is_worth_nothing_in_a_change(bed: Bed) -> None:
    """Otherwise the days of grace could be turned into money."""
    first = await bed.subscribed("starter")
    bed.use_card("pm_card_chargeCustomerFail")
    bed.skip((first.period_end - bed.now).total_seconds() + 2 * HOUR)
    await bed.deliver()
    assert (await bed.live()).status == "past_due"
    bed.use_card("pm_card_visa")
    with pytest.raises(PaymentOverdueError):
        await bed.change("growth")
    assert bed.charged_minor() == 1_900


async def test_between_the_end_of_a_period_and_its_payment_the_customer_goes_on(bed: Bed) -> None:
    """A renewal's invoice is a draft for an hour before it is charged."""
    first = await bed.subscribed("starter")
    bed.skip((first.period_end - bed.now).total_seconds() + 60)
    await bed.deliver()
    assert bed.charged_minor() == 1_900
    assert await bed.denied() == ""
    assert bed.plans()[-1]["suspended_at"] is not None
    bed.skip(2 * HOUR)
    await bed.deliver()
    assert bed.charged_minor() == 2 * 1_900
    assert bed.plans()[-1]["suspended_at"] is None
    assert len(bed.plans()) == 2


async def test_the_portal_does_not_change_plans(bed: Bed) -> None:
    await bed.subscribed("starter")
    url = await bed.services.subscriptions.portal_url(
        factories.OPERATOR, bed.holder.account_id, return_url="http://localhost:3000/", now=bed.now
    )
    await bed.services.subscriptions.portal_url(
        factories.OPERATOR, bed.holder.account_id, return_url="http://localhost:3000/", now=bed.now
    )
    assert "/portal/" in url
    configurations = bed.client.v1.billing_portal.configurations.list().data
    assert len([each for each in configurations if not each.is_default]) == 1
    assert not configurations[0].features.subscription_update.enabled
