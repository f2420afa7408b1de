"""What was last read of a customer at the provider, and what a newer read makes of it.

An event re-reads what it is about; the rest of the customer comes from the mirror. Invoices that
are paid or void no longer change, but for what is refunded or disputed of their payments, which
has events of its own. All others are read again with each read, together with the new ones, so that
plans are made in the order of the invoices whatever the order of their events.

Reads have numbers, in the order in which they began. Of two reads of an object the one that began
later holds. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from billing_app.billing.subscriptions.provider import (
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.db.enums import InvoiceStatus

SETTLED: Final = (InvoiceStatus.PAID, InvoiceStatus.VOID)


@dataclass(frozen=True, slots=True)
class ProviderChange:
    """What an event says has changed: an invoice, what was returned of a payment, or else a
    subscription or a payment method."""

    invoice_id: str = ""
    payment_id: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceRead:
    """An invoice, and the numbers of the last reads of it and of what was returned of it."""

    invoice: ProviderInvoice
    number: int
    returned_number: int

    @property
    def is_settled(self) -> bool:
        return self.invoice.status in SETTLED


@dataclass(frozen=True, slots=True)
class RecentInvoices:
    """All invoices after the one with the id `after`; None: all there are."""

    after: str | None
    invoices: Sequence[ProviderInvoice]


@dataclass(frozen=True, slots=True)
class CustomerRead:
    """What one read fetched. `single`: an invoice with what was returned of it, if
    `has_returned`. `is_whole`: everything, with all that was returned."""

    customer_id: str
    number: int
    subscriptions: list[ProviderSubscription] | None = None
    recent: RecentInvoices | None = None
    single: ProviderInvoice | None = None
    has_returned: bool = False
    is_whole: bool = False

    @property
    def is_current(self) -> bool:
        """Whether all that may still change was read."""
        return self.subscriptions is not None and self.recent is not None


@dataclass(frozen=True, slots=True)
class Mirror:
    """`subscriptions` and `invoices`: oldest first."""

    customer_id: str
    subscriptions: list[ProviderSubscription]
    read_number: int
    whole_number: int
    invoices: list[InvoiceRead] = field(default_factory=list[InvoiceRead])

    @property
    def snapshot(self) -> ProviderSnapshot:
        invoices = [each.invoice for each in self.invoices]
        return ProviderSnapshot(self.customer_id, self.subscriptions, invoices)

    @property
    def last_settled(self) -> str | None:
        """The newest invoice up to which all are settled; None: the first one is not."""
        found: str | None = None
        for each in self.invoices:
            if not each.is_settled:
                break
            found = each.invoice.provider_id
        return found

    def about(self, change: ProviderChange) -> InvoiceRead | None:
        """The invoice that changed, or whose payment did."""
        for each in self.invoices:
            is_paid_by = change.payment_id and change.payment_id in each.invoice.payment_ids
            if is_paid_by or each.invoice.provider_id == change.invoice_id:
                return each
        return None

    def covers(self, change: ProviderChange, arrival_number: int) -> bool:
        """Whether what an event is about was read after its arrival."""
        row = self.about(change)
        if change.payment_id:
            return row is not None and row.returned_number > arrival_number
        if change.invoice_id:
            return row is not None and row.number > arrival_number
        return self.read_number > arrival_number


def merged(mirror: Mirror | None, read: CustomerRead) -> Mirror | None:
    """The mirror with what was read. None: it does not fit, everything must be read."""
    if read.is_whole:
        before = mirror or Mirror(read.customer_id, [], 0, 0)
    elif mirror is None:
        return None
    else:
        before = mirror
    invoices = _with_recent(before.invoices, read)
    invoices = _with_single(invoices, read) if invoices is not None else None
    if invoices is None:
        return None
    is_newer = read.subscriptions is not None and read.number > before.read_number
    return Mirror(
        read.customer_id,
        read.subscriptions if is_newer and read.subscriptions is not None else before.subscriptions,
        read.number if is_newer else before.read_number,
        max(before.whole_number, read.number) if read.is_whole else before.whole_number,
        invoices,
    )


def _with_recent(rows: list[InvoiceRead], read: CustomerRead) -> list[InvoiceRead] | None:
    """Those that were not found again are gone, unless they were read later."""
    recent = read.recent
    if recent is None:
        return rows
    ids = [row.invoice.provider_id for row in rows]
    if recent.after is not None and recent.after not in ids:
        return None
    start = ids.index(recent.after) + 1 if recent.after is not None else 0
    known = {row.invoice.provider_id: row for row in rows[start:]}
    found = {each.provider_id for each in recent.invoices}
    return [
        *rows[:start],
        *(
            _newer(known.get(each.provider_id), each, read, has_returned=read.is_whole)
            for each in recent.invoices
        ),
        *(
            row
            for row in rows[start:]
            if row.invoice.provider_id not in found and row.number > read.number
        ),
    ]


def _with_single(rows: list[InvoiceRead], read: CustomerRead) -> list[InvoiceRead] | None:
    single = read.single
    if single is None:
        return rows
    if single.provider_id not in {row.invoice.provider_id for row in rows}:
        return None
    return [
        _newer(row, single, read, has_returned=read.has_returned)
        if row.invoice.provider_id == single.provider_id
        else row
        for row in rows
    ]


def _newer(
    row: InvoiceRead | None, invoice: ProviderInvoice, read: CustomerRead, *, has_returned: bool
) -> InvoiceRead:
    """What holds of an invoice that was read again."""
    number = read.number
    if row is None:
        return InvoiceRead(invoice, number, number if has_returned else 0)
    returned, returned_number = row.invoice.returned, row.returned_number
    if has_returned and number >= returned_number:
        returned, returned_number = invoice.returned, number
    newest = invoice if number >= row.number else row.invoice
    return InvoiceRead(newest.with_returned(returned), max(number, row.number), returned_number)
