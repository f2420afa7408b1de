"""Open invoices of subscriptions that have ended: voided once, unless they are being paid."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from billing_app.billing.subscriptions.ended_invoices import to_void
from billing_app.billing.subscriptions.provider import (
    InvoiceLine,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus, When
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, accepted
from tests.payments.database_copies import Copies
from tests.payments.test_net_terms import NOW, on_net_terms, open_invoice

pytestmark = pytest.mark.stripe_test_mode

ENDED_AT: Final = NOW + timedelta(days=5)
ENDED: Final = ProviderSubscription(
    provider_id="sub_1",
    customer_id="cus_1",
    status=SubscriptionStatus.CANCELED,
    items=[],
    next_price_ids=[],
    cancel_at=None,
    is_collecting=True,
    ended_at=ENDED_AT,
    request_key="",
)


async def overdue(harness: BillingHarness) -> str:
    """A renewal whose card fails; its invoice."""
    found = await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    harness.skip((found.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    invoice = harness.invoices()[-1]
    assert invoice.status == "open"
    return str(invoice.id)


def status_of(harness: BillingHarness, invoice_id: str) -> str | None:
    return harness.client.v1.invoices.retrieve(invoice_id).status


def voids(harness: BillingHarness) -> int:
    return sum(each["path"].endswith("/void") for each in harness.sandbox.requests())


async def test_cancelling_voids_what_is_open(harness: BillingHarness) -> None:
    invoice_id = await overdue(harness)
    await harness.cancel(When.NOW)
    assert status_of(harness, invoice_id) == "void"
    await harness.deliver()
    assert (invoice_id, "void") in harness.rows("SELECT provider_id, status FROM invoices")
    assert await harness.reconcile() == []
    assert (voids(harness), harness.charged_minor()) == (1, 1_900)


async def test_used_period_on_net_terms_is_owed(harness: BillingHarness) -> None:
    """It was given before it was paid: cancelling does not make it free."""
    await on_net_terms(harness)
    accepted(await harness.use(5_000))
    invoice_id = str(harness.invoices()[-1].id)
    await harness.cancel(When.NOW)
    await harness.deliver()
    assert status_of(harness, invoice_id) == "open"
    assert await harness.reconcile() == []
    method = harness.use_card("pm_card_visa")
    harness.client.v1.invoices.pay(invoice_id, {"payment_method": method})
    await harness.deliver()
    assert (harness.charged_minor(), await harness.denied() != "") == (3_800, True)
    assert await harness.reconcile() == []


async def test_last_failed_attempt_voids_it(harness: BillingHarness) -> None:
    invoice_id = await overdue(harness)
    for _ in range(30):
        harness.skip(DAY)
        await harness.deliver()
    assert await harness.subscription() is None
    assert status_of(harness, invoice_id) == "void"


async def test_end_that_was_missed_is_found_by_reconciliation(harness: BillingHarness) -> None:
    invoice_id = await overdue(harness)
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)
    harness.missed()
    (found,) = [each for each in await harness.reconcile(dry_run=True) if each.what == "invoice"]
    assert "open after its subscription ended" in found.theirs
    assert status_of(harness, invoice_id) == "open"
    assert all(each.healed for each in await harness.reconcile())
    assert status_of(harness, invoice_id) == "void"


async def test_voiding_that_fails_is_tried_again(harness: BillingHarness) -> None:
    invoice_id = await overdue(harness)
    harness.sandbox.fault(kind="status", status=500, path="/v1/invoices/*/void", times=9)
    await harness.cancel(When.NOW)
    assert await harness.subscription() is None
    assert status_of(harness, invoice_id) == "open"
    harness.sandbox.http.delete("/_sandbox/faults")
    await harness.reconcile()
    assert status_of(harness, invoice_id) == "void"


async def test_copy_voids_nothing(harness: BillingHarness, server_url: str) -> None:
    invoice_id, copies = await overdue(harness), Copies(server_url)
    copy = await copies.of(harness)
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)
    await copy.deliver()
    assert await copy.subscription() is None
    assert status_of(harness, invoice_id) == "open"
    await harness.deliver()
    assert status_of(harness, invoice_id) == "void"
    await copies.close()


def snapshot_of(invoice: ProviderInvoice) -> ProviderSnapshot:
    return ProviderSnapshot("cus_1", [ENDED], [invoice])


def with_line(invoice: ProviderInvoice, **values: Any) -> ProviderInvoice:
    line: InvoiceLine = replace(invoice.lines[0], line_id="il_2", **values)
    return replace(invoice, lines=[*invoice.lines, line])


OPEN: Final = open_invoice(is_processing=False)
SENT: Final = replace(OPEN, due_at=NOW + timedelta(days=30))


def test_used_one_is_voided_unless_it_was_given_on_trust() -> None:
    used = {OPEN.provider_id}
    assert to_void(snapshot_of(OPEN), {"price_1"}, used) == [OPEN]
    assert to_void(snapshot_of(SENT), {"price_1"}, used) == []


@pytest.mark.parametrize(
    ("invoice", "is_voided"),
    [
        (OPEN, True),
        (SENT, True),
        (replace(SENT, lines=[replace(SENT.lines[0], period_end=ENDED_AT)]), False),
        (replace(OPEN, is_processing=True), False),
        (replace(OPEN, status=InvoiceStatus.DRAFT), False),
        (replace(OPEN, status=InvoiceStatus.UNCOLLECTIBLE), False),
        (replace(OPEN, subscription_id=None), False),
        (with_line(OPEN, price_id="price_metered"), False),
        (with_line(OPEN, is_period=False), False),
        (with_line(OPEN, price_id="price_metered", amount_minor=0), True),
    ],
)
def test_what_is_voided(invoice: ProviderInvoice, is_voided: bool) -> None:
    found = to_void(snapshot_of(invoice), {"price_1"})
    assert (found == [invoice]) is is_voided
