"""Coupons, promotion codes, and the discounts that come from them."""

from collections.abc import Sequence
from fractions import Fraction

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.dates import add_intervals
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import deleted, includable
from billing_app.stripe_sandbox.resources.common import apply_fields, remove
from billing_app.stripe_sandbox.world import World


@route("POST", "/v1/coupons", "CouponCreateParams")
def create_coupon(world: World, params: Json) -> Json:
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid("You must pass either percent_off or amount_off.", param="percent_off")
    if "amount_off" in params and "currency" not in params:
        raise invalid("You must pass currency when passing amount_off", param="currency")
    if "id" in params and world.store.find(params["id"]):
        raise invalid("Coupon already exists.", param="id", code="resource_already_exists")
    coupon = world.create(
        "coupon",
        created=world.real_now(),
        duration=params.get("duration", "once"),
        times_redeemed=0,
        valid=True,
        _products=(params.get("applies_to") or {}).get("products"),
        **({"id": params["id"]} if "id" in params else {}),
    )
    apply_fields(
        coupon,
        params,
        ("amount_off", "percent_off", "currency", "duration_in_months", "max_redemptions",
         "name", "redeem_by"),
    )  # fmt: skip
    world.emit("coupon.created", coupon)
    return coupon


@includable("coupon", "applies_to")
def _applies_to(world: World, coupon: Json) -> Json | None:
    return {"products": coupon["_products"]} if coupon.get("_products") else None


@route("GET", "/v1/coupons", "CouponListParams")
def list_coupons(world: World, params: Json) -> Json:
    return page(params, world.store.all("coupon"), "/v1/coupons")


@route("GET", "/v1/coupons/{coupon}")
def retrieve_coupon(world: World, params: Json, identifier: str) -> Json:
    coupon = world.store.get(identifier, "coupon")
    return deleted(coupon) if coupon.get("_deleted") else coupon


@route("POST", "/v1/coupons/{coupon}", "CouponUpdateParams")
def update_coupon(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "coupon")
    coupon = world.store.edit(identifier)
    apply_fields(coupon, params, ("name",))
    world.emit_update("coupon", coupon)
    return coupon


@route("DELETE", "/v1/coupons/{coupon}")
def delete_coupon(world: World, params: Json, identifier: str) -> Json:
    return remove(world, identifier, "coupon", "coupon.deleted")


@route("POST", "/v1/promotion_codes", "PromotionCodeCreateParams")
def create_promotion_code(world: World, params: Json) -> Json:
    coupon = params["promotion"].get("coupon")
    world.store.get(coupon, "coupon", param="promotion[coupon]")
    code = params.get("code") or world.new_id("coupon").upper()
    restrictions = {
        "first_time_transaction": False,
        "minimum_amount": None,
        "minimum_amount_currency": None,
    } | (params.get("restrictions") or {})
    promotion = world.create(
        "promotion_code",
        active=params.get("active", True),
        code=code,
        created=world.real_now(),
        promotion={"type": "coupon", "coupon": coupon},
        restrictions=restrictions,
        times_redeemed=0,
    )
    apply_fields(promotion, params, ("customer", "expires_at", "max_redemptions"))
    world.emit("promotion_code.created", promotion)
    return promotion


@route("GET", "/v1/promotion_codes", "PromotionCodeListParams")
def list_promotion_codes(world: World, params: Json) -> Json:
    code, active = params.get("code"), params.get("active")
    rows = world.store.all(
        "promotion_code",
        lambda p: code in (None, p["code"]) and active in (None, p["active"]),
    )
    return page(params, rows, "/v1/promotion_codes")


@route("GET", "/v1/promotion_codes/{promotion_code}")
def retrieve_promotion_code(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "promotion_code")


@route("POST", "/v1/promotion_codes/{promotion_code}", "PromotionCodeUpdateParams")
def update_promotion_code(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "promotion_code")
    promotion = world.store.edit(identifier)
    apply_fields(promotion, params, ("active",))
    world.emit_update("promotion_code", promotion)
    return promotion


def _redeemable(world: World, identifier: str, now: int) -> Json:
    coupon = world.store.get(identifier, "coupon", param="coupon")
    spent = coupon["max_redemptions"] and coupon["times_redeemed"] >= coupon["max_redemptions"]
    late = coupon["redeem_by"] and coupon["redeem_by"] < now
    if coupon.get("_deleted") or spent or late:
        raise invalid(f"This coupon cannot be redeemed: {identifier}", code="coupon_expired")
    return world.store.edit(identifier)


def redeem(world: World, entries: Sequence[Json] | str, customer: Json, **holder: str) -> list[str]:
    """Turns `discounts` parameters into stored discounts; returns their ids."""
    if isinstance(entries, str):
        return []
    return [_redeem_one(world, entry, customer, holder) for entry in entries]


def _redeem_one(world: World, entry: Json, customer: Json, holder: dict[str, str]) -> str:
    if entry.get("discount"):
        return world.store.get(entry["discount"], "discount", param="discounts")["id"]
    now = world.now(customer)
    promotion_id = entry.get("promotion_code")
    coupon_id = entry.get("coupon")
    if promotion_id:
        world.store.get(promotion_id, "promotion_code", param="discounts")
        promotion = world.store.edit(promotion_id)
        if not promotion["active"]:
            raise invalid("This promotion code is not active.", param="discounts")
        promotion["times_redeemed"] += 1
        coupon_id = promotion["promotion"]["coupon"]
    coupon = _redeemable(world, str(coupon_id), now)
    coupon["times_redeemed"] += 1
    months = coupon["duration_in_months"]
    return world.create(
        "discount",
        customer=customer["id"],
        promotion_code=promotion_id,
        source={"type": "coupon", "coupon": coupon["id"]},
        start=now,
        end=add_intervals(now, "month", months) if months else None,
        **holder,
    )["id"]


def running(world: World, discounts: Sequence[str], now: int) -> list[Json]:
    """The discounts that are still in effect at a time."""
    found = [world.store.get(identifier, "discount") for identifier in discounts]
    return [entry for entry in found if entry["end"] is None or entry["end"] > now]


def standing(world: World, subscription: Json) -> list[str]:
    """The discounts of a subscription: its own, else that of its customer, which only older API
    versions put there (https://docs.stripe.com/api/customers/object#customer_object-discount)."""
    if subscription["discounts"]:
        return list(subscription["discounts"])
    discount = world.store.get(subscription["customer"])["discount"]
    return [discount["id"]] if discount else []


def put_on_customer(world: World, identifier: str, coupon: str) -> Json:
    """As older API versions did."""
    customer = world.store.edit(identifier)
    (discount,) = redeem(world, [{"coupon": coupon}], customer)
    customer["discount"] = public(world.store.get(discount))
    world.emit("customer.discount.created", customer["discount"])
    return customer["discount"]


def is_once(world: World, discount: str) -> bool:
    entry = world.store.get(discount, "discount")
    return world.store.get(entry["source"]["coupon"])["duration"] == "once"


def discount_lines(world: World, lines: Sequence[Json], discounts: Sequence[Json]) -> None:
    """Sets the discount amounts of each discountable line, exact to the minor unit."""
    for discount in discounts:
        coupon = world.store.get(discount["source"]["coupon"], "coupon")
        eligible = [line for line in lines if _applies(coupon, line)]
        remaining = [_net(line) for line in eligible]
        for line, off in zip(eligible, _amounts_off(coupon, remaining), strict=True):
            line["discount_amounts"].append({"amount": off, "discount": discount["id"]})


def _applies(coupon: Json, line: Json) -> bool:
    details = (line["pricing"] or {}).get("price_details") or {}
    products = coupon.get("_products")
    return (
        line["discountable"]
        and _net(line) > 0
        and (not products or details.get("product") in products)
    )


def _net(line: Json) -> int:
    return line["amount"] - sum(entry["amount"] for entry in line["discount_amounts"])


def _amounts_off(coupon: Json, amounts: Sequence[int]) -> list[int]:
    if coupon["percent_off"] is not None:
        percent = Fraction(str(coupon["percent_off"]))
        return [money.round_minor(amount * percent / 100) for amount in amounts]
    return money.spread(min(coupon["amount_off"], sum(amounts)), amounts)
