"""Subscriptions and changes whose debit the bank did not pay, until the next period and beyond:
what was never paid for gives nothing, however often it renews."""

from dataclasses import replace
from datetime import timedelta

import pytest

from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.bank_debits import BANK_DECIDES_WITHIN
from billing_app.billing.subscriptions.dunning import entitlements
from billing_app.billing.subscriptions.provider import ProviderInvoice, ProviderSnapshot
from billing_app.billing.subscriptions.sold_lines import CHANGE, FIRST, RENEWAL
from billing_app.db.enums import When
from billing_app.states import payments
from billing_app.states.payment_words import debit_messages
from tests.payments.billing_harness import DAY, GRACE_DAYS, BillingHarness
from tests.payments.test_debit_outcomes import (
    changing,
    decided,
    differences,
    first,
    invoice_status,
    summary_of,
)
from tests.payments.test_net_terms import NOW, open_invoice
from tests.payments.test_slow_debits import decide

__all__ = ["changing", "first"]
MONTH = timedelta(days=31)
GRACE = timedelta(days=GRACE_DAYS)


async def next_period(harness: BillingHarness) -> AccountSummary:
    """A period later; Stripe has asked the bank again for what is open, and for the renewal."""
    for _ in range(5):
        harness.skip(7 * DAY)
        await harness.deliver()
        await harness.deliver()
    renewal = harness.invoices()[-1]
    assert (renewal.billing_reason, renewal.status) == (RENEWAL, "open")
    return await summary_of(harness)


async def test_renewal_of_what_was_never_paid_gives_nothing(first: BillingHarness) -> None:
    await decided(first, succeeds=False)
    summary = await next_period(first)
    assert await first.denied() == "payment_past_due"
    texts = [message.text for message in debit_messages(summary)]
    assert texts == [
        "This can take a few days. Starter starts as soon as your bank has paid.",
        "This can take a few days.",
    ]
    assert first.charged_minor() == 0
    assert await differences(first) == []


async def test_renewal_of_a_change_that_was_not_paid_gives_nothing(
    changing: BillingHarness,
) -> None:
    await decided(changing, succeeds=False)
    assert await changing.denied() == ""
    await next_period(changing)
    assert await changing.denied() == "payment_past_due"
    assert changing.charged_minor() == 1_900
    assert await differences(changing) == []


async def test_card_pays_for_the_start_and_the_renewal(first: BillingHarness) -> None:
    await decided(first, succeeds=False)
    for _ in range(4):
        first.skip(7 * DAY)
        await first.deliver()
    decide(first, succeeds=False)
    first.skip(7 * DAY)
    await first.deliver()
    method = first.use_card("pm_card_visa")
    for invoice in first.invoices():
        if invoice.status == "open":
            first.client.v1.invoices.pay(invoice.id or "", {"payment_method": method})
    await first.deliver()
    assert await first.denied() == ""
    assert first.charged_minor() == 2 * 1_900
    assert await differences(first) == []


async def test_debit_of_a_cancelled_subscription_says_nothing_of_the_next_one(
    first: BillingHarness,
) -> None:
    await first.cancel(When.NOW)
    first.use_card("pm_card_visa")
    await first.begin("growth")
    await first.deliver()
    summary = await summary_of(first)
    assert summary.unpaid_start is None
    assert payments.terms_of(summary).text.startswith("Renews on ")
    (message,) = debit_messages(summary)
    assert message.title == "Your bank has been asked for $19.00"
    decide(first, succeeds=False)
    await first.deliver()
    await first.deliver()
    assert invoice_status(first) == "paid"
    assert first.charged_minor() == 7_900
    assert await differences(first) == []


def invoice(reason: str, *, days: int = 0, is_processing: bool = False) -> ProviderInvoice:
    found = open_invoice(is_processing=is_processing)
    at = NOW + timedelta(days=days)
    lines = [replace(line, period_start=at, period_end=at + MONTH) for line in found.lines]
    return replace(
        found, provider_id=f"in_{reason}_{days}", billing_reason=reason, issued_at=at, lines=lines
    )


@pytest.mark.parametrize("reason", [FIRST, CHANGE, RENEWAL])
@pytest.mark.parametrize(("is_asked", "is_asked_again"), [(False, False), (False, True)])
def test_grace_counts_from_the_first_unpaid_invoice(
    reason: str, is_asked: bool, is_asked_again: bool
) -> None:
    """A debit stops the clock of its own invoice, not of those before it."""
    before = invoice(reason, is_processing=is_asked)
    renewal = invoice(RENEWAL, days=31, is_processing=is_asked_again)
    given = entitlements(ProviderSnapshot("cus_1", [], [before, renewal]), grace_days=GRACE_DAYS)
    assert given[renewal.provider_id].suspend_at == NOW + GRACE


@pytest.mark.parametrize("reason", [FIRST, CHANGE, RENEWAL])
def test_renewal_waits_for_the_first_answer_of_the_bank(reason: str) -> None:
    """What begins while the bank still has its days to decide lasts until it must have."""
    before = invoice(reason, is_processing=True)
    renewal = invoice(RENEWAL, days=5, is_processing=True)
    given = entitlements(ProviderSnapshot("cus_1", [], [before, renewal]), grace_days=GRACE_DAYS)
    assert given[before.provider_id].suspend_at is None
    assert given[renewal.provider_id].suspend_at == NOW + max(GRACE, BANK_DECIDES_WITHIN)
