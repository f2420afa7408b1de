"""What somebody said yes to is what is charged."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.subscriptions.quotes import (
    QUOTE_STANDS,
    ChangePreview,
    QuoteOutdatedError,
)
from billing_app.db.enums import Interval, When
from tests.factories import OPERATOR
from tests.payments.billing_harness import Bed, accepted


async def agree(bed: Bed, preview: ChangePreview) -> None:
    found = await bed.live()
    await bed.services.subscriptions.change(
        OPERATOR,
        found.id,
        offer_code=preview.offer.code,
        when=When.NOW,
        now=bed.now,
        agreed=preview,
    )


async def test_the_shown_amount_is_charged_and_what_was_used_since_counts(bed: Bed) -> None:
    await bed.subscribed("starter")
    preview = await bed.preview("growth")
    assert preview.period_end is not None
    assert preview.period_end > (await bed.live()).period_end - timedelta(minutes=1)
    accepted(await bed.use(1_300))
    await agree(bed, preview)
    assert bed.charged_minor() == 1_900 + preview.amount_due_minor
    assert [plan["executions"] for plan in bed.plans()] == [5_000, 30_000 - 1_300]


async def test_the_plan_used_up_after_the_preview_earns_nothing(bed: Bed) -> None:
    await bed.subscribed("starter")
    preview = await bed.preview("growth")
    accepted(await bed.use(5_000))
    await agree(bed, preview)
    paid = bed.charged_minor()
    assert paid == 7_900, "no more and no less than the new offer's price in all"
    assert sum(plan["executions"] for plan in bed.plans()) - 5_000 == 25_000


async def test_an_old_quote_does_not_stand(bed: Bed) -> None:
    await bed.subscribed("starter")
    preview = await bed.preview("growth")
    for outdated in (
        replace(preview, quoted_at=bed.now - QUOTE_STANDS - timedelta(seconds=1)),
        replace(preview, plan_sequence=preview.plan_sequence + 1),
        replace(preview, offer=replace(preview.offer, version_id=0)),
    ):
        with pytest.raises(QuoteOutdatedError):
            await agree(bed, outdated)
    assert bed.charged_minor() == 1_900


async def test_more_than_the_new_plan_holds_was_used_meanwhile(bed: Bed) -> None:
    await bed.subscribed("scale")
    accepted(await bed.use(141_000))
    preview = await bed.preview("starter")
    accepted(await bed.use(6_000))
    with pytest.raises(QuoteOutdatedError):
        await agree(bed, preview)


async def test_a_refund_takes_the_quote_along(bed: Bed) -> None:
    await bed.subscribed("starter")
    preview = await bed.preview("growth")
    (charge,) = bed.charges()
    bed.client.v1.refunds.create({"charge": charge.id})
    await bed.deliver()
    with pytest.raises(QuoteOutdatedError):
        await agree(bed, preview)


async def test_what_was_paid_back_is_not_credited_again(bed: Bed) -> None:
    """$19 for 5,000 executions; the rest is worth its share of what was kept."""
    await bed.subscribed("starter")
    accepted(await bed.use(1_000))
    before = await bed.preview("growth")
    assert before.credit_minor == 1_520
    (charge,) = bed.charges()
    for back_minor, credit_minor in ((900, 800), (500, 400)):
        bed.client.v1.refunds.create({"charge": charge.id, "amount": back_minor})
        await bed.deliver()
        assert (await bed.preview("growth")).credit_minor == credit_minor
    with pytest.raises(QuoteOutdatedError):
        await agree(bed, before)
    assert bed.charged_minor() == 1_900
    now = await bed.preview("growth")
    await agree(bed, now)
    assert now.amount_due_minor == 7_900 - 400
    assert bed.charged_minor() == 1_900 + now.amount_due_minor
    await bed.deliver()
    assert await bed.reconcile() == []


async def test_what_is_paid_back_of_the_new_period_counts_there(bed: Bed) -> None:
    """After a change the new invoice is of the difference; the credit was money, too."""
    await bed.subscribed("starter")
    await bed.change("growth")
    newest = max(bed.charges(), key=lambda charge: charge.amount)
    assert newest.amount == 7_900 - 1_900
    bed.client.v1.refunds.create({"charge": newest.id, "amount": 1_000})
    await bed.deliver()
    assert (await bed.preview("scale")).credit_minor == 7_900 - 1_000


async def test_what_is_paid_back_of_the_period_before_is_not_credited_on(bed: Bed) -> None:
    """The credit of a change was money of the period before; it is gone when that is."""
    await bed.subscribed("starter")
    (first,) = bed.charges()
    await bed.change("growth")
    for back_minor, credit_minor in ((900, 7_000), (1_000, 6_000)):
        bed.client.v1.refunds.create({"charge": first.id, "amount": back_minor})
        await bed.deliver()
        assert (await bed.preview("scale")).credit_minor == credit_minor
    await bed.change("scale")
    kept_minor = bed.charged_minor() - 1_900
    assert kept_minor == 29_900


async def test_what_was_paid_back_before_a_change_is_no_loss_of_the_next(bed: Bed) -> None:
    await bed.subscribed("starter")
    accepted(await bed.use(2_500))
    (first,) = bed.charges()
    bed.client.v1.refunds.create({"charge": first.id, "amount": 900})
    await bed.deliver()
    assert (await bed.preview("growth")).credit_minor == 500
    await bed.change("growth")
    await bed.deliver()
    assert (await bed.preview("scale")).credit_minor == 7_900


async def test_a_refund_that_no_event_told_of_is_found(bed: Bed) -> None:
    await bed.subscribed("starter")
    (charge,) = bed.charges()
    bed.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    assert (await bed.preview("growth")).credit_minor == 1_900
    found = next(each for each in await bed.reconcile() if each.what == "invoice")
    assert (found.what, found.healed) == ("invoice", True)
    assert "900 paid back" in found.theirs
    assert (await bed.preview("growth")).credit_minor == 1_000


async def test_a_credit_is_an_amount_that_the_currency_has(bed: Bed) -> None:
    for code, executions, price_minor in (("small", 3_000, 100_000), ("large", 30_000, 900_000)):
        terms = OfferTerms(code, "", executions, price_minor, "ISK", Interval.MONTH)
        await publish_offer(bed.services.database, OPERATOR, code=code, terms=terms, now=bed.now)
    await bed.subscribed("small")
    accepted(await bed.use(1_001))
    preview = await bed.preview("large")
    assert (preview.credit_minor, preview.amount_due_minor) == (66_600, 833_400)
    await bed.change("large")
    assert bed.charged_minor() == 100_000 + 833_400
