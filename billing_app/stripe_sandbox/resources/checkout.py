"""Checkout sessions in the API. `checkout_payment` handles what a person does on the page.

Source: https://docs.stripe.com/api/checkout/sessions?api-version=2026-10-28.endive
"""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.contract.blank import blank, blank_nested
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json, check_url, invalid, missing_param, wrong_state
from billing_app.stripe_sandbox.registry import cut_page, page, route
from billing_app.stripe_sandbox.render import includable
from billing_app.stripe_sandbox.resources import coupons, invoicing, taxes
from billing_app.stripe_sandbox.resources.catalog import inline_price, price_of
from billing_app.stripe_sandbox.resources.common import apply_fields
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.subscription_ends import expire_incomplete
from billing_app.stripe_sandbox.world import World, list_object

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1_800, DAY_SECONDS
_PLAIN = (
    "allow_promotion_codes",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "customer",
    "customer_email",
    "locale",
    "payment_method_collection",
    "submit_type",
    "success_url",
)


@route("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams")
def create(world: World, params: Json) -> Json:
    mode = params.get("mode", "payment")
    _check(world, params, mode)
    customer = world.store.find(params.get("customer"))
    now = world.now(customer)
    rows = [_line(world, entry, mode) for entry in params.get("line_items") or []]
    if mode == "subscription" and not any(row["price"]["recurring"] for row in rows):
        raise invalid(
            "You must provide at least one recurring price in `subscription` mode.",
            param="line_items",
        )
    session = world.create(
        "checkout.session",
        automatic_tax=_automatic_tax(params),
        created=now,
        currency=rows[0]["currency"] if rows else params.get("currency"),
        custom_text=blank("checkout.session")["custom_text"],
        customer_creation=_customer_creation(params, mode),
        expires_at=_expiry(params, now),
        mode=mode,
        payment_method_types=["card"],
        payment_status="no_payment_required" if mode == "setup" else "unpaid",
        status="open",
        tax_id_collection=_tax_id_collection(params),
        ui_mode=params.get("ui_mode", "hosted_page"),
        metadata=params.get("metadata") or {},
        _lines=rows,
        _data={name: params.get(name) or {} for name in
               ("subscription_data", "payment_intent_data", "setup_intent_data")},
        _discounts=params.get("discounts") or [],
        _invoice_creation=params.get("invoice_creation") or {},
        _customer_update=params.get("customer_update") or {},
        _excluded=params.get("excluded_payment_method_types") or [],
    )  # fmt: skip
    apply_fields(session, {k: v for k, v in params.items() if k != "metadata"}, _PLAIN)
    session["url"] = f"{world.base_url}/checkout/{session['id']}"
    session["discounts"] = [
        {"coupon": entry.get("coupon"), "promotion_code": entry.get("promotion_code")}
        for entry in session["_discounts"]
    ]
    add_up(world, session)
    return session


def _check(world: World, params: Json, mode: str) -> None:
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid("The sandbox supports the hosted page only.", param="ui_mode")
    if not params.get("success_url"):
        raise missing_param("success_url")
    for name in ("success_url", "cancel_url"):
        check_url(params.get(name), name)
    if mode != "setup" and not params.get("line_items"):
        raise missing_param("line_items")
    if params.get("customer"):
        live_customer(world, params["customer"])
        if params.get("customer_email"):
            raise invalid("You may only specify one of these parameters: customer, customer_email.",
                          param="customer_email")  # fmt: skip
    if params.get("excluded_payment_method_types") and params.get("payment_method_types"):
        # docs.stripe.com/api/checkout/sessions/create: for methods managed in the dashboard
        raise invalid("You may only specify one of these parameters: payment_method_types, "
                      "excluded_payment_method_types.",
                      param="excluded_payment_method_types")  # fmt: skip
    if params.get("allow_promotion_codes") and params.get("discounts"):
        raise invalid("You may only specify one of these parameters: allow_promotion_codes, "
                      "discounts.", param="discounts")  # fmt: skip
    _check_customer_update(world, params)


def _check_customer_update(world: World, params: Json) -> None:
    wanted = params.get("customer_update") or {}
    if wanted and not params.get("customer"):
        raise invalid("`customer_update` can only be used with `customer`.",
                      param="customer_update")  # fmt: skip
    asks = (params.get("tax_id_collection") or {}).get("enabled")
    if asks and params.get("customer") and wanted.get("name") != "auto":
        raise invalid(
            "Tax ID collection requires updating business name on the customer. To enable tax ID "
            "collection for an existing customer, please set `customer_update[name]` to `auto`.",
            param="tax_id_collection",
        )
    customer = world.store.find(params.get("customer"))
    is_taxed = (params.get("automatic_tax") or {}).get("enabled")
    is_known = customer is None or taxes.location(customer)
    if is_taxed and not is_known and "auto" not in (wanted.get("address"), wanted.get("shipping")):
        raise taxes.location_invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a "
            "valid address to the Customer or set either `customer_update[address]` to 'auto' or "
            "`customer_update[shipping]` to 'auto' to save the address entered in Checkout to the "
            "Customer."
        )


def _tax_id_collection(params: Json) -> Json | None:
    wanted = params.get("tax_id_collection")
    return {"required": "never"} | wanted if wanted else None


def _customer_creation(params: Json, mode: str) -> str | None:
    if params.get("customer"):
        return None
    return "always" if mode == "subscription" else params.get("customer_creation", "if_required")


def _expiry(params: Json, now: int) -> int:
    at = params.get("expires_at", now + _LONGEST_SECONDS)
    if not now + _SHORTEST_SECONDS - 60 <= at <= now + _LONGEST_SECONDS + 60:
        raise invalid(
            "The `expires_at` timestamp must be at least 30 minutes and less than 24 hours from "
            "Checkout Session creation.",
            param="expires_at",
        )
    return at


def _line(world: World, entry: Json, mode: str) -> Json:
    if "price_data" in entry:
        price = inline_price(world, entry["price_data"])
    elif entry.get("price"):
        price = price_of(world, entry["price"], "line_items[0][price]")
    else:
        raise missing_param("line_items[0][price]")
    if mode == "payment" and price["type"] == "recurring":
        raise invalid(
            "You specified `payment` mode but passed a recurring price. Either switch to "
            "`subscription` mode or use only one-time prices.",
            param="line_items",
        )
    metered = bool(price["recurring"]) and price["recurring"]["usage_type"] == "metered"
    quantity = None if metered else entry.get("quantity", 1)
    amount = 0 if metered else money.price_amount(price, quantity or 0)
    return world.draft(
        "item",
        amount_discount=0,
        amount_subtotal=amount,
        amount_tax=0,
        amount_total=amount,
        currency=price["currency"],
        description=world.store.get(price["product"])["name"],
        discounts=[],
        price=public(price),
        quantity=quantity,
        taxes=[],
    )


def is_trial(session: Json) -> bool:
    data = session["_data"]["subscription_data"]
    return bool(data.get("trial_period_days") or data.get("trial_end"))


def _automatic_tax(params: Json) -> Json:
    state = taxes.of_document(enabled=(params.get("automatic_tax") or {}).get("enabled", False))
    del state["disabled_reason"]
    return state


def _tax_country(world: World, session: Json) -> str | None:
    """Notes whether it is known; nothing is taxed before."""
    state, customer = session["automatic_tax"], world.store.find(session["customer"])
    if not state["enabled"]:
        return None
    country = taxes.location(customer) if customer else None
    state["status"] = "complete" if country else "requires_location_inputs"
    return country


def add_up(world: World, session: Json) -> None:
    """Computes the totals due today: discounts deducted, recurring prices free during a trial."""
    if session["mode"] == "setup":
        return
    rows = [
        row for row in session["_lines"] if not (is_trial(session) and row["price"]["recurring"])
    ]
    lines = [
        {
            "amount": row["amount_subtotal"],
            "discount_amounts": [],
            "discountable": True,
            "pricing": invoicing.pricing_of(row["price"]),
        }
        for row in rows
    ]
    coupons.discount_lines(world, lines, [_as_discount(world, e) for e in session["_discounts"]])
    country = _tax_country(world, session)
    for row, line in zip(rows, lines, strict=True):
        net = invoicing.net_of_line(line)
        row["amount_tax"] = taxes.tax_on(net, country)
        row["amount_total"] = net + row["amount_tax"]
        row["amount_discount"] = row["amount_subtotal"] - net
    session["amount_subtotal"] = sum(line["amount"] for line in lines)
    session["amount_total"] = sum(row["amount_total"] for row in rows)
    session["total_details"] = blank_nested("checkout.session", "total_details") | {
        "amount_discount": sum(row["amount_discount"] for row in rows),
        "amount_shipping": 0,
        "amount_tax": sum(row["amount_tax"] for row in rows),
    }
    session["total_details"].pop("breakdown", None)


def _as_discount(world: World, entry: Json) -> Json:
    coupon = entry.get("coupon")
    if entry.get("promotion_code"):
        promotion = world.store.get(entry["promotion_code"], "promotion_code", param="discounts")
        coupon = promotion["promotion"]["coupon"]
    world.store.get(str(coupon), "coupon", param="discounts")
    return {"id": "di_preview", "source": {"coupon": coupon}}


def use_promotion_code(world: World, identifier: str, code: str) -> bool:
    """Applies the code that a person entered. False if there is no such active code."""
    wanted = code.strip().lower()
    for promotion in world.store.all("promotion_code", lambda p: p["active"]):
        if promotion["code"].lower() == wanted:
            session = world.store.edit(identifier)
            session["_discounts"] = [{"promotion_code": promotion["id"]}]
            session["discounts"] = [{"coupon": None, "promotion_code": promotion["id"]}]
            add_up(world, session)
            return True
    return False


@includable("checkout.session", "line_items")
def _line_items(world: World, session: Json) -> Json:
    return list_object(session["_lines"], f"/v1/checkout/sessions/{session['id']}/line_items")


@route("GET", "/v1/checkout/sessions", "checkout.SessionListParams")
def list_all(world: World, params: Json) -> Json:
    names = ("customer", "subscription", "payment_intent", "status")
    rows = world.store.all(
        "checkout.session",
        lambda s: all(params.get(name) in (None, s[name]) for name in names),
    )
    return page(params, rows, "/v1/checkout/sessions")


@route("GET", "/v1/checkout/sessions/{session}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "checkout.session")


@route("POST", "/v1/checkout/sessions/{session}", "checkout.SessionUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "checkout.session")
    session = world.store.edit(identifier)
    apply_fields(session, params, ())
    return session


@route("GET", "/v1/checkout/sessions/{session}/line_items", "checkout.SessionLineItemListParams")
def list_line_items(world: World, params: Json, identifier: str) -> Json:
    rows = world.store.get(identifier, "checkout.session")["_lines"]
    return cut_page(params, rows, f"/v1/checkout/sessions/{identifier}/line_items")


@route("POST", "/v1/checkout/sessions/{session}/expire", "checkout.SessionExpireParams")
def expire_call(world: World, params: Json, identifier: str) -> Json:
    session = world.store.get(identifier, "checkout.session")
    if session["status"] != "open":
        raise wrong_state(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of `{session['status']}`.",
            "checkout_session_not_open",
        )
    return expire(world, identifier, world.now(world.store.find(session["customer"])))


def expire(world: World, identifier: str, now: int) -> Json:
    """Expires a session, together with a subscription that is still waiting for its payment."""
    session = world.store.edit(identifier)
    session |= {"status": "expired", "url": None}
    waiting = world.store.find(session.get("_waiting_subscription"))
    if waiting and waiting["status"] == "incomplete":
        expire_incomplete(world, waiting["id"], now)
    world.emit("checkout.session.expired", session, now=now)
    return session
