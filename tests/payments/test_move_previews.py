"""What a move would charge, now and next, is told exactly and charged."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OfferUnknownError, publish_offer
from billing_app.billing.staff.repairs.moves import (
    NoSubscriptionError,
)
from billing_app.billing.staff.repairs.repair import AlreadyInStateError
from billing_app.billing.subscriptions.errors import (
    CurrencyDiffersError,
    QuoteOutdatedError,
    SameOfferError,
)
from billing_app.billing.subscriptions.proration import PREVIEW_VALID_FOR
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.db.enums import Interval, StaffRole, When
from tests import factories
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, accepted
from tests.payments.test_moves import entries, move, preview, second_version
from tests.payments.test_overage import SOFT
from tests.payments.test_overage_reports import begun, renew, report

pytestmark = pytest.mark.stripe_test_mode


@pytest.fixture
def billing(own_database_url: str) -> StaffActor:
    return factories.staff_member(own_database_url, StaffRole.BILLING)


@pytest.mark.parametrize("used", [0, 1_300, 5_000])
async def test_previewed_charge_is_invoiced(
    harness: BillingHarness, billing: StaffActor, used: int
) -> None:
    await harness.subscribed("starter")
    if used:
        accepted(await harness.use(used))
    before = harness.snapshot()
    found = await preview(harness, billing, "growth", when=When.NOW)
    assert harness.snapshot() == before
    assert await entries(harness) == []
    assert (found.old.code, found.change.offer.code) == ("starter", "growth")
    accepted(await harness.use(700)) if used < 5_000 else None
    entry = await move(harness, billing, "growth", when=When.NOW, agreed=found)
    newest = harness.invoices()[-1]
    assert newest.amount_due == found.charged_minor
    assert newest.amount_paid == found.charged_minor
    assert sum(line.amount_minor for line in found.change.lines) == found.charged_minor
    assert harness.charged_minor() == 1_900 + found.charged_minor
    assert entry.after["charged_minor"] == found.charged_minor
    renewed = await harness.live()
    assert abs(renewed.period_end - found.next_invoice.at) < timedelta(minutes=1)
    harness.skip((found.next_invoice.at - harness.now).total_seconds() + DAY)
    await harness.deliver()
    assert harness.invoices()[-1].amount_due == found.next_invoice.amount_minor
    assert harness.charged_minor() == 1_900 + found.charged_minor + found.next_invoice.amount_minor


async def test_previewed_next_invoice_is_issued(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    found = await preview(harness, billing, "growth")
    assert (found.charged_minor, found.when) == (0, When.PERIOD_END)
    await move(harness, billing, "growth", agreed=found)
    assert harness.charged_minor() == 1_900
    harness.skip((found.next_invoice.at - harness.now).total_seconds() + DAY)
    await harness.deliver()
    assert harness.charged_minor() == 1_900 + found.next_invoice.amount_minor


async def test_agreed_preview_expires(harness: BillingHarness, billing: StaffActor) -> None:
    await harness.subscribed("starter")
    found = await preview(harness, billing, "growth", when=When.NOW)
    quoted_at = harness.now - PREVIEW_VALID_FOR - timedelta(seconds=1)
    outdated = replace(found, change=replace(found.change, quoted_at=quoted_at))
    with pytest.raises(QuoteOutdatedError):
        await move(harness, billing, "growth", when=When.NOW, agreed=outdated)
    second_version(harness, "growth", 9_900)
    with pytest.raises(QuoteOutdatedError):
        await move(harness, billing, "growth", version=2, when=When.NOW, agreed=found)
    assert (await harness.live()).offer.code == "starter"
    assert harness.charged_minor() == 1_900
    assert await entries(harness) == []


async def test_trial_moved_now_is_charged_in_full(
    harness: BillingHarness, billing: StaffActor
) -> None:
    terms = OfferTerms("Tried", "", 5_000, 1_900, "USD", Interval.MONTH, trial_days=14)
    database = harness.services.database
    await publish_offer(database, OPERATOR, code="tried", terms=terms, now=harness.now)
    await harness.subscribed("tried")
    found = await preview(harness, billing, "growth", when=When.NOW)
    assert (found.charged_minor, found.change.credit_minor) == (7_900, 0)
    await move(harness, billing, "growth", when=When.NOW, agreed=found)
    assert harness.charged_minor() == 7_900


async def test_no_preview_without_answer_from_stripe(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    harness.sandbox.control("faults", kind="status", path="/v1/invoices*", times=99, status=503)
    with pytest.raises(PaymentProviderUnavailableError):
        await preview(harness, billing, "growth", when=When.NOW)
    later = await preview(harness, billing, "growth")
    assert later.next_invoice.amount_minor == 7_900
    harness.sandbox.http.delete("/_sandbox/faults")
    assert (await preview(harness, billing, "growth", when=When.NOW)).charged_minor == 6_000
    assert await entries(harness) == []


async def test_impossible_moves_are_not_previewed(
    harness: BillingHarness, billing: StaffActor
) -> None:
    with pytest.raises(NoSubscriptionError):
        await preview(harness, billing, "growth")
    await harness.subscribed("starter")
    for when in When:
        for offer, error in (
            ("nothing", OfferUnknownError),
            ("pack", InvalidInputError),
            ("starter", SameOfferError),
            ("euros", CurrencyDiffersError),
        ):
            with pytest.raises(error):
                await preview(harness, billing, offer, when=when)
    await move(harness, billing, "growth")
    with pytest.raises(AlreadyInStateError):
        await preview(harness, billing, "growth")


async def soft_and_over(harness: BillingHarness) -> None:
    """On a plan with a soft limit, with 640 overage executions."""
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await begun(harness, "soft")
    accepted(await harness.use(1_640))


async def test_move_now_bills_overage(harness: BillingHarness, billing: StaffActor) -> None:
    await soft_and_over(harness)
    found = await preview(harness, billing, "growth", when=When.NOW)
    assert (found.change.overage_executions, found.change.overage_minor) == (640, 350)
    assert found.charged_minor == 7_900 + 350
    assert found.next_invoice.overage_minor == 0
    accepted(await harness.use(10))
    await move(harness, billing, "growth", when=When.NOW, agreed=found)
    assert harness.charged_minor() == 1_000 + found.charged_minor


async def test_previewed_next_invoice_shows_overage(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await soft_and_over(harness)
    found = await preview(harness, billing, "growth")
    assert found.next_invoice.overage_minor == 350
    await move(harness, billing, "growth", agreed=found)
    harness.skip(HOUR)
    await report(harness)
    await renew(harness)
    charged = harness.charged_minor() - 1_000
    assert charged == found.next_invoice.amount_minor + found.next_invoice.overage_minor
