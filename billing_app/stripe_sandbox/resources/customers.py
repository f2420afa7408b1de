"""Customers and their balance."""

from typing import Any

from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.render import includable
from billing_app.stripe_sandbox.resources.common import apply_fields
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
    """Creates a customer and emits the event."""
    customer = add_customer(world, params)
    world.emit("customer.created", customer)
    return customer


def add_customer(world: World, params: Json) -> Json:
    """Creates a customer without emitting the event."""
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
    apply_customer_fields(customer, params)
    return customer


def apply_customer_fields(customer: Json, params: Json) -> None:
    apply_fields(customer, params, _PLAIN)
    if settings := params.get("invoice_settings"):
        apply_fields(
            customer["invoice_settings"],
            settings,
            ("default_payment_method", "footer", "custom_fields", "rendering_options"),
        )


def set_balance(world: World, customer: Json, balance: int, kind: str, **details: Any) -> None:
    """Sets the balance (negative is credit) and records the change."""
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
