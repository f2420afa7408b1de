"""Billing credits: grants, what is left of them, and applying them to metered lines.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/billing-credits
"""

from billing_app.stripe_sandbox.errors import Json, invalid, missing_param, wrong_state
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.world import World

_DEFAULT_PRIORITY = 50


@route("POST", "/v1/billing/credit_grants", "billing.CreditGrantCreateParams")
def create(world: World, params: Json) -> Json:
    if "customer" not in params:
        raise missing_param("customer")
    customer = live_customer(world, params["customer"])
    now = world.now(customer)
    grant = world.create(
        "billing.credit_grant",
        amount=params["amount"],
        applicability_config=_config(params["applicability_config"]),
        category=params.get("category", "paid"),
        created=now,
        updated=now,
        customer=customer["id"],
        effective_at=params.get("effective_at", now),
        expires_at=params.get("expires_at"),
        metadata=merged_metadata({}, params.get("metadata")),
        name=params.get("name"),
        priority=params.get("priority", _DEFAULT_PRIORITY),
        test_clock=customer["test_clock"],
    )
    _record(world, grant, grant["effective_at"], credit=_amount(grant)["value"])
    world.emit("billing.credit_grant.created", grant, now=now)
    return grant


def _config(params: Json) -> Json:
    return {"scope": {"price_type": None, "prices": None} | params["scope"]}


def _amount(grant: Json) -> Json:
    return grant["amount"]["monetary"]


def _money(grant: Json, value: int) -> Json:
    monetary = {"currency": _amount(grant)["currency"], "value": value}
    return {"type": "monetary", "monetary": monetary}


def _record(
    world: World, grant: Json, now: int, *, credit: int = 0, debit: int = 0, **details: object
) -> str:
    kind = "credit" if credit else "debit"
    movement: Json = {"amount": _money(grant, credit or debit)}
    if credit:
        movement |= {"type": "credits_granted", "credits_application_invoice_voided": None}
    else:
        movement |= {"type": "credits_applied", "credits_applied": None} | details
    return world.create(
        "billing.credit_balance_transaction",
        created=now,
        effective_at=now,
        credit_grant=grant["id"],
        test_clock=grant["test_clock"],
        type=kind,
        _customer=grant["customer"],
        **{kind: movement},
    )["id"]


def _left(world: World, grant: Json) -> int:
    total = 0
    for entry in world.store.all("billing.credit_balance_transaction"):
        if entry["credit_grant"] != grant["id"]:
            continue
        side = entry["credit"] or entry["debit"]
        value = side["amount"]["monetary"]["value"]
        total += value if entry["credit"] else -value
    return total


def _usable(grant: Json, now: int) -> bool:
    return (
        grant["voided_at"] is None
        and (grant["effective_at"] or 0) <= now
        and (grant["expires_at"] is None or grant["expires_at"] > now)
    )


def _order(grant: Json) -> tuple[int, int, bool, int]:
    never = grant["expires_at"] or 2**62
    return grant["priority"], never, grant["category"] == "paid", grant["effective_at"]


def apply_to(world: World, invoice: Json, now: int) -> None:
    """Pays metered lines of a draft with the customer's credits."""
    grants = [
        grant
        for grant in world.store.all(
            "billing.credit_grant", lambda g: g["customer"] == invoice["customer"]
        )
        if _usable(grant, now) and _amount(grant)["currency"] == invoice["currency"]
    ]
    for grant in sorted(grants, key=_order):
        left = _left(world, grant)
        for line in invoice["lines"]["data"]:
            left -= _apply(world, invoice, line, grant, left, now)


def _apply(world: World, invoice: Json, line: Json, grant: Json, left: int, now: int) -> int:
    off = sum(entry["amount"] for entry in line["discount_amounts"])
    used = sum(entry["amount"] for entry in line["pretax_credit_amounts"])
    amount = min(left, line["amount"] - off - used)
    if amount <= 0 or not _covers(world, grant, line):
        return 0
    applied = {"invoice": invoice["id"], "invoice_line_item": line["id"]}
    transaction = _record(world, grant, now, debit=amount, credits_applied=applied)
    entry = {
        "amount": amount,
        "credit_balance_transaction": transaction,
        "discount": None,
        "type": "credit_balance_transaction",
    }
    line["pretax_credit_amounts"].append(entry)
    invoice["total_pretax_credit_amounts"].append(dict(entry))
    return amount


def _covers(world: World, grant: Json, line: Json) -> bool:
    price_id = ((line["pricing"] or {}).get("price_details") or {}).get("price")
    price = world.store.find(price_id)
    if price is None or not price["recurring"] or price["recurring"]["usage_type"] != "metered":
        return False
    wanted = grant["applicability_config"]["scope"]["prices"]
    return not wanted or price_id in [entry["id"] for entry in wanted]


@route("GET", "/v1/billing/credit_grants", "billing.CreditGrantListParams")
def list_all(world: World, params: Json) -> Json:
    customer = params.get("customer")
    rows = world.store.all("billing.credit_grant", lambda g: customer in (None, g["customer"]))
    return page(params, rows, "/v1/billing/credit_grants")


@route("GET", "/v1/billing/credit_grants/{id}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "billing.credit_grant")


@route("POST", "/v1/billing/credit_grants/{id}", "billing.CreditGrantUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "billing.credit_grant")
    grant = world.store.edit(identifier)
    apply_fields(grant, params, ("expires_at",))
    return _changed(world, grant)


@route("POST", "/v1/billing/credit_grants/{id}/expire")
def expire(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "billing.credit_grant")
    grant = world.store.edit(identifier)
    grant["expires_at"] = world.now(grant)
    return _changed(world, grant)


@route("POST", "/v1/billing/credit_grants/{id}/void")
def void(world: World, params: Json, identifier: str) -> Json:
    grant = world.store.get(identifier, "billing.credit_grant")
    if _left(world, grant) != _amount(grant)["value"]:
        raise wrong_state("Only an unused credit grant can be voided.", "credit_grant_used")
    grant = world.store.edit(identifier)
    grant["voided_at"] = world.now(grant)
    return _changed(world, grant)


def _changed(world: World, grant: Json) -> Json:
    grant["updated"] = world.now(grant)
    world.emit_update("billing.credit_grant", grant)
    return grant


@route("GET", "/v1/billing/credit_balance_summary", "billing.CreditBalanceSummaryRetrieveParams")
def summary(world: World, params: Json) -> Json:
    if "customer" not in params:
        raise missing_param("customer")
    customer = live_customer(world, params["customer"])
    now = world.now(customer)
    totals: dict[str, int] = {}
    for grant in world.store.all("billing.credit_grant"):
        if grant["customer"] == customer["id"] and _usable(grant, now):
            currency = _amount(grant)["currency"]
            totals[currency] = totals.get(currency, 0) + _left(world, grant)
    balances = [
        {"type": "monetary", "monetary": {"currency": currency, "value": value}}
        for currency, value in totals.items()
    ]
    return {
        "object": "billing.credit_balance_summary",
        "balances": [{"available_balance": b, "ledger_balance": dict(b)} for b in balances],
        "customer": customer["id"],
        "customer_account": None,
        "livemode": False,
    }


@route(
    "GET",
    "/v1/billing/credit_balance_transactions",
    "billing.CreditBalanceTransactionListParams",
)
def list_transactions(world: World, params: Json) -> Json:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer")
    grant = params.get("credit_grant")
    rows = world.store.all(
        "billing.credit_balance_transaction",
        lambda t: t["_customer"] == params["customer"] and grant in (None, t["credit_grant"]),
    )
    return page(params, rows, "/v1/billing/credit_balance_transactions")
