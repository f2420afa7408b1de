"""Products and prices."""

from decimal import Decimal

from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import deleted
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata, remove
from billing_app.stripe_sandbox.world import World

_PRODUCT = ("active", "default_price", "description", "images", "name", "package_dimensions",
            "shippable", "statement_descriptor", "tax_code", "unit_label", "url")  # fmt: skip


def _decimal_text(value: Decimal | int | None) -> str | None:
    if value is None:
        return None
    text = format(Decimal(value), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def new_product(world: World, params: Json) -> Json:
    now = world.real_now()
    identifier = {"id": params["id"]} if "id" in params else {}
    if identifier and world.store.find(params["id"]):
        raise invalid(
            f"Product already exists: {params['id']}", param="id", code="resource_already_exists"
        )
    product = world.create(
        "product", created=now, updated=now, active=True, type="service", **identifier
    )
    apply_fields(product, params, _PRODUCT)
    product["marketing_features"] = params.get("marketing_features") or []
    world.emit("product.created", product)
    if "default_price_data" in params:
        data = {**params["default_price_data"], "product": product["id"]}
        product["default_price"] = new_price(world, data)["id"]
    return product


@route("POST", "/v1/products", "ProductCreateParams")
def create_product(world: World, params: Json) -> Json:
    return new_product(world, params)


@route("GET", "/v1/products", "ProductListParams")
def list_products(world: World, params: Json) -> Json:
    active, wanted = params.get("active"), params.get("ids")
    rows = world.store.all(
        "product",
        lambda p: active in (None, p["active"]) and (wanted is None or p["id"] in wanted),
    )
    return page(params, rows, "/v1/products")


@route("GET", "/v1/products/{id}")
def retrieve_product(world: World, params: Json, identifier: str) -> Json:
    product = world.store.get(identifier, "product")
    return deleted(product) if product.get("_deleted") else product


@route("POST", "/v1/products/{id}", "ProductUpdateParams")
def update_product(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "product")
    product = world.store.edit(identifier)
    apply_fields(product, params, _PRODUCT)
    if "marketing_features" in params:
        product["marketing_features"] = params["marketing_features"] or []
    product["updated"] = world.real_now()
    world.emit_update("product", product)
    return product


@route("DELETE", "/v1/products/{id}")
def delete_product(world: World, params: Json, identifier: str) -> Json:
    if any(world.store.all("price", lambda p: p["product"] == identifier)):
        raise invalid("This product cannot be deleted because it has one or more prices.")
    return remove(world, identifier, "product", "product.deleted")


def price_of(world: World, identifier: str, param: str = "price") -> Json:
    """An active price of an active product. Raises Stripe's error for an unknown or inactive one.

    Source: https://docs.stripe.com/products-prices/manage-prices
    """
    price = world.store.get(identifier, "price", param=param)
    if not price["active"]:
        raise invalid(
            f"The price specified is inactive. This field only accepts active prices: {identifier}",
            param=param,
        )
    if not world.store.get(price["product"], "product")["active"]:
        raise invalid(
            f"The price specified is of an inactive product: {price['product']}", param=param
        )
    return price


def inline_price(world: World, data: Json) -> Json:
    """A price for a single use (`price_data`), inactive afterwards."""
    price = new_price(world, data)
    price["active"] = False
    return price


def new_price(world: World, params: Json) -> Json:
    product = params.get("product") or _inline_product(world, params)
    world.store.get(product, "product", param="product")
    amount = params.get("unit_amount_decimal", params.get("unit_amount"))
    if params.get("billing_scheme") == "tiered":
        raise invalid("The sandbox does not support tiered prices.", param="billing_scheme")
    if amount is None:
        raise missing_param("unit_amount")
    price = world.create(
        "price",
        active=params.get("active", True),
        billing_scheme="per_unit",
        created=world.real_now(),
        currency=params["currency"].lower(),
        lookup_key=_free_lookup_key(world, params),
        nickname=params.get("nickname"),
        product=product,
        tax_behavior=params.get("tax_behavior", "unspecified"),
        transform_quantity=params.get("transform_quantity"),
        type="recurring" if "recurring" in params else "one_time",
        unit_amount=int(amount) if amount == int(amount) else None,
        unit_amount_decimal=_decimal_text(amount),
        metadata=merged_metadata({}, params.get("metadata")),
        recurring=_recurring(world, params.get("recurring")),
    )
    world.emit("price.created", price)
    return price


def _inline_product(world: World, params: Json) -> str:
    if "product_data" not in params:
        raise missing_param("product")
    return new_product(world, params["product_data"])["id"]


def _recurring(world: World, params: Json | None) -> Json | None:
    if params is None:
        return None
    recurring = blank_nested("price", "recurring") | {"interval_count": 1, "usage_type": "licensed"}
    recurring |= params
    if recurring["usage_type"] == "metered" and not recurring.get("meter"):
        raise invalid("Metered prices must be backed by a meter.", param="recurring[meter]")
    if recurring.get("meter"):
        world.store.get(recurring["meter"], "billing.meter", param="recurring[meter]")
    return recurring


def _free_lookup_key(world: World, params: Json) -> str | None:
    key = params.get("lookup_key") or None
    taken = list(world.store.all("price", lambda p: key is not None and p["lookup_key"] == key))
    if taken and not params.get("transfer_lookup_key"):
        raise invalid(
            f"A price (`{taken[0]['id']}`) already uses that lookup key.", param="lookup_key"
        )
    for price in taken:
        world.store.edit(price["id"])["lookup_key"] = None
    return key


def plan_of(world: World, price: Json) -> Json:
    """The price in the legacy `plan` shape, which subscription items still carry."""
    recurring = price["recurring"]
    return world.draft(
        "plan",
        id=price["id"],
        active=price["active"],
        amount=price["unit_amount"],
        amount_decimal=price["unit_amount_decimal"],
        billing_scheme=price["billing_scheme"],
        created=price["created"],
        currency=price["currency"],
        interval=recurring["interval"],
        interval_count=recurring["interval_count"],
        meter=recurring["meter"],
        nickname=price["nickname"],
        product=price["product"],
        usage_type=recurring["usage_type"],
    )


@route("POST", "/v1/prices", "PriceCreateParams")
def create_price(world: World, params: Json) -> Json:
    return new_price(world, params)


@route("GET", "/v1/prices", "PriceListParams")
def list_prices(world: World, params: Json) -> Json:
    keys, recurring = params.get("lookup_keys"), params.get("recurring") or {}

    def matches(price: Json) -> bool:
        return (
            all(params.get(name) in (None, price[name]) for name in ("active", "product", "type"))
            and (keys is None or price["lookup_key"] in keys)
            and params.get("currency") in (None, price["currency"])
            and all((price["recurring"] or {}).get(k) == v for k, v in recurring.items())
        )

    return page(params, world.store.all("price", matches), "/v1/prices")


@route("GET", "/v1/prices/{price}")
def retrieve_price(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "price")


@route("POST", "/v1/prices/{price}", "PriceUpdateParams")
def update_price(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "price")
    if (
        params.get("lookup_key")
        and world.store.get(identifier)["lookup_key"] != params["lookup_key"]
    ):
        _free_lookup_key(world, params)
    price = world.store.edit(identifier)
    apply_fields(price, params, ("active", "lookup_key", "nickname", "tax_behavior"))
    world.emit_update("price", price)
    return price
