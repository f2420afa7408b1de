"""Tells that a payment of an invoice failed, once for each attempt."""

from collections.abc import Iterable
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.account_record import NEWS_DAYS, InvoiceRecord
from billing_app.billing.account_events.changes import invoice_event
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import append
from billing_app.billing.subscriptions.provider import ProviderInvoice
from billing_app.db.enums import InvoiceStatus

UNPAID = frozenset({InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE})


async def tell_failed(
    session: AsyncSession, account_id: int, invoices: Iterable[ProviderInvoice], now: datetime
) -> None:
    """Append `invoice.failed` in the caller's transaction, for what the provider tried to charge
    and is not paid, nor being paid."""
    for invoice in filter(has_failed, invoices):
        if now - invoice.issued_at < NEWS_DAYS:
            record = InvoiceRecord(
                provider_id=invoice.provider_id,
                number=invoice.number,
                status=invoice.status,
                currency=invoice.currency,
                amount_due_minor=invoice.amount_due_minor,
                amount_paid_minor=invoice.amount_paid_minor,
                issued_at=invoice.issued_at,
            )
            key = f"{EventType.INVOICE_FAILED}:{invoice.provider_id}:{invoice.attempts}"
            event = invoice_event(EventType.INVOICE_FAILED, record, key)
            await append(session, account_id, event, now)


def has_failed(invoice: ProviderInvoice) -> bool:
    is_unpaid = invoice.status in UNPAID and invoice.amount_due_minor > 0
    return is_unpaid and invoice.attempts > 0 and not invoice.is_processing
