"""Grace and dunning: which plan each invoice of a customer entitles to. Pure.

It depends on the invoices alone, never on events and their order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from billing_app.billing.subscriptions.provider import ProviderInvoice, ReversalKind
from billing_app.db.enums import InvoiceStatus

RENEWAL: Final = "subscription_cycle"
CHANGE: Final = "subscription_update"
UNPAID: Final = frozenset({InvoiceStatus.DRAFT, InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE})


class Entitlement(StrEnum):
    """NOTHING: no plan. STANDS: a plan until `suspend_at`. ENDED: a plan that has ended."""

    NOTHING = "nothing"
    STANDS = "stands"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class InvoiceEntitlement:
    """`suspend_at`: from then on the plan allows no new executions; None: it is paid for."""

    kind: Entitlement
    suspend_at: datetime | None = None


def entitlements(
    invoices: Iterable[ProviderInvoice], *, grace_days: int
) -> list[tuple[ProviderInvoice, InvoiceEntitlement]]:
    """`invoices` are in order of issue. The plan of an unpaid renewal lasts for the grace days,
    counted from the first overdue one: the next renewal starts no new grace."""
    result: list[tuple[ProviderInvoice, InvoiceEntitlement]] = []
    overdue: dict[str | None, datetime] = {}
    for invoice in invoices:
        entitlement = _entitlement(invoice, grace_days)
        if invoice.status in UNPAID and entitlement.suspend_at is not None:
            first = overdue.setdefault(invoice.subscription_id, entitlement.suspend_at)
            entitlement = InvoiceEntitlement(entitlement.kind, min(first, entitlement.suspend_at))
        result.append((invoice, entitlement))
    return result


def _entitlement(invoice: ProviderInvoice, grace_days: int) -> InvoiceEntitlement:
    if invoice.status is InvoiceStatus.PAID:
        return _of_paid(invoice)
    if invoice.status is InvoiceStatus.VOID:
        return InvoiceEntitlement(Entitlement.ENDED)
    if invoice.billing_reason != RENEWAL or not (invoice.is_collecting or invoice.attempts):
        return InvoiceEntitlement(Entitlement.NOTHING)
    due_at = max(invoice.issued_at, invoice.period_start or invoice.issued_at)
    return InvoiceEntitlement(Entitlement.STANDS, due_at + timedelta(days=grace_days))


def _of_paid(invoice: ProviderInvoice) -> InvoiceEntitlement:
    if invoice.reversal is None:
        return InvoiceEntitlement(Entitlement.STANDS)
    if invoice.reversal.kind is ReversalKind.DISPUTED:
        return InvoiceEntitlement(Entitlement.STANDS, invoice.reversal.at)
    return InvoiceEntitlement(Entitlement.ENDED)
