"""Which lines of an invoice, and which item of a subscription, sell an offer of ours. Pure.

Prices that are not ours are somebody else's business: they are skipped, never guessed.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

from billing_app.billing.subscriptions.provider import (
    InvoiceLine,
    ProviderInvoice,
    ProviderSubscription,
    SubscriptionItem,
)
from billing_app.db.enums import InvoiceStatus

FIRST: Final = "subscription_create"
RENEWAL: Final = "subscription_cycle"
CHANGE: Final = "subscription_update"


def sold_item(
    subscription: ProviderSubscription, versions: Mapping[str, int]
) -> SubscriptionItem | None:
    """The item that sells an offer; None: the subscription is not ours."""
    return next((item for item in subscription.items if item.price_id in versions), None)


Sold = list[tuple[str, InvoiceLine]]


def sold_lines(
    invoices: Iterable[ProviderInvoice],
    versions: Mapping[str, int],
    refused_trials: Collection[str] = (),
) -> list[tuple[ProviderInvoice, Sold]]:
    """For each invoice the lines that sell an offer, each with the reference of its plan.

    The plan of the first one has the invoice's id as its reference: of the period that ends last,
    else of a share of a period, else of a single item. `invoices` are in order of issue. The first
    invoice of `refused_trials`, which are subscriptions, sells nothing.
    """
    prices: dict[str | None, str | None] = {}
    result: list[tuple[ProviderInvoice, Sold]] = []
    for invoice in invoices:
        before = prices.get(invoice.subscription_id)
        is_refused = invoice.subscription_id in refused_trials and invoice.billing_reason == FIRST
        lines = [
            line
            for line in invoice.lines
            if line.price_id in versions
            and not is_refused
            and line.quantity > 0
            and not (line.is_proration and line.amount_minor <= 0)
            and not _prolongs(invoice, line, before)
        ]
        lines.sort(key=_rank, reverse=True)
        if lines and lines[0].is_period:
            prices[invoice.subscription_id] = lines[0].price_id
        result.append((invoice, list(zip(_references(invoice, lines), lines, strict=True))))
    return result


def _prolongs(invoice: ProviderInvoice, line: InvoiceLine, before: str | None) -> bool:
    """A trial that is prolonged is invoiced again, for nothing
    (docs.stripe.com/billing/subscriptions/trials/free-trials)."""
    is_free = line.is_period and line.amount_minor == 0
    return is_free and invoice.billing_reason == CHANGE and line.price_id == before


def _references(invoice: ProviderInvoice, lines: list[InvoiceLine]) -> list[str]:
    others = [f"{invoice.provider_id}:{line.line_id}" for line in lines[1:]]
    return [invoice.provider_id, *others] if lines else []


def given_until(invoice: ProviderInvoice, line: InvoiceLine, ended_at: datetime | None) -> datetime:
    """The end of the period that a line pays for. When it is paid after the period, or after the
    subscription ended, it is given from then on: money is never taken for nothing."""
    missed_from = min(line.period_end, ended_at or line.period_end)
    if invoice.paid_at is None or invoice.paid_at <= missed_from or line.amount_minor <= 0:
        return line.period_end
    return max(line.period_end, invoice.paid_at + (line.period_end - line.period_start))


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


def _rank(line: InvoiceLine) -> tuple[bool, bool, datetime]:
    return line.is_period, not line.is_proration, line.period_end
