"""Open invoices of subscriptions that have ended: voided, since nothing is given for them. Pure.

Drafts cannot be voided nor deleted, and Stripe does not finalize them any more
(docs.stripe.com/api/subscriptions/cancel, docs.stripe.com/api/invoices/delete).
"""

from collections.abc import Container, Iterable

from billing_app.billing.subscriptions.provider import (
    ENDED,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.db.enums import InvoiceStatus
from billing_app.db.tables import Plan


def to_void(
    snapshot: ProviderSnapshot, versions: Container[str | None], used: Container[str] = ()
) -> list[ProviderInvoice]:
    """Those that bill periods of offers and nothing else: executions that were used are owed.

    One that is being paid is left alone: if it is paid, it gives its period. So is one with net
    terms whose period was over when the subscription ended, or was used (`used`: invoices), since
    that was given on trust.
    """
    ended = {each.provider_id: each for each in snapshot.subscriptions if each.status in ENDED}
    return [
        invoice
        for invoice in snapshot.invoices
        if invoice.status is InvoiceStatus.OPEN
        and not invoice.is_processing
        and (subscription := ended.get(invoice.subscription_id or "")) is not None
        and all(
            line.is_period and line.price_id in versions
            for line in invoice.lines
            if line.amount_minor > 0
        )
        and not (
            invoice.due_at and (invoice.provider_id in used or _is_over(invoice, subscription))
        )
    ]


def used_invoices(plans: Iterable[Plan]) -> set[str]:
    """The ids of the invoices whose executions were used or are held; see `sold_lines`."""
    return {
        plan.source_reference.partition(":")[0]
        for plan in plans
        if plan.source_reference and plan.used + plan.held > 0
    }


def _is_over(invoice: ProviderInvoice, subscription: ProviderSubscription) -> bool:
    ended_at = subscription.ended_at
    return ended_at is not None and all(line.period_end <= ended_at for line in invoice.lines)
