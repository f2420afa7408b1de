"""Subscription items: their prices, their periods, and the lines that bill them."""

from collections.abc import Iterable
from decimal import Decimal

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.resources import meters
from billing_app.stripe_sandbox.resources.catalog import inline_price, plan_of, price_of
from billing_app.stripe_sandbox.resources.common import merged_metadata
from billing_app.stripe_sandbox.resources.invoicing import Line
from billing_app.stripe_sandbox.resources.prorations import full_period, is_metered, name_of
from billing_app.stripe_sandbox.world import World


def sold_price(world: World, params: Json) -> Json:
    """The recurring price that the parameters of an item name."""
    if "price_data" in params:
        price = inline_price(world, params["price_data"])
    else:
        identifier = params.get("price") or params.get("plan")
        if not identifier:
            raise missing_param("items[0][price]")
        price = price_of(world, identifier, "items[0][price]")
    if price["type"] != "recurring":
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices "
            "with `type=recurring`.",
            param="items[0][price]",
        )
    return price


def new_item(world: World, subscription: Json, params: Json, now: int) -> Json:
    """A new item, without a period yet."""
    item = world.draft(
        "subscription_item",
        created=now,
        discounts=[],
        metadata=merged_metadata({}, params.get("metadata")),
        subscription=subscription["id"],
        tax_rates=[],
        _debits=[],
    )
    set_price(world, item, sold_price(world, params), params.get("quantity", 1))
    return item


def set_price(world: World, item: Json, price: Json, quantity: int) -> None:
    item["price"] = public(price)
    item["plan"] = plan_of(world, price)
    if is_metered(item):
        item.pop("quantity", None)
        item["quantity"] = None
    else:
        item["quantity"] = quantity


def align(subscription: Json, item: Json, moment: int) -> None:
    """Sets the item's billing period to the one around a moment."""
    start, end = full_period(subscription, item, moment)
    item |= {"current_period_start": start, "current_period_end": end}


def items_of(subscription: Json) -> list[Json]:
    return subscription["items"]["data"]


def period_end(subscription: Json) -> int:
    """When the first of the items' periods ends."""
    return min(item["current_period_end"] for item in items_of(subscription))


def last_period_end(subscription: Json) -> int:
    return max(item["current_period_end"] for item in items_of(subscription))


def _rate_text(price: Json) -> str:
    recurring = price["recurring"]
    count = recurring["interval_count"]
    every = recurring["interval"] if count == 1 else f"{count} {recurring['interval']}s"
    if price["unit_amount"] is None:
        return f"per {every}"
    return f"at {money.text(price['unit_amount'], price['currency'])} / {every}"


def cycle_lines(world: World, items: Iterable[Json]) -> list[Line]:
    """Lines that bill licensed items for their current period, in advance."""
    return [_licensed_line(world, item) for item in items if not is_metered(item)]


def _licensed_line(world: World, item: Json) -> Line:
    price, quantity = item["price"], item["quantity"]
    text = f"{quantity} × {name_of(world, price)} ({_rate_text(price)})"  # noqa: RUF001
    return Line(
        amount=money.price_amount(price, quantity),
        description=text,
        start=item["current_period_start"],
        end=item["current_period_end"],
        price=price,
        quantity=quantity,
        item=item["id"],
        metadata=item["metadata"],
    )


def partial_line(world: World, subscription: Json, item: Json, now: int) -> Line:
    """The line for the first, shorter period of an item whose billing anchor lies ahead."""
    start, end = full_period(subscription, item, now)
    whole = money.price_amount(item["price"], item["quantity"])
    return Line(
        amount=money.share(whole, end - now, end - start),
        description=f"Remaining time on {name_of(world, item['price'])}",
        start=now,
        end=end,
        price=item["price"],
        quantity=item["quantity"],
        item=item["id"],
        proration=True,
    )


def trial_lines(world: World, subscription: Json) -> list[Line]:
    return [
        Line(
            amount=0,
            description=f"Trial period for {name_of(world, item['price'])}",
            start=subscription["trial_start"],
            end=subscription["trial_end"],
            price=item["price"],
            quantity=item["quantity"],
            item=item["id"],
        )
        for item in items_of(subscription)
        if not is_metered(item)
    ]


def usage_lines(world: World, subscription: Json, items: Iterable[Json], until: int) -> list[Line]:
    """Lines that bill metered items for the usage in their period, in arrears."""
    lines = []
    for item in items:
        if not is_metered(item):
            continue
        start = max(item["current_period_start"], item.get("_metered_from", 0))
        used = usage_of(world, item["price"], subscription["customer"], (start, until))
        lines.append(_usage_line(world, item, used, start, until))
    return lines


def usage_of(world: World, price: Json, customer: str, period: tuple[int, int]) -> Decimal:
    """The usage that a metered price bills for [start, end); never negative."""
    used = meters.usage(world, price["recurring"]["meter"], customer, *period)
    return max(used, Decimal(0))


def refresh_usage(world: World, identifier: str) -> None:
    """Updates the metered lines of a draft with the usage reported by now."""
    invoice = world.store.edit(identifier)
    for line in invoice["lines"]["data"]:
        details = line["parent"]["subscription_item_details"] or {}
        price = world.store.find(((line["pricing"] or {}).get("price_details") or {}).get("price"))
        if price is None or not details or details["invoice_item"] or not _is_usage(price):
            continue
        period = (line["period"]["start"], line["period"]["end"])
        used = usage_of(world, price, invoice["customer"], period)
        amount = money.price_amount(price, used)
        text = f"{used:f} × {name_of(world, price)} ({_rate_text(price)})"  # noqa: RUF001
        line |= {"amount": amount, "subtotal": amount, "description": text}
        line |= {"quantity": int(used), "quantity_decimal": str(int(used))}


def _is_usage(price: Json) -> bool:
    return bool(price["recurring"]) and price["recurring"]["usage_type"] == "metered"


def _usage_line(world: World, item: Json, used: Decimal, start: int, end: int) -> Line:
    price = item["price"]
    return Line(
        amount=money.price_amount(price, used),
        description=f"{used:f} × {name_of(world, price)} ({_rate_text(price)})",  # noqa: RUF001
        start=start,
        end=end,
        price=price,
        quantity=int(used),
        item=item["id"],
    )
