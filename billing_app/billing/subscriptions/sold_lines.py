"""Which lines of an invoice, and which item of a subscription, sell an offer of ours. Pure.

Prices that are not ours are somebody else's business: they are skipped, never guessed.
"""

from collections.abc import Mapping
from datetime import datetime

from billing_app.billing.subscriptions.provider import (
    InvoiceLine,
    ProviderInvoice,
    ProviderSubscription,
    SubscriptionItem,
)
from billing_app.db.enums import InvoiceStatus


def sold_item(
    subscription: ProviderSubscription, versions: Mapping[str, int]
) -> SubscriptionItem | None:
    """The item that sells an offer; None: the subscription is not ours."""
    return next((item for item in subscription.items if item.price_id in versions), None)


def sold_lines(
    invoice: ProviderInvoice, versions: Mapping[str, int]
) -> list[tuple[str, InvoiceLine]]:
    """The lines that sell an offer, each with the reference of its plan.

    The plan of the first one has the invoice's id as its reference: of the period that ends last,
    else of a single item.
    """
    lines = [
        line
        for line in invoice.lines
        if line.price_id in versions and line.quantity > 0 and not line.is_proration
    ]
    lines.sort(key=_rank, reverse=True)
    return [
        (invoice.provider_id if place == 0 else f"{invoice.provider_id}:{line.line_id}", line)
        for place, line in enumerate(lines)
    ]


def cost_minor(invoice: ProviderInvoice, line: InvoiceLine) -> int:
    """What a line really cost: after discounts and refunds, and without what a credit balance or
    a credit note covered. Nothing while the invoice is not paid."""
    if invoice.status is not InvoiceStatus.PAID or invoice.total_minor <= 0:
        return 0
    kept = invoice.total_minor - invoice.waived_minor - invoice.refunded_minor
    return max(0, min(line.net_minor, line.net_minor * kept // invoice.total_minor))


def period_start(invoice: ProviderInvoice) -> datetime | None:
    """Of the latest period that the invoice bills; None: it bills none."""
    periods = [line for line in invoice.lines if line.is_period and not line.is_proration]
    return max(periods, key=_rank).period_start if periods else None


def _rank(line: InvoiceLine) -> tuple[bool, datetime]:
    return line.is_period, line.period_end
