"""Grace and dunning: which plan each invoice of a customer entitles to. Pure.

It depends on the invoices alone, never on events and their order.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from billing_app.billing.subscriptions.bank_debits import BANK_DECIDES_WITHIN
from billing_app.billing.subscriptions.provider import (
    ProviderInvoice,
    ProviderSnapshot,
    Reversal,
    ReversalKind,
)
from billing_app.billing.subscriptions.sold_lines import CHANGE, FIRST, RENEWAL, period_start
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus

SMALL_DISPUTE_PERCENT: Final = 20
STARTS: Final = (FIRST, CHANGE)
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
    snapshot: ProviderSnapshot, *, grace_days: int, trusted: Collection[str] = ()
) -> dict[str, InvoiceEntitlement]:
    """By the invoice's id. The plan of an unpaid renewal lasts for the grace days, counted from
    when the first unpaid invoice of the subscription was due: the next renewal starts no new grace,
    and gives none to somebody who has not paid for the start. So does that of a first invoice that
    staff trust (`trusted`)."""
    paid_up = {
        each.provider_id
        for each in snapshot.subscriptions
        if each.status in (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)
    }
    result: dict[str, InvoiceEntitlement] = {}
    overdue: dict[str | None, datetime] = {}
    for invoice in snapshot.invoices:
        if _is_waived(invoice, is_paid_up=invoice.subscription_id in paid_up):
            entitlement = InvoiceEntitlement(Entitlement.STANDS)
        else:
            is_trusted = invoice.provider_id in trusted
            entitlement = _entitlement(invoice, grace_days, is_trusted=is_trusted)
            if invoice.status in UNPAID:
                entitlement = _since_first(invoice, entitlement, overdue, grace_days)
        result[invoice.provider_id] = entitlement
    return result


def _since_first(
    invoice: ProviderInvoice,
    entitlement: InvoiceEntitlement,
    overdue: dict[str | None, datetime],
    grace_days: int,
) -> InvoiceEntitlement:
    """Of an unpaid invoice: no longer than grace for the subscription's first unpaid one, whose end
    `overdue` keeps. A debit stops the clock of its own invoice only."""
    earlier = overdue.get(invoice.subscription_id)
    is_entitled = entitlement.kind is not Entitlement.NOTHING
    if is_entitled or invoice.billing_reason in STARTS:
        overdue.setdefault(invoice.subscription_id, _grace_ends_at(invoice, grace_days))
    if not is_entitled or earlier is None:
        return entitlement
    return InvoiceEntitlement(entitlement.kind, min(earlier, entitlement.suspend_at or earlier))


def _grace_ends_at(invoice: ProviderInvoice, grace_days: int) -> datetime:
    ends_at = _due_at(invoice) + timedelta(days=grace_days)
    is_debit = invoice.is_processing
    return max(ends_at, invoice.issued_at + BANK_DECIDES_WITHIN) if is_debit else ends_at


def _is_waived(invoice: ProviderInvoice, *, is_paid_up: bool) -> bool:
    """Whether nobody tries to collect a renewal of a subscription that owes nothing: collection is
    paused, and the customer retains access (docs.stripe.com/billing/subscriptions/pause-payment).
    """
    if invoice.billing_reason != RENEWAL or invoice.attempts or not is_paid_up:
        return False
    if invoice.status is InvoiceStatus.DRAFT:
        return not invoice.is_collecting
    is_sent = invoice.due_at is not None
    return not is_sent and invoice.status in (InvoiceStatus.UNCOLLECTIBLE, InvoiceStatus.VOID)


def _entitlement(
    invoice: ProviderInvoice, grace_days: int, *, is_trusted: bool
) -> InvoiceEntitlement:
    if invoice.status is InvoiceStatus.PAID:
        return _of_paid(invoice)
    if invoice.status is InvoiceStatus.VOID:
        return InvoiceEntitlement(Entitlement.ENDED)
    is_sent = invoice.due_at is not None
    is_billed = invoice.is_collecting or invoice.attempts or is_sent
    if not is_trusted and not (invoice.billing_reason == RENEWAL and is_billed):
        return InvoiceEntitlement(Entitlement.NOTHING)
    if invoice.is_processing:
        return InvoiceEntitlement(Entitlement.STANDS)
    return InvoiceEntitlement(Entitlement.STANDS, _due_at(invoice) + timedelta(days=grace_days))


def _due_at(invoice: ProviderInvoice) -> datetime:
    return max(invoice.issued_at, invoice.due_at or period_start(invoice) or invoice.issued_at)


def _is_small_dispute(invoice: ProviderInvoice, reversal: Reversal) -> bool:
    """Too small a part of the payment to stop the plan for it: staff see the dispute."""
    is_dispute = reversal.kind is not ReversalKind.REFUNDED
    return is_dispute and reversal.amount_minor * 100 < (
        SMALL_DISPUTE_PERCENT * invoice.amount_paid_minor
    )


def _of_paid(invoice: ProviderInvoice) -> InvoiceEntitlement:
    if invoice.reversal is None or _is_small_dispute(invoice, invoice.reversal):
        return InvoiceEntitlement(Entitlement.STANDS)
    if invoice.reversal.kind is ReversalKind.DISPUTED:
        return InvoiceEntitlement(Entitlement.STANDS, invoice.reversal.at)
    return InvoiceEntitlement(Entitlement.ENDED)
