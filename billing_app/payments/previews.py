"""What Stripe would charge, to the minor unit."""

from typing import Any

from billing_app.billing.subscriptions.provider import OfferPrices, ProviderPreview
from billing_app.billing.subscriptions.provider_errors import BillingAddressMissingError
from billing_app.payments import translate
from billing_app.payments.calls import StripeCalls, send


class Previews(StripeCalls):
    async def preview_purchase(
        self, *, customer_id: str, prices: OfferPrices, is_subscription: bool
    ) -> ProviderPreview:
        body: dict[str, Any] = {"customer": customer_id, **self.tax}
        if is_subscription:
            body["subscription_details"] = {"items": translate.items_of(prices)}
        else:
            body["invoice_items"] = [{"price": prices.price_id}]
        preview = await self.preview(body)
        if is_subscription:
            return translate.provider_preview(preview)
        return translate.pack_preview(preview, prices.price_id)

    async def preview(self, body: dict[str, Any]) -> Any:
        """Raises BillingAddressMissingError: Stripe previews without the tax then
        (docs.stripe.com/tax/subscriptions)."""
        preview = await send(lambda: self.client.v1.invoices.create_preview_async(body))  # pyright: ignore[reportArgumentType]
        if preview.automatic_tax.status == "requires_location_inputs":
            raise BillingAddressMissingError
        return preview
