"""Offers at Stripe: a product with a price."""

from typing import Any

from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OverageTerms
from billing_app.billing.subscriptions.provider import (
    OfferPrices,
    PriceTerms,
    ProviderPrice,
)
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderFailedError,
)
from billing_app.db.enums import Interval
from billing_app.payments.calls import options, reference, send
from billing_app.payments.meters import Meters


class Prices(Meters):
    async def ensure_price(self, terms: PriceTerms, *, key: str) -> ProviderPrice:
        """The price whose lookup key is the reference, created with its product if needed; the same
        for overage."""
        price = await self._find_price(terms.reference)
        if price is None:
            price = await self._make_price(terms, key=key)
        _require_same(price, terms)
        overage_price_id = None
        if terms.overage is not None:
            overage_price_id = await self._ensure_overage_price(terms, terms.overage, key=key)
        return ProviderPrice(price.id, overage_price_id, reference(price.product))

    async def activate(self, prices: OfferPrices, *, dry_run: bool = False) -> list[str]:
        """Neither an archived price nor one of an archived product can be bought
        (docs.stripe.com/products-prices/manage-prices). The products go first."""
        retrieve, archived = self.client.v1.prices.retrieve_async, list[str]()
        for price_id in filter(None, (prices.price_id, prices.overage_price_id)):
            price: Any = await send(
                lambda price_id=price_id: retrieve(price_id, {"expand": ["product"]})
            )
            product = price.product
            if not product.active:
                archived.append(product.id)
                if not dry_run:
                    await self._activate_product(product.id)
            if not price.active:
                archived.append(price_id)
                if not dry_run:
                    await self._activate_price(price_id)
        return archived

    async def _activate_product(self, product_id: str) -> None:
        update = self.client.v1.products.update_async
        await send(lambda: update(product_id, {"active": True}))

    async def _activate_price(self, price_id: str) -> None:
        update = self.client.v1.prices.update_async
        await send(lambda: update(price_id, {"active": True}))

    async def _find_price(self, lookup_key: str) -> Any | None:
        query = {"lookup_keys": [lookup_key], "limit": 1}
        prices = await send(lambda: self.client.v1.prices.list_async(query))  # pyright: ignore[reportArgumentType]
        return prices.data[0] if prices.data else None

    async def _make_price(self, terms: PriceTerms, *, key: str) -> Any:
        product = {"name": terms.name, "metadata": {"offer_version": terms.reference}}
        if terms.description:
            product["description"] = terms.description
        body: dict[str, Any] = {
            "lookup_key": terms.reference,
            "currency": terms.price.currency.lower(),
            "unit_amount": terms.price.minor,
        }
        if terms.interval is not Interval.ONCE:
            body["recurring"] = {"interval": terms.interval.value}
        return await self._create(product, body, key=key)

    async def _ensure_overage_price(
        self, terms: PriceTerms, overage: OverageTerms, *, key: str
    ) -> str:
        name = f"{terms.reference}-overage"
        price = await self._find_price(name)
        if price is None:
            product = {"name": f"{terms.name}: executions beyond the plan"}
            body: dict[str, Any] = {
                "lookup_key": name,
                "currency": terms.price.currency.lower(),
                "unit_amount": overage.unit_price_minor,
                "recurring": {
                    "interval": terms.interval.value,
                    "usage_type": "metered",
                    "meter": await self.meter_id() or await self.make_meter(),
                },
            }
            if overage.unit_executions > 1:
                body["transform_quantity"] = {"divide_by": overage.unit_executions, "round": "up"}
            price = await self._create(product, body, key=f"{key}:overage")
        _require_same_overage(price, terms, overage)
        return price.id

    async def _create(self, product: dict[str, Any], price: dict[str, Any], *, key: str) -> Any:
        made = await send(
            lambda: self.client.v1.products.create_async(product, options(f"{key}:product"))  # pyright: ignore[reportArgumentType]
        )
        body = price | {"product": made.id}
        return await send(
            lambda: self.client.v1.prices.create_async(body, options(f"{key}:price"))  # pyright: ignore[reportArgumentType]
        )


def _require_same_overage(price: Any, terms: PriceTerms, overage: OverageTerms) -> None:
    unit = price.transform_quantity.divide_by if price.transform_quantity else 1
    theirs = (price.unit_amount, price.currency.upper(), unit, price.recurring.usage_type)
    ours = (overage.unit_price_minor, terms.price.currency, overage.unit_executions, "metered")
    if theirs != ours:
        raise PaymentProviderFailedError(
            "The payment provider has a different overage price under this name.",
            reference=terms.reference,
        )


def _require_same(price: Any, terms: PriceTerms) -> None:
    """A price with our reference and different terms is never used."""
    interval = price.recurring.interval if price.recurring else Interval.ONCE
    theirs = Money(price.unit_amount, price.currency.upper())
    if (theirs, interval) != (terms.price, terms.interval):
        raise PaymentProviderFailedError(
            "The payment provider has a different price under this name.", reference=terms.reference
        )
