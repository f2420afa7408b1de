"""How subscriptions end, pause and resume."""

from billing_app.stripe_sandbox.errors import Json, StripeError, invalid, no_such
from billing_app.stripe_sandbox.registry import route
from billing_app.stripe_sandbox.resources import collection, invoicing, subscription_states
from billing_app.stripe_sandbox.resources.prorations import credit_unused
from billing_app.stripe_sandbox.resources.subscription_items import (
    align,
    cycle_lines,
    items_of,
    usage_lines,
)
from billing_app.stripe_sandbox.resources.subscriptions import close_lines
from billing_app.stripe_sandbox.world import World


def end(world: World, identifier: str, now: int, reason: str) -> Json:
    """Ends a subscription for good: no more invoices, no more collection of the open ones."""
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
    """The first invoice was not paid within 23 hours: it is voided and nothing more happens."""
    subscription = subscription_states.change(
        world, identifier, now, status="incomplete_expired", ended_at=now
    )
    invoice = world.store.find(subscription["latest_invoice"])
    if invoice and invoice["status"] == "open":
        collection.void(world, invoice["id"], now)
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


def cancel_now(
    world: World,
    identifier: str,
    reason: str,
    *,
    prorate: bool = False,
    invoice_now: bool = False,
) -> Json:
    subscription = world.store.edit(identifier)
    now = world.now(subscription)
    subscription["canceled_at"] = now
    if prorate:
        for item in items_of(subscription):
            credit_unused(world, subscription, item, now)
    if invoice_now:
        bill_the_rest(world, subscription, now)
    elif not prorate:
        _drop_pending_prorations(world, identifier)
    return end(world, identifier, now, reason)


def _drop_pending_prorations(world: World, identifier: str) -> None:
    for item in world.store.all("invoiceitem", lambda i: i["invoice"] is None and i["proration"]):
        if item["parent"]["subscription_details"]["subscription"] == identifier:
            world.store.edit(item["id"])["_deleted"] = True


def bill_the_rest(world: World, subscription: Json, now: int) -> None:
    """The final invoice: usage not billed yet and invoice items that wait."""
    customer = world.store.get(subscription["customer"])
    lines = usage_lines(world, subscription, items_of(subscription), now)
    lines = [line for line in lines if line.amount]
    invoice = invoicing.new_invoice(
        world,
        customer,
        reason="subscription_update",
        now=now,
        currency=subscription["currency"],
        subscription=subscription,
    )
    invoicing.add_lines(world, invoice, lines)
    invoicing.pull_pending_items(world, invoice)
    if not invoice["lines"]["data"]:
        world.store.remove(invoice["id"])
        return
    invoicing.total_up(world, invoice, now)
    subscription["latest_invoice"] = invoice["id"]
    world.emit("invoice.created", invoice, now=now)
    invoicing.finalize(world, invoice["id"], now)
    if not collection.settle_if_nothing_due(world, invoice["id"], now):
        collection.collect(world, invoice["id"], now, off_session=True)


@route("DELETE", "/v1/subscriptions/{subscription_exposed_id}", "SubscriptionCancelParams")
def cancel_call(world: World, params: Json, identifier: str) -> Json:
    subscription = world.store.get(identifier, "subscription")
    if subscription["status"] in subscription_states.ENDED:
        raise no_such("subscription", identifier)
    stored = world.store.edit(identifier)
    stored["cancellation_details"] |= params.get("cancellation_details") or {}
    return cancel_now(
        world,
        identifier,
        "cancellation_requested",
        prorate=params.get("prorate", False),
        invoice_now=params.get("invoice_now", False),
    )


def pause_for_missing_method(world: World, identifier: str, now: int) -> Json:
    """A trial ended without a payment method and is set to pause."""
    return _pause(world, identifier, now, "trial_end_without_payment_method")


def _pause(world: World, identifier: str, now: int, kind: str) -> Json:
    details = {
        "paused": {
            "subscription": {"type": kind},
            "transitioned_at": now,
            "type": "subscription",
        }
    }
    subscription = subscription_states.change(
        world, identifier, now, status="paused", status_details=details
    )
    world.emit("customer.subscription.paused", subscription, now=now)
    return subscription


@route("POST", "/v1/subscriptions/{subscription}/resume", "SubscriptionResumeParams")
def resume_call(world: World, params: Json, identifier: str) -> Json:
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
    from billing_app.stripe_sandbox.resources.prorations import debit_remaining

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
    if not collection.settle_if_nothing_due(world, invoice["id"], now):
        collection.collect(world, invoice["id"], now, off_session=False)
    return invoice["id"]
