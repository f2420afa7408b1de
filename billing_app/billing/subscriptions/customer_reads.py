"""Reads a customer at the provider: everything, or what an event is about."""

from billing_app.billing.subscriptions.mirror import (
    CustomerRead,
    Mirror,
    ProviderChange,
    RecentInvoices,
    merged,
)
from billing_app.billing.subscriptions.provider import PaymentProvider, ProviderInvoice
from billing_app.billing.subscriptions.provider_errors import NotAtProviderError


async def read_whole(provider: PaymentProvider, customer_id: str, number: int) -> CustomerRead:
    snapshot = await provider.customer_snapshot(customer_id)
    recent = RecentInvoices(None, snapshot.invoices)
    return CustomerRead(customer_id, number, snapshot.subscriptions, recent, is_whole=True)


async def read_changed(
    provider: PaymentProvider, mirror: Mirror, change: ProviderChange, number: int
) -> CustomerRead:
    """An invoice that is settled alone. Else what may still change, in the order that reading
    everything has: with a subscription older than its invoices, a period would be bridged that has
    its plan. Everything, where the mirror does not fit."""
    try:
        read = await _read_changed(provider, mirror, change, number)
    except NotAtProviderError:
        read = None
    if read is None or merged(mirror, read) is None:
        return await read_whole(provider, mirror.customer_id, number)
    return read


async def _read_changed(
    provider: PaymentProvider, mirror: Mirror, change: ProviderChange, number: int
) -> CustomerRead | None:
    about = mirror.about(change)
    if about is None or not about.is_settled:
        return await _read_unsettled(provider, mirror, change, number)
    has_returned = change.payment_id != ""
    single = await provider.invoice(about.invoice.provider_id, with_returned=has_returned)
    return CustomerRead(mirror.customer_id, number, single=single, has_returned=has_returned)


async def _read_unsettled(
    provider: PaymentProvider, mirror: Mirror, change: ProviderChange, number: int
) -> CustomerRead | None:
    customer_id, after = mirror.customer_id, mirror.last_settled
    subscriptions = await provider.subscriptions_of(customer_id)
    invoices = await provider.recent_invoices(customer_id, after)
    if invoices is None:
        return None
    is_found = change.invoice_id in {each.provider_id for each in invoices}
    if change.invoice_id and not is_found and mirror.about(change) is None:
        return None
    single = await _read_returned(provider, invoices, change)
    recent = RecentInvoices(after, invoices)
    return CustomerRead(
        customer_id, number, subscriptions, recent, single, has_returned=single is not None
    )


async def _read_returned(
    provider: PaymentProvider, invoices: list[ProviderInvoice], change: ProviderChange
) -> ProviderInvoice | None:
    """The invoice that a payment is of, with what was returned of it."""
    for each in invoices:
        if change.payment_id and change.payment_id in each.payment_ids:
            return await provider.invoice(each.provider_id, with_returned=True)
    return None
