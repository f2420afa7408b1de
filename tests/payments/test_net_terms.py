"""Invoices that are sent to be paid within a number of days, and payments that take days."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.subscriptions.account_alerts import Stop, StopKind, read_stop
from billing_app.billing.subscriptions.dunning import Entitlement, entitlements
from billing_app.billing.subscriptions.provider import (
    InvoiceLine,
    ProviderInvoice,
    ProviderSnapshot,
)
from billing_app.db.enums import InvoiceStatus
from billing_app.states.banner import banner_of
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, GRACE_DAYS, HOUR, BillingHarness

pytestmark = pytest.mark.stripe_test_mode

NET_DAYS = 30
NOW = datetime(2026, 11, 30, tzinfo=UTC)


async def on_net_terms(harness: BillingHarness) -> None:
    """Subscribed, with renewals that are sent and due in 30 days."""
    found = await harness.subscribed("starter")
    terms: Any = {"collection_method": "send_invoice", "days_until_due": NET_DAYS}
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, terms)
    harness.skip((found.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()


async def stop_of(harness: BillingHarness) -> Stop | None:
    database = harness.services.database
    return await read_stop(database, OPERATOR, harness.holder.account_id, harness.now)


async def test_grace_counts_from_the_due_date(harness: BillingHarness) -> None:
    await on_net_terms(harness)
    harness.skip((GRACE_DAYS + 1) * DAY)
    await harness.deliver()
    assert await harness.denied() == ""
    assert await stop_of(harness) is None
    renewal = harness.invoices()[-1]
    assert renewal.due_date is not None
    (plan,) = [each for each in harness.plans() if each["source_reference"] == renewal.id]
    due_at = datetime.fromtimestamp(renewal.due_date, UTC)
    assert plan["suspended_at"] == due_at + timedelta(days=GRACE_DAYS)


async def test_sent_invoice_that_is_paid_in_time_stops_nothing(harness: BillingHarness) -> None:
    await on_net_terms(harness)
    harness.skip(20 * DAY)
    method = harness.use_card("pm_card_visa")
    harness.client.v1.invoices.pay(str(harness.invoices()[-1].id), {"payment_method": method})
    await harness.deliver()
    assert await stop_of(harness) is None
    assert await harness.denied() == ""


def test_banner_says_when_it_was_due() -> None:
    stop = Stop(
        kind=StopKind.PAST_DUE,
        plan_name="Starter",
        at=NOW + timedelta(days=6),
        is_in_force=False,
        amount_due_minor=1_900,
        currency="USD",
        page_url="",
        executions_elsewhere=0,
        due_at=NOW - timedelta(days=1),
    )
    title = banner_of(stop, may_manage=True, managers="").title
    assert title == "$19.00 for Starter was due on 29 November 2026"


def test_payment_that_is_processing_stops_the_clock() -> None:
    kinds = [
        entitlements(_snapshot(is_processing=is_processing), grace_days=GRACE_DAYS)["in_1"]
        for is_processing in (False, True)
    ]
    assert [each.kind for each in kinds] == [Entitlement.STANDS] * 2
    assert kinds[0].suspend_at == NOW + timedelta(days=GRACE_DAYS)
    assert kinds[1].suspend_at is None


def _snapshot(*, is_processing: bool) -> ProviderSnapshot:
    return ProviderSnapshot("cus_1", [], [open_invoice(is_processing=is_processing)])


def open_invoice(*, is_processing: bool) -> ProviderInvoice:
    line = InvoiceLine(
        line_id="il_1",
        price_id="price_1",
        description="",
        quantity=1,
        amount_minor=1_900,
        net_minor=1_900,
        period_start=NOW,
        period_end=NOW + timedelta(days=30),
        is_period=True,
        is_proration=False,
        overage_of=None,
    )
    return ProviderInvoice(
        provider_id="in_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        number="1",
        status=InvoiceStatus.OPEN,
        billing_reason="subscription_cycle",
        currency="USD",
        amount_due_minor=1_900,
        amount_paid_minor=0,
        refunded_minor=0,
        total_minor=1_900,
        waived_minor=0,
        lines=[line],
        request_key="",
        is_collecting=True,
        attempts=1,
        due_at=None,
        is_processing=is_processing,
        paid_at=None,
        reversal=None,
        page_url="",
        pdf_url="",
        issued_at=NOW,
    )
