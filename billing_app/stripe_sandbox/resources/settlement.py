"""Closing invoices: paid, void or uncollectible, and what that means for the subscription.

Source: https://docs.stripe.com/billing/subscriptions/overview#payment-status
"""

from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import payment_intents, subscription_states
from billing_app.stripe_sandbox.resources.customers import set_balance
from billing_app.stripe_sandbox.resources.invoicing import subscription_of
from billing_app.stripe_sandbox.world import World


def settle_if_nothing_due(world: World, identifier: str, now: int) -> bool:
    """Marks a finalized invoice paid if nothing is due. Returns whether it did."""
    invoice = world.store.get(identifier, "invoice")
    if invoice["status"] != "open" or invoice["amount_remaining"]:
        return False
    mark_paid(world, identifier, now)
    return True


def mark_paid(world: World, identifier: str, now: int, *, out_of_band: bool = False) -> Json:
    """Marks an invoice paid and updates its subscription."""
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
    """Pays an open invoice with a payment intent that has already succeeded."""
    invoice = world.store.edit(identifier)
    for payment in world.store.all("invoice_payment", lambda p: p["invoice"] == identifier):
        stored = world.store.edit(payment["id"])
        own = world.store.edit(stored["payment"]["payment_intent"])
        own["_invoice"] = None
        payment_intents.cancel_intent(world, own["id"], "duplicate")
        stored["payment"] = {"type": "payment_intent", "payment_intent": intent_id}
    invoice["_intent"] = intent_id
    mark_paid(world, identifier, now)


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
