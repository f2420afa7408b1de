"""Payment methods: cards by number (as Stripe.js would send them) or by test token."""

from datetime import UTC, datetime

from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources import cards
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.world import World

_DEFAULT_EXPIRY = (12, 2040)
_NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def new_card(
    world: World,
    number: str,
    expiry: tuple[int, int] = _DEFAULT_EXPIRY,
    *,
    billing: Json | None = None,
    metadata: Json | None = None,
) -> Json:
    """Creates a card without attaching it. Raises a card error for an impossible number."""
    month, year = expiry
    today = datetime.now(UTC)
    cards.check_number(number, month, year, (today.year, today.month))
    details = {"email": None, "name": None, "phone": None, "tax_id": None} | (billing or {})
    details["address"] = _NO_ADDRESS | (details.get("address") or {})
    return world.create(
        "payment_method",
        allow_redisplay="unspecified",
        billing_details=details,
        card=_card_fields(number, month, year),
        created=world.real_now(),
        type="card",
        metadata=merged_metadata({}, metadata),
        _number=number,
        _set_up=False,
    )


def _card_fields(number: str, month: int, year: int) -> Json:
    checks = blank_nested("payment_method", "card", "checks") | {"cvc_check": "pass"}
    brand = cards.brand_of(number)
    return blank_nested("payment_method", "card") | {
        "brand": brand,
        "checks": checks,
        "country": "US",
        "display_brand": brand,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": cards.fingerprint_of(number),
        "funding": "debit" if number.startswith("400005") else "credit",
        "last4": number[-4:],
        "networks": {"available": [brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
    }


def card_behind(world: World, method: Json) -> cards.Card:
    return cards.card_for(method["_number"])


def method_for(world: World, identifier: str, param: str = "payment_method") -> Json:
    """The payment method, for writing; a test token such as `pm_card_visa` creates a new one."""
    number = cards.number_of_token(identifier)
    if number:
        return new_card(world, number)
    world.store.get(identifier, "payment_method", param=param)
    return world.store.edit(identifier)


def require_attached(world: World, identifier: str, customer: Json) -> None:
    """A default must belong to the customer
    (docs.stripe.com/api/invoices/create#create_invoice-default_payment_method)."""
    method = world.store.get(identifier, "payment_method", param="default_payment_method")
    if method["customer"] != customer["id"]:
        raise invalid(
            f"The customer does not have a payment method with the ID {identifier}. The payment "
            "method must be attached to the customer.",
            param="default_payment_method",
            code="resource_missing",
        )


BANK_ACCOUNT = "000123456789"  # docs.stripe.com/payments/ach-direct-debit#test-account-numbers
ROUTING_NUMBER = "110000000"


def is_slow(method: Json) -> bool:
    """Whether the bank takes days to decide (docs.stripe.com/payments/ach-direct-debit)."""
    return method["type"] == "us_bank_account"


def new_bank_account(world: World, params: Json) -> Json:
    account, details = params["us_bank_account"], params.get("billing_details") or {}
    number = account["account_number"]
    return world.create(
        "payment_method",
        allow_redisplay="unspecified",
        billing_details={"email": None, "name": None, "phone": None, "tax_id": None}
        | details
        | {"address": _NO_ADDRESS},
        created=world.real_now(),
        type="us_bank_account",
        us_bank_account=blank_nested("payment_method", "us_bank_account")
        | {
            "account_holder_type": account.get("account_holder_type", "company"),
            "account_type": account.get("account_type", "checking"),
            "bank_name": "STRIPE TEST BANK",
            "fingerprint": cards.fingerprint_of(number),
            "last4": number[-4:],
            "routing_number": account["routing_number"],
        },
        metadata=merged_metadata({}, params.get("metadata")),
        _number=number,
        _set_up=False,
    )


@route("POST", "/v1/payment_methods", "PaymentMethodCreateParams")
def create(world: World, params: Json) -> Json:
    if params.get("type") == "us_bank_account" and "us_bank_account" in params:
        return new_bank_account(world, params)
    if params.get("type") != "card" or "card" not in params:
        raise invalid("The sandbox supports cards and US bank accounts only.", param="type")
    card = params["card"]
    billing, metadata = params.get("billing_details"), params.get("metadata")
    if "token" in card:
        number = cards.number_of_token(card["token"])
        if number is None:
            raise invalid(f"No such token: '{card['token']}'", param="card[token]")
        return new_card(world, number, billing=billing, metadata=metadata)
    expiry = (card["exp_month"], card["exp_year"])
    return new_card(world, card["number"], expiry, billing=billing, metadata=metadata)


@route("GET", "/v1/payment_methods", "PaymentMethodListParams")
def list_all(world: World, params: Json) -> Json:
    rows = _attached(world, params.get("customer"), params.get("type"))
    return page(params, rows, "/v1/payment_methods")


@route("GET", "/v1/customers/{customer}/payment_methods", "CustomerPaymentMethodListParams")
def list_of_customer(world: World, params: Json, customer: str) -> Json:
    live_customer(world, customer, "id")
    rows = _attached(world, customer, params.get("type"))
    return page(params, rows, f"/v1/customers/{customer}/payment_methods")


def _attached(world: World, customer: str | None, kind: str | None) -> list[Json]:
    return list(
        world.store.all(
            "payment_method",
            lambda m: (
                customer is not None and m["customer"] == customer and kind in (None, m["type"])
            ),
        )
    )


@route("GET", "/v1/customers/{customer}/payment_methods/{payment_method}")
def retrieve_of_customer(world: World, params: Json, customer: str, identifier: str) -> Json:
    method = world.store.get(identifier, "payment_method")
    if method["customer"] != customer:
        raise invalid(f"No such payment method: '{identifier}'", code="resource_missing")
    return method


@route("GET", "/v1/payment_methods/{payment_method}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "payment_method")


@route("POST", "/v1/payment_methods/{payment_method}", "PaymentMethodUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "payment_method")
    method = world.store.edit(identifier)
    apply_fields(method, params, ("allow_redisplay",))
    method["billing_details"] |= params.get("billing_details") or {}
    method["card"] |= params.get("card") or {}
    world.emit_update("payment_method", method)
    return method


def attach(world: World, identifier: str, customer: Json) -> Json:
    """Attaches a card to a customer. Raises a card error if the bank declines it."""
    method = method_for(world, identifier)
    card = card_behind(world, method)
    if card.declined and not card.attaches:
        raise cards.card_error(card.declined)
    if method["customer"] not in (None, customer["id"]):
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    if method["customer"] is None:
        method["customer"] = customer["id"]
        world.emit("payment_method.attached", method, now=world.now(customer))
    return method


@route("POST", "/v1/payment_methods/{payment_method}/attach", "PaymentMethodAttachParams")
def attach_call(world: World, params: Json, identifier: str) -> Json:
    return attach(world, identifier, live_customer(world, params["customer"]))


@route("POST", "/v1/payment_methods/{payment_method}/detach")
def detach(world: World, params: Json, identifier: str) -> Json:
    method = world.store.get(identifier, "payment_method")
    customer_id = method["customer"]
    if customer_id is None:
        raise invalid("The payment method you provided is not attached to a customer.")
    method = world.store.edit(identifier)
    method["customer"] = None
    _forget_default(world, customer_id, identifier)
    world.emit("payment_method.detached", method)
    return method


def _forget_default(world: World, customer_id: str, identifier: str) -> None:
    customer = world.store.get(customer_id, "customer")
    if customer["invoice_settings"]["default_payment_method"] == identifier:
        edited = world.store.edit(customer_id)
        edited["invoice_settings"]["default_payment_method"] = None
        world.emit_update("customer", edited)
    for subscription in world.store.all("subscription", lambda s: s["customer"] == customer_id):
        if subscription["default_payment_method"] == identifier:
            world.store.edit(subscription["id"])["default_payment_method"] = None
