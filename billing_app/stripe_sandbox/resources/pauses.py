"""Pauses a subscription after a trial without a payment method, and resumes it."""

from billing_app.stripe_sandbox.errors import Json, StripeError, invalid
from billing_app.stripe_sandbox.resources import (
    collection,
    invoicing,
    settlement,
    subscription_states,
)
from billing_app.stripe_sandbox.resources.prorations import close_lines, debit_remaining
from billing_app.stripe_sandbox.resources.subscription_items import align, cycle_lines, items_of
from billing_app.stripe_sandbox.world import World


def pause_for_missing_method(world: World, identifier: str, now: int) -> Json:
    """Pauses a subscription whose trial ended without a payment method."""
    details = {
        "paused": {
            "subscription": {"type": "trial_end_without_payment_method"},
            "transitioned_at": now,
            "type": "subscription",
        }
    }
    subscription = subscription_states.change(
        world, identifier, now, status="paused", status_details=details
    )
    world.emit("customer.subscription.paused", subscription, now=now)
    return subscription


def resume(world: World, identifier: str, params: Json) -> Json:
    subscription = world.store.get(identifier, "subscription")
    if subscription["status"] != "paused":
        raise invalid(
            f"Cannot resume a subscription that is not paused (status {subscription['status']}).",
            code="subscription_not_paused",
        )
    anchor = (params.get("billing_cycle_anchor") or {}).get("type", "now")
    subscription = world.store.edit(identifier)
    now = world.now(subscription)
    if anchor == "now":
        subscription["billing_cycle_anchor"] = now
    for item in items_of(subscription):
        align(subscription, item, now)
        if anchor != "now":
            item["current_period_start"] = now
    return _restart(world, identifier, now, anchor == "now", params)


def _restart(world: World, identifier: str, now: int, whole: bool, params: Json) -> Json:
    subscription = world.store.edit(identifier)
    subscription |= {"status": "active", "status_details": None}
    behavior = params.get("proration_behavior", "create_prorations")
    if not whole and behavior != "none":
        for item in items_of(subscription):
            debit_remaining(world, subscription, item, now)
    if whole or behavior == "always_invoice":
        lines = cycle_lines(world, items_of(subscription)) if whole else []
        invoice_id = _resume_invoice(world, subscription, lines, now)
        invoice = world.store.get(invoice_id)
        strict = params.get("payment_behavior") == "resume_on_payment_success"
        if strict and invoice["status"] != "paid":
            raise StripeError(402, "card_error", "The resumption invoice could not be paid.")
    world.emit("customer.subscription.resumed", subscription, now=now)
    return subscription


def _resume_invoice(world: World, subscription: Json, lines: list[invoicing.Line], now: int) -> str:
    invoice = invoicing.new_invoice(
        world,
        world.store.get(subscription["customer"]),
        reason="subscription_update",
        now=now,
        currency=subscription["currency"],
        subscription=subscription,
    )
    invoicing.add_lines(world, invoice, lines)
    invoicing.pull_pending_items(world, invoice)
    invoicing.total_up(world, invoice, now)
    close_lines(world, subscription, invoice)
    subscription["latest_invoice"] = invoice["id"]
    world.emit("invoice.created", invoice, now=now)
    invoicing.finalize(world, invoice["id"], now)
    if not settlement.settle_if_nothing_due(world, invoice["id"], now):
        collection.collect(world, invoice["id"], now, off_session=False)
    return invoice["id"]
