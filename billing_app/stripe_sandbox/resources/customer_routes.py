"""The API's routes for customers and their balance transactions."""

from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import deleted
from billing_app.stripe_sandbox.resources import cancellations
from billing_app.stripe_sandbox.resources.common import remove
from billing_app.stripe_sandbox.resources.customers import (
    add_customer,
    apply_customer_fields,
    live_customer,
    set_balance,
)
from billing_app.stripe_sandbox.resources.payment_methods import attach
from billing_app.stripe_sandbox.world import World


@route("POST", "/v1/customers", "CustomerCreateParams")
def create(world: World, params: Json) -> Json:
    customer = add_customer(world, params)
    if "payment_method" in params:
        attach(world, params["payment_method"], customer)
    world.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers", "CustomerListParams")
def list_all(world: World, params: Json) -> Json:
    email, clock = params.get("email"), params.get("test_clock")
    rows = world.store.all(
        "customer",
        lambda c: email in (None, c["email"]) and clock in (None, c["test_clock"]),
    )
    return page(params, rows, "/v1/customers")


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
    apply_customer_fields(customer, params)
    if "balance" in params:
        set_balance(world, customer, params["balance"], "adjustment")
    world.emit_update("customer", customer)
    return customer


@route("DELETE", "/v1/customers/{customer}")
def delete(world: World, params: Json, identifier: str) -> Json:
    """Deletes a customer after cancelling all subscriptions."""
    live_customer(world, identifier, "id")
    for subscription in world.store.all("subscription", lambda s: s["customer"] == identifier):
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            cancellations.cancel_now(world, subscription["id"], "cancellation_requested")
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
