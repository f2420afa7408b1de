"""Customers and their balance."""

import re
from typing import Any

from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import deleted, includable
from billing_app.stripe_sandbox.resources.common import apply_fields, remove
from billing_app.stripe_sandbox.world import World, list_object

_PLAIN = ("description", "email", "name", "phone", "tax_exempt", "address", "shipping",
          "preferred_locales", "invoice_prefix", "next_invoice_sequence")  # fmt: skip


def live_customer(world: World, identifier: str, param: str = "customer") -> Json:
    """A customer that exists and is not deleted."""
    customer = world.store.get(identifier, "customer", param=param)
    if customer.get("_deleted"):
        raise invalid(f"No such customer: '{identifier}'", param=param, code="resource_missing")
    return customer


def new_customer(world: World, params: Json) -> Json:
    clock = params.get("test_clock")
    if clock:
        world.store.get(clock, "test_helpers.test_clock", param="test_clock")
    customer = world.create(
        "customer",
        created=world.now({"test_clock": clock}),
        test_clock=clock,
        balance=params.get("balance", 0),
        delinquent=False,
        preferred_locales=[],
        tax_exempt="none",
        next_invoice_sequence=1,
        invoice_settings=blank_nested("customer", "invoice_settings"),
    )
    customer["invoice_prefix"] = customer["id"][-8:].upper()
    _apply(customer, params)
    if "payment_method" in params:
        from billing_app.stripe_sandbox.resources.payment_methods import attach

        attach(world, params["payment_method"], customer)
    world.emit("customer.created", customer)
    return customer


def _apply(customer: Json, params: Json) -> None:
    apply_fields(customer, params, _PLAIN)
    if settings := params.get("invoice_settings"):
        apply_fields(
            customer["invoice_settings"],
            settings,
            ("default_payment_method", "footer", "custom_fields", "rendering_options"),
        )


def set_balance(world: World, customer: Json, balance: int, kind: str, **details: Any) -> None:
    """Changes the balance (negative: the customer has credit) and records why."""
    change = balance - customer["balance"]
    if not change:
        return
    customer["balance"] = balance
    transaction = world.draft(
        "customer_balance_transaction",
        amount=change,
        created=world.now(customer),
        currency=customer["currency"] or "usd",
        customer=customer["id"],
        ending_balance=balance,
        type=kind,
        **details,
    )
    world.store.add(transaction)


@route("POST", "/v1/customers", "CustomerCreateParams")
def create(world: World, params: Json) -> Json:
    return new_customer(world, params)


@route("GET", "/v1/customers", "CustomerListParams")
def list_all(world: World, params: Json) -> Json:
    email, clock = params.get("email"), params.get("test_clock")
    rows = world.store.all(
        "customer",
        lambda c: email in (None, c["email"]) and clock in (None, c["test_clock"]),
    )
    return page(params, rows, "/v1/customers")


@route("GET", "/v1/customers/search", "CustomerSearchParams")
def search(world: World, params: Json) -> Json:
    """Supports `field:'value'` and `metadata['key']:'value'`, joined by AND."""
    wanted = re.findall(r"([\w.]+|metadata\['\w+'\]):'([^']*)'", params["query"])
    if not wanted:
        raise invalid("We were unable to parse your search query.", param="query")
    rows = world.store.all("customer", lambda c: all(_has(c, *pair) for pair in wanted))
    found = page({"limit": params.get("limit", 10)}, rows, "/v1/customers/search")
    return {**found, "object": "search_result", "next_page": None}


def _has(customer: Json, name: str, value: str) -> bool:
    key = re.fullmatch(r"metadata\['(\w+)'\]", name)
    return str(customer["metadata"].get(key[1]) if key else customer.get(name)) == value


@route("GET", "/v1/customers/{customer}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    customer = world.store.get(identifier, "customer")
    return deleted(customer) if customer.get("_deleted") else customer


@route("POST", "/v1/customers/{customer}", "CustomerUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    live_customer(world, identifier, "id")
    customer = world.store.edit(identifier)
    default = (params.get("invoice_settings") or {}).get("default_payment_method")
    if default:
        method = world.store.get(default, "payment_method", param="payment_method")
        if method["customer"] != identifier:
            raise invalid(
                "The customer does not have a payment method with the ID "
                f"{default}. The payment method must be attached to the customer.",
                param="invoice_settings[default_payment_method]",
                code="resource_missing",
            )
    _apply(customer, params)
    if "balance" in params:
        set_balance(world, customer, params["balance"], "adjustment")
    world.emit_update("customer", customer)
    return customer


@route("DELETE", "/v1/customers/{customer}")
def delete(world: World, params: Json, identifier: str) -> Json:
    from billing_app.stripe_sandbox.resources import subscription_ends

    live_customer(world, identifier, "id")
    for subscription in world.store.all("subscription", lambda s: s["customer"] == identifier):
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            subscription_ends.cancel_now(world, subscription["id"], "cancellation_requested")
    return remove(world, identifier, "customer", "customer.deleted")


@route(
    "POST",
    "/v1/customers/{customer}/balance_transactions",
    "CustomerBalanceTransactionCreateParams",
)
def create_balance_transaction(world: World, params: Json, identifier: str) -> Json:
    live_customer(world, identifier, "id")
    customer = world.store.edit(identifier)
    customer["currency"] = customer["currency"] or params["currency"]
    balance = customer["balance"] + params["amount"]
    set_balance(
        world,
        customer,
        balance,
        "adjustment",
        description=params.get("description"),
        metadata=params.get("metadata") or {},
    )
    world.emit_update("customer", customer)
    return list(world.store.all("customer_balance_transaction"))[-1]


@route(
    "GET", "/v1/customers/{customer}/balance_transactions", "CustomerBalanceTransactionListParams"
)
def list_balance_transactions(world: World, params: Json, identifier: str) -> Json:
    rows = world.store.all("customer_balance_transaction", lambda t: t["customer"] == identifier)
    return page(params, rows, f"/v1/customers/{identifier}/balance_transactions")


@includable("customer", "subscriptions")
def _subscriptions(world: World, customer: Json) -> Json:
    rows = world.store.all(
        "subscription",
        lambda s: s["customer"] == customer["id"] and s["status"] != "canceled",
    )
    return list_object(list(rows)[::-1], f"/v1/customers/{customer['id']}/subscriptions")


@includable("customer", "sources")
def _sources(world: World, customer: Json) -> Json:
    return list_object([], f"/v1/customers/{customer['id']}/sources")


@includable("customer", "tax_ids")
def _tax_ids(world: World, customer: Json) -> Json:
    return list_object([], f"/v1/customers/{customer['id']}/tax_ids")
