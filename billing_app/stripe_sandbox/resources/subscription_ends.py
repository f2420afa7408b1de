"""Ends subscriptions that have nothing left to bill."""

from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import settlement, subscription_states
from billing_app.stripe_sandbox.world import World


def end(world: World, identifier: str, now: int, reason: str) -> Json:
    """Ends a subscription for good and stops collecting its open invoices."""
    subscription = world.store.edit(identifier)
    if subscription["status"] == "incomplete":
        return expire_incomplete(world, identifier, now)
    details = subscription["cancellation_details"]
    subscription |= {
        "status": "canceled",
        "canceled_at": subscription["canceled_at"] or now,
        "ended_at": now,
        "cancellation_details": {**details, "reason": details["reason"] or reason},
        "pending_update": None,
        "_pending_update": None,
    }
    _release_schedule(world, subscription, now)
    _stop_collection(world, identifier)
    world.emit("customer.subscription.deleted", subscription, now=now)
    return subscription


def expire_incomplete(world: World, identifier: str, now: int) -> Json:
    """Expires a subscription whose first invoice was not paid in time, and voids the invoice."""
    subscription = subscription_states.change(
        world, identifier, now, status="incomplete_expired", ended_at=now
    )
    invoice = world.store.find(subscription["latest_invoice"])
    if invoice and invoice["status"] == "open":
        settlement.void(world, invoice["id"], now)
    return subscription


def _release_schedule(world: World, subscription: Json, now: int) -> None:
    schedule = world.store.find(subscription["schedule"])
    if schedule and schedule["status"] in ("active", "not_started"):
        stored = world.store.edit(schedule["id"])
        stored |= {"status": "canceled", "canceled_at": now, "current_phase": None}
        world.emit("subscription_schedule.canceled", stored, now=now)


def _stop_collection(world: World, identifier: str) -> None:
    for invoice in world.store.all("invoice"):
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        if details.get("subscription") == identifier and invoice["status"] in ("draft", "open"):
            stored = world.store.edit(invoice["id"])
            stored |= {
                "auto_advance": False,
                "automatically_finalizes_at": None,
                "next_payment_attempt": None,
            }
