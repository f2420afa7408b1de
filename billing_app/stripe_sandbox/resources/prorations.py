"""Prorations, exact to the second.

Flexible billing mode (the default of this API version) credits what was actually debited for the
remaining time; classic mode credits the current price. Each line is rounded once.
Source: https://docs.stripe.com/billing/subscriptions/prorations
"""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.dates import day_text, period_around
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import coupons, invoicing
from billing_app.stripe_sandbox.resources.pending_items import add_pending_item
from billing_app.stripe_sandbox.world import World


def is_metered(item: Json) -> bool:
    return item["price"]["recurring"]["usage_type"] == "metered"


def full_period(subscription: Json, item: Json, moment: int) -> tuple[int, int]:
    """The full billing period around a moment, aligned with the subscription's anchor."""
    recurring = item["price"]["recurring"]
    return period_around(
        subscription["billing_cycle_anchor"],
        recurring["interval"],
        recurring["interval_count"],
        moment,
    )


def net_price(world: World, subscription: Json, item: Json, now: int) -> int:
    """What the item costs for a full period, less discounts."""
    items = [entry for entry in subscription["items"]["data"] if not is_metered(entry)]
    lines = [
        {
            "amount": money.price_amount(entry["price"], entry["quantity"]),
            "discount_amounts": [],
            "discountable": True,
            "pricing": invoicing.pricing_of(entry["price"]),
            "_id": entry["id"],
        }
        for entry in items
    ]
    coupons.discount_lines(
        world, lines, coupons.running(world, coupons.standing(world, subscription), now)
    )
    return next(invoicing.net_of_line(line) for line in lines if line["_id"] == item["id"])


def name_of(world: World, price: Json) -> str:
    return world.store.get(price["product"], "product")["name"]


def _quantity_text(item: Json) -> str:
    return f"{item['quantity']} × " if item["quantity"] != 1 else ""  # noqa: RUF001


def credit_unused(world: World, subscription: Json, item: Json, at: int) -> None:
    """Adds pending credits for what was paid for the time after `at`."""
    if is_metered(item):
        return
    for debit in _debits(world, subscription, item, at):
        whole = debit["end"] - debit["start"]
        amount = -money.share(debit["amount"], debit["end"] - max(at, debit["start"]), whole)
        text = f"Unused time on {_quantity_text(item)}{name_of(world, item['price'])}"
        description = f"{text} after {day_text(at)}"
        line = _proration(item, amount, description, (at, debit["end"]), _credited(debit))
        _add(world, subscription, line)
    item["_debits"] = []


def _debits(world: World, subscription: Json, item: Json, at: int) -> list[Json]:
    if subscription["billing_mode"]["type"] == "flexible":
        return [debit for debit in item["_debits"] if debit["end"] > at]
    start, end = full_period(subscription, item, at)
    amount = net_price(world, subscription, item, at)
    return [{"amount": amount, "start": start, "end": end, "invoice": None, "line": None}]


def _credited(debit: Json) -> Json | None:
    if not debit["invoice"]:
        return None
    return {"invoice": debit["invoice"], "invoice_line_items": [debit["line"]]}


def debit_remaining(world: World, subscription: Json, item: Json, at: int) -> None:
    """Adds a pending charge for the item's price from `at` to the end of its period."""
    if is_metered(item):
        return
    start, end = full_period(subscription, item, at)
    amount = money.share(net_price(world, subscription, item, at), end - at, end - start)
    text = f"Remaining time on {_quantity_text(item)}{name_of(world, item['price'])}"
    description = f"{text} after {day_text(at)}"
    _add(world, subscription, _proration(item, amount, description, (at, end), None))
    item["_debits"] = [{"amount": amount, "start": at, "end": end, "invoice": None, "line": None}]


def _add(world: World, subscription: Json, line: invoicing.Line) -> None:
    customer = world.store.get(subscription["customer"], "customer")
    currency, identifier = subscription["currency"], subscription["id"]
    add_pending_item(world, customer, line, currency=currency, subscription=identifier)


def _proration(
    item: Json, amount: int, description: str, period: tuple[int, int], credited: Json | None
) -> invoicing.Line:
    return invoicing.Line(
        amount=amount,
        description=description,
        start=period[0],
        end=period[1],
        price=item["price"],
        quantity=item["quantity"],
        item=item["id"],
        proration=True,
        credited=credited,
    )


def close_lines(world: World, subscription: Json, invoice: Json) -> None:
    """Records a complete invoice's debits, and drops discounts that apply only once."""
    _note_debits(subscription, invoice)
    if any(line["discount_amounts"] for line in invoice["lines"]["data"]):
        subscription["discounts"] = [
            entry for entry in subscription["discounts"] if not coupons.is_once(world, entry)
        ]


def _note_debits(subscription: Json, invoice: Json) -> None:
    """Records on the items what the invoice charged for them, for later credits."""
    items = {item["id"]: item for item in subscription["items"]["data"]}
    for line in invoice["lines"]["data"]:
        details = line["parent"]["subscription_item_details"] or {}
        item = items.get(line.get("_item"))
        if item is None or is_metered(item):
            continue
        entry = {
            "amount": invoicing.net_of_line(line),
            "start": line["period"]["start"],
            "end": line["period"]["end"],
            "invoice": invoice["id"],
            "line": line["id"],
        }
        if not details["proration"]:
            item["_debits"] = [entry]
        elif entry["amount"] > 0:
            item["_debits"] = [_with_line(debit, entry) for debit in item["_debits"]]


def _with_line(debit: Json, entry: Json) -> Json:
    same = (debit["start"], debit["end"]) == (entry["start"], entry["end"])
    return entry if same and not debit["invoice"] else debit
