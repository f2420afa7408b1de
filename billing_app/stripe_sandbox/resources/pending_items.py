"""Creates pending invoice items: prorations and one-time amounts for the next invoice."""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources.catalog import inline_price, price_of
from billing_app.stripe_sandbox.resources.invoicing import Line, pricing_of
from billing_app.stripe_sandbox.world import World


def add_pending_item(
    world: World,
    customer: Json,
    line: Line,
    *,
    currency: str,
    subscription: str | None = None,
) -> Json:
    """Stores a line for the next invoice; `line.item` is its subscription item, if any."""
    item = world.create(
        "invoiceitem",
        amount=line.amount,
        currency=currency,
        customer=customer["id"],
        date=world.now(customer),
        description=line.description,
        discountable=line.discountable and not line.proration,
        discounts=[],
        metadata=dict(line.metadata or {}),
        net_amount=line.amount,
        parent=_parent(subscription, line.item),
        period={"start": line.start, "end": line.end},
        pricing=pricing_of(line.price),
        proration=line.proration,
        proration_details=_proration_details() if line.proration else None,
        quantity=line.quantity,
        quantity_decimal=str(line.quantity),
        tax_rates=[],
        test_clock=customer["test_clock"],
        _credited=line.credited,
    )
    world.emit("invoiceitem.created", item, now=item["date"])
    return item


def _proration_details() -> Json:
    return {"credited_items": None, "discount_amounts": []}


def _parent(subscription: str | None, subscription_item: str | None) -> Json | None:
    if subscription is None:
        return None
    return {
        "type": "subscription_details",
        "subscription_details": {
            "subscription": subscription,
            "subscription_item": subscription_item,
        },
    }


def add_extra_items(
    world: World, subscription: Json, customer: Json, entries: list[Json], now: int
) -> None:
    """`add_invoice_items`: one-time amounts on the next invoice."""
    for entry in entries:
        data = entry.get("price_data")
        price = inline_price(world, data) if data else price_of(world, entry["price"])
        quantity = entry.get("quantity", 1)
        line = Line(
            amount=money.price_amount(price, quantity),
            description=world.store.get(price["product"])["name"],
            start=now,
            end=now,
            price=price,
            quantity=quantity,
            metadata=entry.get("metadata"),
        )
        add_pending_item(
            world, customer, line, currency=price["currency"], subscription=subscription["id"]
        )
