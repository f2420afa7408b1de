"""What an offer is at Stripe: a product with a price."""

from typing import Any

from billing_app.billing.subscriptions.provider import (
    PaymentProviderFailedError,
    PriceFacts,
    PriceTerms,
)
from billing_app.db.words import Interval
from billing_app.payments.calls import StripeCalls, asked, options


class Prices(StripeCalls):
    async def ensure_price(self, terms: PriceTerms, *, key: str) -> PriceFacts:
        """The price whose lookup key is the reference; made with its product if need be."""
        prices = self.client.v1.prices
        query = {"lookup_keys": [terms.reference], "limit": 1}
        found = await asked(lambda: prices.list_async(query))  # pyright: ignore[reportArgumentType]
        if found.data:
            price = found.data[0]
            _require_same(price, terms)
            return PriceFacts(product_id=str(price.product), price_id=price.id)
        product = {"name": terms.name, "metadata": {"offer_version": terms.reference}}
        if terms.description:
            product["description"] = terms.description
        body: dict[str, Any] = {
            "lookup_key": terms.reference,
            "currency": terms.currency.lower(),
            "unit_amount": terms.amount_minor,
        }
        if terms.interval is not Interval.ONCE:
            body["recurring"] = {"interval": terms.interval.value}
        made = await asked(
            lambda: self.client.v1.products.create_async(product, options(f"{key}:product"))  # pyright: ignore[reportArgumentType]
        )
        body["product"] = made.id
        price = await asked(lambda: prices.create_async(body, options(f"{key}:price")))  # pyright: ignore[reportArgumentType]
        return PriceFacts(product_id=made.id, price_id=price.id)


def _require_same(price: Any, terms: PriceTerms) -> None:
    """A price under our reference that sells something else is never used."""
    interval = price.recurring.interval if price.recurring else Interval.ONCE
    theirs = (price.unit_amount, price.currency.upper(), interval)
    if theirs != (terms.amount_minor, terms.currency, terms.interval):
        raise PaymentProviderFailedError(
            "The payment provider has another price under this name.", reference=terms.reference
        )
