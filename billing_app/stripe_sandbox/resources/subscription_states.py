"""A subscription's status and what moves it.

Source: https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
"""

from typing import Any

from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.world import World

LIVE = frozenset({"trialing", "active", "past_due", "unpaid"})
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
    """An invoice was paid, voided or written off."""
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
    """An attempt failed."""
    subscription = world.store.get(identifier, "subscription")
    if waits_for_update(subscription, invoice):
        return
    if subscription["status"] in ("active", "trialing"):
        change(world, identifier, now, status="past_due")


def retries_exhausted(world: World, identifier: str, now: int) -> None:
    """What the account's settings say happens after the last retry."""
    subscription = world.store.get(identifier, "subscription")
    outcome = world.settings.after_last_retry
    if subscription["status"] in ENDED or outcome == "past_due":
        return
    if outcome == "unpaid":
        change(world, identifier, now, status="unpaid")
        return
    from billing_app.stripe_sandbox.resources.subscription_ends import end

    end(world, identifier, now, "payment_failed")


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


def expire_pending_update(world: World, identifier: str, now: int) -> None:
    """A pending update that was not paid within 23 hours is dropped and its invoice voided."""
    from billing_app.stripe_sandbox.resources.collection import void

    pending = world.store.get(identifier)["_pending_update"]
    subscription = change(world, identifier, now, pending_update=None, _pending_update=None)
    world.emit("customer.subscription.pending_update_expired", subscription, now=now)
    invoice = world.store.get(pending["invoice"])
    if invoice["status"] == "open":
        void(world, invoice["id"], now)
