"""Collecting invoices: attempts, retries, and what payment means for the subscription.

Sources: https://docs.stripe.com/billing/subscriptions/overview#payment-status and
https://docs.stripe.com/billing/revenue-recovery/smart-retries
"""

from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import payment_intents, subscription_states
from billing_app.stripe_sandbox.resources.cards import Decline
from billing_app.stripe_sandbox.resources.customers import set_balance
from billing_app.stripe_sandbox.resources.invoicing import subscription_of
from billing_app.stripe_sandbox.resources.payment_methods import method_for
from billing_app.stripe_sandbox.world import World

NO_METHOD = Decline(
    "missing",
    "",
    "There is no `default_payment_method` set on this Customer or Invoice. "
    "Please add a payment method.",
)


def method_to_charge(world: World, invoice: Json) -> str | None:
    """The card an invoice is charged to: its own, the subscription's, the customer's."""
    subscription = subscription_of(world, invoice) or {}
    customer = world.store.get(invoice["customer"], "customer")
    return (
        invoice["default_payment_method"]
        or subscription.get("default_payment_method")
        or customer["invoice_settings"]["default_payment_method"]
    )


def settle_if_nothing_due(world: World, identifier: str, now: int) -> bool:
    """A final invoice with nothing due is paid at once."""
    invoice = world.store.get(identifier, "invoice")
    if invoice["status"] != "open" or invoice["amount_remaining"]:
        return False
    mark_paid(world, identifier, now)
    return True


def collect(
    world: World,
    identifier: str,
    now: int,
    *,
    off_session: bool,
    method: str | None = None,
) -> Decline | None:
    """Charges an open invoice. Returns a decline; None if paid or waiting for a person."""
    invoice = world.store.edit(identifier)
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    chosen = method or method_to_charge(world, invoice)
    if chosen is None:
        note_failure(world, identifier, now)
        return NO_METHOD
    intent = world.store.edit(invoice["_intent"])
    intent["payment_method"] = method_for(world, chosen)["id"]
    declined = payment_intents.attempt(
        world, intent["id"], off_session=off_session, for_invoice=True
    )
    if intent["status"] == "succeeded":
        mark_paid(world, identifier, now)
    else:
        if intent["status"] == "requires_action":
            world.emit("invoice.payment_action_required", invoice, now=now)
        note_failure(world, identifier, now)
    return declined


def note_failure(world: World, identifier: str, now: int) -> None:
    """After a failed attempt: plan the next one, tell the subscription, or give up."""
    invoice = world.store.edit(identifier)
    subscription = subscription_of(world, invoice)
    invoice["next_payment_attempt"] = _next_attempt(world, invoice, subscription, now)
    world.emit("invoice.payment_failed", invoice, now=now)
    world.emit_update("invoice", invoice, now=now)
    if subscription is None:
        return
    subscription_states.invoice_failed(world, subscription["id"], invoice, now)
    retried = invoice["attempt_count"] > len(world.settings.retry_days)
    if retried and invoice["billing_reason"] != "subscription_create":
        _give_up(world, subscription["id"], identifier, now)


def _next_attempt(world: World, invoice: Json, subscription: Json | None, now: int) -> int | None:
    delays = world.settings.retry_days
    index = invoice["attempt_count"] - 1
    if subscription is None or not invoice["auto_advance"] or index >= len(delays):
        return None
    if subscription["status"] in ("incomplete", "canceled") or index < 0:
        return None
    if subscription_states.waits_for_update(subscription, invoice):
        return None
    return now + delays[index] * DAY_SECONDS


def _give_up(world: World, subscription_id: str, identifier: str, now: int) -> None:
    invoice = world.store.edit(identifier)
    invoice |= {"next_payment_attempt": None, "auto_advance": False}
    subscription_states.retries_exhausted(world, subscription_id, now)


def retry(world: World, identifier: str, now: int) -> None:
    """The scheduled next attempt."""
    world.store.edit(identifier)["next_payment_attempt"] = None
    collect(world, identifier, now, off_session=True)


def mark_paid(world: World, identifier: str, now: int, *, out_of_band: bool = False) -> Json:
    """Closes an invoice as paid and lets its subscription live."""
    invoice = world.store.edit(identifier)
    due = invoice["amount_due"]
    invoice |= {
        "amount_paid": 0 if out_of_band else due,
        "amount_paid_off_stripe": due if out_of_band else invoice["amount_paid_off_stripe"],
        "amount_remaining": 0,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
    }
    invoice["status_transitions"]["paid_at"] = now
    _close_payments(world, invoice, now, out_of_band=out_of_band)
    world.emit_update("invoice", invoice, now=now)
    world.emit("invoice.paid", invoice, now=now)
    world.emit("invoice.payment_succeeded", invoice, now=now)
    subscription = subscription_of(world, invoice)
    if subscription is not None:
        subscription_states.invoice_settled(world, subscription["id"], invoice, now)
    return invoice


def _close_payments(world: World, invoice: Json, now: int, *, out_of_band: bool) -> None:
    for payment in world.store.all("invoice_payment", lambda p: p["invoice"] == invoice["id"]):
        if payment["status"] != "open":
            continue
        stored = world.store.edit(payment["id"])
        stored["status"] = "canceled" if out_of_band else "paid"
        if out_of_band:
            stored["status_transitions"]["canceled_at"] = now
            payment_intents.cancel_intent(
                world, payment["payment"]["payment_intent"], "void_invoice"
            )
        else:
            stored["status_transitions"]["paid_at"] = now
            stored["amount_paid"] = stored["amount_requested"]
            world.emit("invoice_payment.paid", stored, now=now)


def pay_with(world: World, identifier: str, intent_id: str, now: int) -> None:
    """Settles an open invoice with money that a payment intent already took."""
    invoice = world.store.edit(identifier)
    for payment in world.store.all("invoice_payment", lambda p: p["invoice"] == identifier):
        stored = world.store.edit(payment["id"])
        own = world.store.edit(stored["payment"]["payment_intent"])
        own["_invoice"] = None
        payment_intents.cancel_intent(world, own["id"], "duplicate")
        stored["payment"] = {"type": "payment_intent", "payment_intent": intent_id}
    invoice["_intent"] = intent_id
    mark_paid(world, identifier, now)


def settle_from_intent(world: World, intent: Json) -> None:
    """An invoice's intent was confirmed by the customer: in the browser or through the API."""
    invoice = world.store.get(intent["_invoice"], "invoice")
    if invoice["status"] != "open":
        return
    now = world.now(invoice)
    edited = world.store.edit(invoice["id"])
    edited |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    if intent["status"] == "succeeded":
        mark_paid(world, invoice["id"], now)
    elif intent["status"] == "requires_payment_method":
        note_failure(world, invoice["id"], now)


def void(world: World, identifier: str, now: int) -> Json:
    invoice = world.store.edit(identifier)
    return _close_unpaid(world, invoice, now, "void", "voided_at", "voided")


def mark_uncollectible(world: World, identifier: str, now: int, reason: str) -> Json:
    invoice = world.store.edit(identifier)
    invoice["status_details"] = {"uncollectible": {"reason": reason}}
    return _close_unpaid(
        world, invoice, now, "uncollectible", "marked_uncollectible_at", "marked_uncollectible"
    )


def _close_unpaid(
    world: World, invoice: Json, now: int, status: str, moment: str, event: str
) -> Json:
    invoice |= {"status": status, "next_payment_attempt": None, "auto_advance": False}
    invoice["status_transitions"][moment] = now
    if status == "void":
        invoice["amount_remaining"] = 0
        _cancel_payments(world, invoice, now)
        _give_balance_back(world, invoice)
    world.emit_update("invoice", invoice, now=now)
    world.emit(f"invoice.{event}", invoice, now=now)
    subscription = subscription_of(world, invoice)
    if subscription is not None:
        subscription_states.invoice_settled(world, subscription["id"], invoice, now)
    return invoice


def _give_balance_back(world: World, invoice: Json) -> None:
    if invoice["starting_balance"] != (invoice["ending_balance"] or 0):
        customer = world.store.edit(invoice["customer"])
        applied = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
        balance = customer["balance"] + applied
        set_balance(world, customer, balance, "unapplied_from_invoice", invoice=invoice["id"])


def _cancel_payments(world: World, invoice: Json, now: int) -> None:
    for payment in world.store.all("invoice_payment", lambda p: p["invoice"] == invoice["id"]):
        if payment["status"] == "open":
            stored = world.store.edit(payment["id"])
            stored["status"] = "canceled"
            stored["status_transitions"]["canceled_at"] = now
            payment_intents.cancel_intent(
                world, payment["payment"]["payment_intent"], "void_invoice"
            )
