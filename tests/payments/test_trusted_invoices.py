"""A first invoice on net terms that staff trust: its period now, counted once, ended by dunning."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError, ConflictError
from billing_app.billing.staff.access.permissions import OverLimitError
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.repair import AlreadyInStateError
from billing_app.billing.staff.repairs.service import NotUndoableError, carry_out, review, undo
from billing_app.billing.staff.repairs.trusted_invoices import (
    TRUST_INVOICE,
    InvoiceNotFoundError,
    Trust,
    list_trustable,
)
from billing_app.db.enums import StaffRole, When
from billing_app.states.staff.review_lines import review_lines
from tests import factories
from tests.payments.billing_harness import DAY, GRACE_DAYS, HOUR, BillingHarness, accepted
from tests.payments.test_quantities import price_of

pytestmark = pytest.mark.stripe_test_mode

NET_DAYS = 14


@pytest.fixture
def billing(own_database_url: str) -> StaffActor:
    return factories.staff_member(own_database_url, StaffRole.BILLING)


@pytest.fixture
async def first_invoice(harness: BillingHarness) -> str:
    """Of a subscription that sales made in the dashboard, due in 14 days."""
    await harness.begin("starter")
    body: Any = {
        "customer": harness.customer_id(),
        "items": [{"price": price_of(harness, "starter")}],
        "collection_method": "send_invoice",
        "days_until_due": NET_DAYS,
    }
    harness.client.v1.subscriptions.create(body)
    await harness.deliver()
    return str(harness.invoices()[-1].id)


async def trust(harness: BillingHarness, actor: StaffActor, invoice_id: str) -> EntryView:
    return await carry_out(
        harness.services.repairs,
        actor,
        TRUST_INVOICE,
        harness.holder.account_id,
        Trust(invoice_id),
        reason="Signed contract",
        now=harness.now,
    )


async def test_period_is_given_at_once_and_counted_once(
    harness: BillingHarness, billing: StaffActor, first_invoice: str
) -> None:
    assert await harness.denied() == "plan_not_found"
    account_id = harness.holder.account_id
    rows = await list_trustable(harness.services.database, billing, account_id)
    assert [row.provider_id for row in rows] == [first_invoice]
    form = Trust(first_invoice)
    reviewed = await review(
        harness.services.repairs,
        billing,
        TRUST_INVOICE,
        account_id,
        form,
        account_id=account_id,
        now=harness.now,
    )
    assert "5,000 executions of Starter can be used now" in review_lines(reviewed)[0]
    entry = await trust(harness, billing, first_invoice)
    assert (entry.subject, entry.after["executions"]) == (first_invoice, 5_000)
    accepted(await harness.use(1_000))
    assert await harness.reconcile() == []
    assert await list_trustable(harness.services.database, billing, account_id) == []
    method = harness.use_card("pm_card_visa")
    harness.client.v1.invoices.pay(first_invoice, {"payment_method": method})
    await harness.deliver()
    (plan,) = harness.plans()
    assert (plan["executions"], plan["used"], plan["suspended_at"]) == (5_000, 1_000, None)
    assert harness.charged_minor() == 1_900
    assert await harness.reconcile() == []


async def test_unpaid_it_stops_when_grace_ends(
    harness: BillingHarness, billing: StaffActor, first_invoice: str
) -> None:
    await trust(harness, billing, first_invoice)
    due = harness.client.v1.invoices.retrieve(first_invoice).due_date
    assert due is not None
    (plan,) = harness.plans()
    assert plan["suspended_at"] == datetime.fromtimestamp(due, UTC) + timedelta(days=GRACE_DAYS)
    harness.skip((NET_DAYS + GRACE_DAYS) * DAY - HOUR)
    await harness.deliver()
    assert await harness.denied() == ""
    harness.skip(2 * HOUR)
    assert await harness.denied() == "payment_past_due"
    method = harness.use_card("pm_card_visa")
    harness.client.v1.invoices.pay(first_invoice, {"payment_method": method})
    await harness.deliver()
    assert await harness.denied() == ""


async def test_it_ends_with_its_subscription(
    harness: BillingHarness, billing: StaffActor, first_invoice: str
) -> None:
    await trust(harness, billing, first_invoice)
    await harness.cancel(When.NOW)
    await harness.deliver()
    assert await harness.denied() != ""
    assert harness.client.v1.invoices.retrieve(first_invoice).status == "void"
    assert await harness.reconcile() == []


async def test_what_cannot_be_trusted(
    harness: BillingHarness, billing: StaffActor, first_invoice: str
) -> None:
    support = factories.staff_member(harness.url, StaffRole.SUPPORT)
    with pytest.raises(OverLimitError):
        await trust(harness, support, first_invoice)
    with pytest.raises(InvoiceNotFoundError):
        await trust(harness, billing, "in_of_others")
    entry = await trust(harness, billing, first_invoice)
    with pytest.raises(AlreadyInStateError):
        await trust(harness, billing, first_invoice)
    with pytest.raises(NotUndoableError):
        await undo(harness.services.repairs, billing, entry.id, reason="No", now=harness.now)


async def test_paid_invoice_needs_no_trust(harness: BillingHarness, billing: StaffActor) -> None:
    await harness.subscribed("starter")
    with pytest.raises(ConflictError):
        await trust(harness, billing, str(harness.invoices()[-1].id))


async def test_nothing_is_trusted_while_stripe_does_not_answer(
    harness: BillingHarness, billing: StaffActor, first_invoice: str
) -> None:
    harness.sandbox.fault(kind="status", status=503, path="/v1/subscriptions", times=9)
    with pytest.raises(BillingError):
        await trust(harness, billing, first_invoice)
    harness.sandbox.http.delete("/_sandbox/faults")
    assert harness.plans() == []
    assert harness.rows("SELECT trusted_at FROM invoices WHERE trusted_at IS NOT NULL") == []
    assert harness.rows("SELECT 1 FROM audit_entries") == []
    await trust(harness, billing, first_invoice)
    assert await harness.denied() == ""


async def test_plan_follows_by_reconciliation_when_stripe_fails_once_it_is_trusted(
    harness: BillingHarness, billing: StaffActor, first_invoice: str
) -> None:
    harness.sandbox.fault(kind="status", status=503, path="/v1/subscriptions", times=9, skip=1)
    entry = await trust(harness, billing, first_invoice)
    harness.sandbox.http.delete("/_sandbox/faults")
    assert (entry.after["executions"], harness.plans()) == (5_000, [])
    assert [each.healed for each in await harness.reconcile()] == [True]
    assert await harness.denied() == ""
