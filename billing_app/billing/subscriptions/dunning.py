"""What each invoice of a customer is worth in plans. Pure: invoices in, standings out.

It depends on the invoices alone, never on which event told of them or when.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from billing_app.billing.subscriptions.provider import InvoiceFacts, ReversalKind
from billing_app.db.enums import InvoiceStatus

RENEWAL: Final = "subscription_cycle"
CHANGE: Final = "subscription_update"
UNPAID: Final = frozenset({InvoiceStatus.DRAFT, InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE})


class Worth(StrEnum):
    """NOTHING: no plan. STANDS: a plan until `stops_at`. ENDED: a plan that is over."""

    NOTHING = "nothing"
    STANDS = "stands"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Standing:
    """`stops_at`: from then on nothing new is taken from the plan; None: it is paid for."""

    worth: Worth
    stops_at: datetime | None = None


def standings(
    invoices: Iterable[InvoiceFacts], *, grace_days: int
) -> list[tuple[InvoiceFacts, Standing]]:
    """Of invoices in the order of their issue. A renewal that is not paid stands for the days of
    grace, counted from the first one that is overdue: the next renewal begins no new ones."""
    found: list[tuple[InvoiceFacts, Standing]] = []
    overdue: dict[str | None, datetime] = {}
    for invoice in invoices:
        standing = _standing(invoice, grace_days)
        if invoice.status in UNPAID and standing.stops_at is not None:
            first = overdue.setdefault(invoice.subscription_id, standing.stops_at)
            standing = Standing(standing.worth, min(first, standing.stops_at))
        found.append((invoice, standing))
    return found


def _standing(invoice: InvoiceFacts, grace_days: int) -> Standing:
    if invoice.status is InvoiceStatus.PAID:
        return _of_paid(invoice)
    if invoice.status is InvoiceStatus.VOID:
        return Standing(Worth.ENDED)
    if invoice.billing_reason != RENEWAL or not (invoice.is_collecting or invoice.attempts):
        return Standing(Worth.NOTHING)
    due_at = max(invoice.issued_at, invoice.period_start or invoice.issued_at)
    return Standing(Worth.STANDS, due_at + timedelta(days=grace_days))


def _of_paid(invoice: InvoiceFacts) -> Standing:
    if invoice.reversal is None:
        return Standing(Worth.STANDS)
    if invoice.reversal.kind is ReversalKind.DISPUTED:
        return Standing(Worth.STANDS, invoice.reversal.at)
    return Standing(Worth.ENDED)
