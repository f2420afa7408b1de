"""Reads a Stripe account whose subscriptions were made by something else."""

from typing import Any, Final

from billing_app.billing.imports.foreign import (
    BilledPeriod,
    ForeignCustomer,
    ForeignItem,
    ForeignPage,
    ForeignPrice,
    ForeignProduct,
    ForeignSubscription,
    OpenInvoice,
    OpenInvoicePage,
)
from billing_app.billing.subscriptions.provider import ENDED
from billing_app.db.enums import SubscriptionStatus
from billing_app.payments import translate
from billing_app.payments.calls import PAGE_SIZE, StripeCalls, complete, options, reference, send

EXPANDED: Final = ["data.customer", "data.latest_invoice"]


class Imports(StripeCalls):
    """Implements billing's ForeignAccount."""

    async def live_subscriptions(self, after: str | None) -> ForeignPage:
        """Without a status, Stripe leaves out what was cancelled
        (docs.stripe.com/api/subscriptions/list)."""
        query: Any = {"limit": PAGE_SIZE, "expand": EXPANDED}
        page: Any = await send(
            lambda: self.client.v1.subscriptions.list_async(query | _starting(after))
        )
        for row in page.data:
            if row.latest_invoice is not None:
                await complete(row.latest_invoice.lines)
        found = [_subscription(row) for row in page.data]
        live = [each for each in found if each.status not in ENDED]
        return ForeignPage(live, page.data[-1].id if page.has_more else None)

    async def price(self, price_id: str) -> tuple[ForeignPrice, ForeignProduct]:
        query: Any = {"expand": ["product"]}
        row: Any = await send(lambda: self.client.v1.prices.retrieve_async(price_id, query))
        return _price(row), _product(row.product)

    async def open_invoices(self, after: str | None) -> OpenInvoicePage:
        query: Any = {"limit": PAGE_SIZE, "status": "open"}
        page: Any = await send(lambda: self.client.v1.invoices.list_async(query | _starting(after)))
        found = [
            OpenInvoice(reference(row.customer), subscription_id)
            for row in page.data
            if (subscription_id := translate.subscription_of(row)) is not None
        ]
        return OpenInvoicePage(found, page.data[-1].id if page.has_more else None)

    async def claim_customer(self, customer_id: str, account_id: str) -> None:
        marks = {translate.ACCOUNT_METADATA: account_id}
        if mark := await self.mark():
            marks[translate.INSTALLATION_METADATA] = mark
        body: Any = {"metadata": marks}
        key = f"import-{customer_id}-{account_id}"
        await send(lambda: self.client.v1.customers.update_async(customer_id, body, options(key)))


def _starting(after: str | None) -> dict[str, str]:
    return {"starting_after": after} if after else {}


def _subscription(row: Any) -> ForeignSubscription:
    lines: list[Any] = row.latest_invoice.lines.data if row.latest_invoice is not None else []
    return ForeignSubscription(
        subscription_id=row.id,
        customer=_customer(row.customer),
        status=SubscriptionStatus(row.status),
        currency=row.currency.upper(),
        items=[_item(item) for item in row.items.data],
        billed=[
            BilledPeriod(price_id, translate.instant(line.period.end))
            for line in lines
            if translate.is_period(line)
            and not translate.is_proration(line)
            and (price_id := translate.price_of(line)) is not None
        ],
        has_schedule=row.schedule is not None,
        metadata=translate.metadata(row),
    )


def _customer(row: Any) -> ForeignCustomer:
    """A deleted one has nothing but its id (docs.stripe.com/api/customers/delete)."""
    if getattr(row, "deleted", False):
        return ForeignCustomer(row.id, "", "", "", True, False, {})
    metadata = translate.metadata(row)
    return ForeignCustomer(
        customer_id=row.id,
        name=row.name or "",
        email=row.email or "",
        account_id=metadata.get(translate.ACCOUNT_METADATA, ""),
        is_deleted=False,
        is_on_test_clock=row.test_clock is not None,
        metadata=metadata,
    )


def _item(item: Any) -> ForeignItem:
    return ForeignItem(
        price=_price(item.price),
        quantity=1 if item.quantity is None else item.quantity,
        period_end=translate.instant(item.current_period_end),
    )


def _product(row: Any) -> ForeignProduct:
    if getattr(row, "deleted", False):
        return ForeignProduct("", "", is_active=False, metadata={})
    return ForeignProduct(
        name=row.name,
        description=row.description or "",
        is_active=bool(row.active),
        metadata=translate.metadata(row),
    )


def _price(price: Any) -> ForeignPrice:
    return ForeignPrice(
        price_id=price.id,
        product_id=reference(price.product),
        currency=price.currency.upper(),
        unit_amount_minor=price.unit_amount,
        interval=price.recurring.interval,
        interval_count=price.recurring.interval_count,
        is_metered=price.recurring.usage_type == "metered",
        is_tiered=price.billing_scheme == "tiered",
        counts_packages=price.transform_quantity is not None,
        is_active=bool(price.active),
        lookup_key=price.lookup_key or "",
        metadata=translate.metadata(price),
    )
