"""A subscription's status, and how invoices change it.

Source: https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
"""

from typing import Any

from billing_app.stripe_sandbox.dates import HOUR_SECONDS
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.world import World

LIVE = frozenset({"trialing", "active", "past_due", "unpaid"})
INCOMPLETE_SECONDS = 23 * HOUR_SECONDS
ENDED = frozenset({"canceled", "incomplete_expired"})


def change(world: World, identifier: str, now: int, **fields: Any) -> Json:
    """Sets fields and emits one `customer.subscription.updated` with their earlier values."""
    subscription = world.store.edit(identifier)
    previous = {
        name: subscription.get(name)
        for name, value in fields.items()
        if not name.startswith("_") and subscription.get(name) != value
    }
    subscription |= fields
    if previous:
        world.emit("customer.subscription.updated", subscription, previous=previous, now=now)
    return subscription


def invoice_settled(world: World, identifier: str, invoice: Json, now: int) -> None:
    """Updates the subscription after an invoice was paid, voided or written off."""
    subscription = world.store.get(identifier, "subscription")
    status = subscription["status"]
    if waits_for_update(subscription, invoice):
        _finish_pending_update(world, subscription, invoice, now)
    elif status == "incomplete":
        paid = invoice["status"] == "paid"
        change(world, identifier, now, status="active" if paid else "incomplete_expired")
    elif status in ("past_due", "unpaid") and subscription["latest_invoice"] == invoice["id"]:
        change(world, identifier, now, status="active")


def invoice_failed(world: World, identifier: str, invoice: Json, now: int) -> None:
    """Updates the subscription after an attempt to collect an invoice failed."""
    subscription = world.store.get(identifier, "subscription")
    if waits_for_update(subscription, invoice):
        return
    if subscription["status"] in ("active", "trialing"):
        change(world, identifier, now, status="past_due")


def waits_for_update(subscription: Json, invoice: Json) -> bool:
    return (subscription.get("_pending_update") or {}).get("invoice") == invoice["id"]


def _finish_pending_update(world: World, subscription: Json, invoice: Json, now: int) -> None:
    pending = subscription["_pending_update"]
    if invoice["status"] == "paid":
        change(
            world,
            subscription["id"],
            now,
            pending_update=None,
            _pending_update=None,
            **pending["values"],
        )
    else:
        change(world, subscription["id"], now, pending_update=None, _pending_update=None)
