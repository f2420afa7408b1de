"""The agreed preview is what is charged, and refunds are not credited again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.subscriptions.errors import QuoteOutdatedError
from billing_app.billing.subscriptions.proration import PREVIEW_VALID_FOR, ChangePreview
from billing_app.db.enums import Interval, When
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness, accepted

pytestmark = pytest.mark.stripe_test_mode


async def agree(harness: BillingHarness, preview: ChangePreview) -> None:
    found = await harness.live()
    await harness.services.subscriptions.change(
        OPERATOR,
        found.id,
        offer_code=preview.offer.code,
        when=When.NOW,
        now=harness.now,
        agreed=preview,
    )


async def test_previewed_amount_is_charged_and_later_use_counts(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    preview = await harness.preview("growth")
    assert preview.period_end is not None
    assert preview.period_end > (await harness.live()).period_end - timedelta(minutes=1)
    accepted(await harness.use(1_300))
    await agree(harness, preview)
    assert harness.charged_minor() == 1_900 + preview.amount_due_minor
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 30_000 - 1_300]


async def test_depleting_plan_after_preview_gains_nothing(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    preview = await harness.preview("growth")
    accepted(await harness.use(5_000))
    await agree(harness, preview)
    paid = harness.charged_minor()
    assert paid == 7_900, "no more and no less than the new offer's price in all"
    assert sum(plan["executions"] for plan in harness.plans()) - 5_000 == 25_000


async def test_outdated_preview_is_refused(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    preview = await harness.preview("growth")
    for outdated in (
        replace(preview, quoted_at=harness.now - PREVIEW_VALID_FOR - timedelta(seconds=1)),
        replace(preview, plan_sequence=preview.plan_sequence + 1),
        replace(preview, offer=replace(preview.offer, version_id=0)),
    ):
        with pytest.raises(QuoteOutdatedError):
            await agree(harness, outdated)
    assert harness.charged_minor() == 1_900


async def test_use_beyond_new_plan_after_preview_is_refused(harness: BillingHarness) -> None:
    await harness.subscribed("scale")
    accepted(await harness.use(141_000))
    preview = await harness.preview("starter")
    accepted(await harness.use(6_000))
    with pytest.raises(QuoteOutdatedError):
        await agree(harness, preview)


async def test_refund_invalidates_preview(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    preview = await harness.preview("growth")
    (charge,) = harness.charges()
    harness.client.v1.refunds.create({"charge": charge.id})
    await harness.deliver()
    with pytest.raises(QuoteOutdatedError):
        await agree(harness, preview)


async def test_refunded_amount_is_not_credited_again(harness: BillingHarness) -> None:
    """$19 for 5,000 executions; the unused ones are worth their share of what was not refunded."""
    await harness.subscribed("starter")
    accepted(await harness.use(1_000))
    before = await harness.preview("growth")
    assert before.credit_minor == 1_520
    (charge,) = harness.charges()
    for back_minor, credit_minor in ((900, 800), (500, 400)):
        harness.client.v1.refunds.create({"charge": charge.id, "amount": back_minor})
        await harness.deliver()
        assert (await harness.preview("growth")).credit_minor == credit_minor
    with pytest.raises(QuoteOutdatedError):
        await agree(harness, before)
    assert harness.charged_minor() == 1_900
    now = await harness.preview("growth")
    await agree(harness, now)
    assert now.amount_due_minor == 7_900 - 400
    assert harness.charged_minor() == 1_900 + now.amount_due_minor
    await harness.deliver()
    assert await harness.reconcile() == []


async def test_refund_with_tax_is_not_credited_again(taxed: BillingHarness) -> None:
    """19 % on $19: a refund gives back its share of the tax, and the credit is what is left of the
    price."""
    await taxed.subscribed("starter", country="DE")
    accepted(await taxed.use(1_000))
    (charge,) = taxed.charges()
    assert charge.amount == 2_261
    assert (await taxed.preview("growth")).credit_minor == 1_520
    taxed.client.v1.refunds.create({"charge": charge.id, "amount": 1_071})
    await taxed.deliver()
    preview = await taxed.preview("growth")
    assert preview.credit_minor == 800, "4/5 of $19 less $9"
    await agree(taxed, preview)
    assert preview.amount_due_minor == 7_100 + 1_349
    assert taxed.charged_minor() == 2_261 + preview.amount_due_minor


async def test_refund_of_new_period_reduces_its_credit(harness: BillingHarness) -> None:
    """After a change the invoice shows the difference only; the credit was paid, too."""
    await harness.subscribed("starter")
    await harness.change("growth")
    newest = max(harness.charges(), key=lambda charge: charge.amount)
    assert newest.amount == 7_900 - 1_900
    harness.client.v1.refunds.create({"charge": newest.id, "amount": 1_000})
    await harness.deliver()
    assert (await harness.preview("scale")).credit_minor == 7_900 - 1_000


async def test_refund_of_previous_period_is_not_credited_again(
    harness: BillingHarness,
) -> None:
    """The credit of a change is money of the previous period; a refund there consumes it."""
    await harness.subscribed("starter")
    (first,) = harness.charges()
    await harness.change("growth")
    for back_minor, credit_minor in ((900, 7_000), (1_000, 6_000)):
        harness.client.v1.refunds.create({"charge": first.id, "amount": back_minor})
        await harness.deliver()
        assert (await harness.preview("scale")).credit_minor == credit_minor
    await harness.change("scale")
    kept_minor = harness.charged_minor() - 1_900
    assert kept_minor == 29_900


async def test_refund_before_change_does_not_reduce_next_credit(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(2_500))
    (first,) = harness.charges()
    harness.client.v1.refunds.create({"charge": first.id, "amount": 900})
    await harness.deliver()
    assert (await harness.preview("growth")).credit_minor == 500
    await harness.change("growth")
    await harness.deliver()
    assert (await harness.preview("scale")).credit_minor == 7_900


async def test_refund_without_event_is_found(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    (charge,) = harness.charges()
    harness.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    assert (await harness.preview("growth")).credit_minor == 1_900
    found = next(each for each in await harness.reconcile() if each.what == "invoice")
    assert (found.what, found.healed) == ("invoice", True)
    assert "900 paid back" in found.theirs
    assert (await harness.preview("growth")).credit_minor == 1_000


async def test_credit_is_chargeable_in_its_currency(harness: BillingHarness) -> None:
    for code, executions, price_minor in (("small", 3_000, 100_000), ("large", 30_000, 900_000)):
        terms = OfferTerms(code, "", executions, price_minor, "ISK", Interval.MONTH)
        await publish_offer(
            harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
        )
    await harness.subscribed("small")
    accepted(await harness.use(1_001))
    preview = await harness.preview("large")
    assert (preview.credit_minor, preview.amount_due_minor) == (66_600, 833_400)
    await harness.change("large")
    assert harness.charged_minor() == 100_000 + 833_400
