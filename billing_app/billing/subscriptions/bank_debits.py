"""Bank debits: payments that the bank decides on days after it was asked.

Until then nothing is given for them, but renewals (see dunning.py). When the bank does not pay,
the invoice of a pack is voided, since nothing was given for it, and nobody is charged for it
later. The invoice of a subscription stays payable, and pays for its period whenever it is paid.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import and_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.staff.audit.audit_writing import SystemAction, system_entry
from billing_app.billing.subscriptions.invoice_purposes import OVERAGE
from billing_app.billing.subscriptions.provider import ProviderInvoice, ProviderSnapshot
from billing_app.billing.subscriptions.provider_requests import (
    Operation,
    ProviderRequestPendingError,
)
from billing_app.billing.subscriptions.purchase_outcomes import (
    PaymentState,
    PurchaseOutcome,
    outcome_of,
)
from billing_app.billing.subscriptions.sold_lines import CHANGE, FIRST, RENEWAL, Sold
from billing_app.db.enums import InvoiceStatus
from billing_app.db.tables import AuditEntry, Invoice, ProviderCustomer, Subscription

# A debit takes at most so long (docs.stripe.com/payments/bank-debits).
BANK_DECIDES_WITHIN: Final = timedelta(days=14)
DECISION_SHOWN_FOR: Final = timedelta(days=3)
PACK_KEYS: Final = tuple(f"{each}-" for each in (Operation.BUY_PACK, Operation.TOP_UP))


class PaidFor(StrEnum):
    """`USAGE`: executions beyond a plan, on an invoice of their own. `OTHER`: a pack."""

    FIRST = "first"
    CHANGE = "change"
    RENEWAL = "renewal"
    USAGE = "usage"
    OTHER = "other"


REASONS: Final = {
    FIRST: PaidFor.FIRST,
    CHANGE: PaidFor.CHANGE,
    RENEWAL: PaidFor.RENEWAL,
}
PAID: Final = "The debit succeeded."
PAYABLE: Final = (
    "Nothing was charged. The invoice stays payable, and its period starts once it is paid."
)
NOT_PAID: Final = {
    PaidFor.FIRST: PAYABLE,
    PaidFor.CHANGE: PAYABLE,
    PaidFor.RENEWAL: "Nothing was charged. Grace counts from when the renewal was due.",
    PaidFor.USAGE: "Nothing was charged. The invoice stays payable.",
    PaidFor.OTHER: "Nothing was charged. The order of a pack is cancelled with its invoice.",
}


@dataclass(frozen=True, slots=True)
class BankDebit:
    """The newest debit of an invoice. `outcome`: asked, charged or declined. `name`: of what it
    pays for. `subscription_id`: the provider's; None: of no subscription."""

    invoice_id: str
    subscription_id: str | None
    paid_for: PaidFor
    name: str
    outcome: PurchaseOutcome
    asked_at: datetime
    decided_at: datetime | None


def bank_stamps(row: Invoice, invoice: ProviderInvoice, now: datetime) -> dict[str, Any]:
    """What changes of our copy of an invoice: the bank is asked, or has decided. One that was paid
    in another way afterwards is like any other."""
    is_paid = invoice.status is InvoiceStatus.PAID and row.status != InvoiceStatus.PAID
    if is_paid and row.bank_decided_at is not None:
        return {"bank_asked_at": None, "bank_decided_at": None}
    if invoice.is_processing and not row.is_processing:
        return {"bank_asked_at": now, "bank_decided_at": None, "bank_mailed_at": None}
    if row.is_processing and not invoice.is_processing:
        return {"bank_decided_at": now}
    return {}


def decision_entry(row: Invoice, now: datetime) -> AuditEntry | None:
    """The entry for staff about what the bank has just decided, as our copy of the invoice has it;
    None: nothing."""
    if row.bank_decided_at != now:
        return None
    debit = debit_of(row)
    is_paid, amount = debit.outcome.state is PaymentState.CHARGED, debit.outcome.amount
    return system_entry(
        row.account_id,
        SystemAction.DEBIT_PAID if is_paid else SystemAction.DEBIT_FAILED,
        now,
        subject=row.number or row.provider_id,
        reason=PAID if is_paid else NOT_PAID[debit.paid_for],
        after={"what_for": debit.name, "amount_minor": row.amount_due_minor}
        | ({"currency": amount.currency} if amount else {}),
    )


def prolonged_ends(
    sold: Iterable[tuple[ProviderInvoice, Sold]], ended: Container[str | None]
) -> dict[str, datetime]:
    """The plans that a change leaves, by their references, and until when they can be used while
    the bank decides on the change: time alone refuses nobody. Not of subscriptions in `ended`."""
    last: dict[str | None, str] = {}
    ends: dict[str, datetime] = {}
    for invoice, lines in sold:
        before = last.get(invoice.subscription_id)
        if before and invoice.is_processing and invoice.billing_reason == CHANGE:
            if invoice.subscription_id not in ended:
                ends[before] = invoice.issued_at + BANK_DECIDES_WITHIN
        elif any(line.is_period for _, line in lines):
            last[invoice.subscription_id] = lines[0][0]
    return ends


def packs_to_void(snapshot: ProviderSnapshot, asked: Container[str]) -> list[ProviderInvoice]:
    """Open invoices of packs whose debit failed. `asked`: invoices that the bank was asked for."""
    return [
        invoice
        for invoice in snapshot.invoices
        if invoice.status is InvoiceStatus.OPEN
        and not invoice.is_processing
        and invoice.request_key.startswith(PACK_KEYS)
        and invoice.provider_id in asked
    ]


async def asked_invoices(session: AsyncSession, customer_id: str) -> frozenset[str]:
    """The ids of a customer's open invoices that the bank was asked for."""
    query = (
        select(Invoice.provider_id)
        .join(ProviderCustomer, col(ProviderCustomer.account_id) == Invoice.account_id)
        .where(ProviderCustomer.customer_id == customer_id)
        .where(Invoice.status == InvoiceStatus.OPEN)
        .where(col(Invoice.bank_asked_at).is_not(None))
    )
    return frozenset((await session.exec(query)).all())


async def bank_debits(session: AsyncSession, account_id: int, now: datetime) -> list[BankDebit]:
    """Those that the bank has not decided on, those that are still to be paid, and what it decided
    lately, unless it was refunded since; oldest first."""
    decided = col(Invoice.bank_decided_at)
    query = (
        select(Invoice)
        .where(Invoice.account_id == account_id)
        .where(col(Invoice.bank_asked_at).is_not(None))
        .where(
            or_(
                decided.is_(None),
                and_(decided > now - DECISION_SHOWN_FOR, col(Invoice.refunded_minor) == 0),
                col(Invoice.status) == InvoiceStatus.OPEN,
            )
        )
        .order_by(col(Invoice.issued_at), col(Invoice.number))
    )
    return [debit_of(row) for row in (await session.exec(query)).all()]


def unpaid_start(debits: Iterable[BankDebit], subscription_id: str) -> BankDebit | None:
    """The newest debit that a subscription starts or changes with; None: it is paid, or void."""
    starts = [
        debit
        for debit in debits
        if debit.subscription_id == subscription_id
        and debit.paid_for in (PaidFor.FIRST, PaidFor.CHANGE)
    ]
    if not starts:
        return None
    is_void = starts[-1].decided_at is not None and starts[-1].outcome.payment_url is None
    return None if is_void else starts[-1]


def undecided_debit(debits: Iterable[BankDebit], subscription_id: str) -> BankDebit | None:
    """A debit of a subscription that the bank has not decided on; see require_no_debit."""
    for debit in debits:
        if debit.subscription_id == subscription_id and debit.decided_at is None:
            return debit
    return None


def debit_of(row: Invoice) -> BankDebit:
    assert row.bank_asked_at is not None
    return BankDebit(
        invoice_id=row.provider_id,
        subscription_id=row.subscription_provider_id,
        paid_for=_paid_for(row),
        name=_name(row),
        outcome=outcome_of(row),
        asked_at=row.bank_asked_at,
        decided_at=row.bank_decided_at,
    )


def _paid_for(row: Invoice) -> PaidFor:
    is_usage = row.what_for.startswith(OVERAGE)
    return REASONS.get(row.billing_reason, PaidFor.USAGE if is_usage else PaidFor.OTHER)


def _name(row: Invoice) -> str:
    """Of the first thing that an invoice sells, without its period."""
    if _paid_for(row) is PaidFor.USAGE:
        return OVERAGE.lower()
    first = row.what_for.partition("; ")[0]
    return first.rpartition(", ")[0] or first if row.subscription_provider_id else first


async def require_no_debit(session: AsyncSession, row: Subscription) -> None:
    """Raises ProviderRequestPendingError while the bank is asked for a payment of a subscription:
    its next change would credit what is not paid for yet, or charge for it again."""
    query = (
        select(Invoice)
        .where(Invoice.account_id == row.account_id)
        .where(Invoice.subscription_provider_id == row.provider_id)
        .where(Invoice.status == InvoiceStatus.OPEN)
        .where(col(Invoice.bank_asked_at).is_not(None))
        .where(col(Invoice.bank_decided_at).is_(None))
    )
    invoice = (await session.exec(query)).first()
    if invoice is not None:
        raise ProviderRequestPendingError(
            f"The bank has been asked for {outcome_of(invoice).amount}, which takes a few days."
            " The plan can be changed now once it has decided."
        )
