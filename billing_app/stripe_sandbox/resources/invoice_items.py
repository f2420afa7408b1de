"""The API's routes for invoice items."""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources.catalog import inline_price, price_of
from billing_app.stripe_sandbox.resources.common import apply_fields, remove
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.invoicing import Line, pull_pending_items, total_up
from billing_app.stripe_sandbox.resources.pending_items import add_pending_item
from billing_app.stripe_sandbox.world import World


@route("POST", "/v1/invoiceitems", "InvoiceItemCreateParams")
def create(world: World, params: Json) -> Json:
    customer = live_customer(world, params["customer"]) if "customer" in params else None
    if customer is None:
        raise missing_param("customer")
    price = _price(world, params)
    quantity = params.get("quantity", 1)
    if price is None and "amount" not in params and "unit_amount_decimal" not in params:
        raise missing_param("amount")
    amount = _amount(price, quantity, params)
    now = world.now(customer)
    period = params.get("period") or {"start": now, "end": now}
    line = Line(
        amount=amount,
        description=params.get("description"),
        start=period["start"],
        end=period["end"],
        price=price,
        quantity=quantity,
        discountable=params.get("discountable", amount > 0),
        metadata=params.get("metadata") or None,
    )
    currency = (price or params).get("currency") or customer["currency"] or "usd"
    item = add_pending_item(
        world, customer, line, currency=currency, subscription=params.get("subscription")
    )
    if "invoice" in params:
        _put_on_draft(world, params["invoice"], item)
    return item


def _price(world: World, params: Json) -> Json | None:
    if "price_data" in params:
        return inline_price(world, params["price_data"])
    identifier = (params.get("pricing") or {}).get("price")
    return price_of(world, identifier) if identifier else None


def _amount(price: Json | None, quantity: int, params: Json) -> int:
    if price is not None:
        return money.price_amount(price, quantity)
    if "unit_amount_decimal" in params:
        one = {"unit_amount_decimal": params["unit_amount_decimal"]}
        return money.price_amount(one, quantity)
    return params["amount"]


def _put_on_draft(world: World, identifier: str, item: Json) -> None:
    invoice = world.store.get(identifier, "invoice", param="invoice")
    if invoice["status"] != "draft":
        raise invalid("You can only add invoice items to a draft invoice.", param="invoice")
    invoice = world.store.edit(identifier)
    pull_pending_items(world, invoice, only=frozenset({item["id"]}))
    total_up(world, invoice, world.now(invoice))


@route("GET", "/v1/invoiceitems", "InvoiceItemListParams")
def list_all(world: World, params: Json) -> Json:
    customer, invoice = params.get("customer"), params.get("invoice")
    pending = params.get("pending")
    rows = world.store.all(
        "invoiceitem",
        lambda i: (
            customer in (None, i["customer"])
            and invoice in (None, i["invoice"])
            and pending in (None, i["invoice"] is None)
        ),
    )
    return page(params, rows, "/v1/invoiceitems")


@route("GET", "/v1/invoiceitems/{invoiceitem}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "invoiceitem")


@route("POST", "/v1/invoiceitems/{invoiceitem}", "InvoiceItemUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "invoiceitem")
    item = world.store.edit(identifier)
    apply_fields(item, params, ("amount", "description", "discountable"))
    return item


@route("DELETE", "/v1/invoiceitems/{invoiceitem}")
def delete(world: World, params: Json, identifier: str) -> Json:
    item = world.store.get(identifier, "invoiceitem")
    if item["invoice"] and world.store.get(item["invoice"])["status"] != "draft":
        raise invalid("You can only delete invoice items that are not on a final invoice.")
    return remove(world, identifier, "invoiceitem", "invoiceitem.deleted")
