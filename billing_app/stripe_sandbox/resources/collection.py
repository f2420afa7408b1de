"""Collecting invoices: attempts, retries, and what happens after the last one.

Sources: https://docs.stripe.com/billing/subscriptions/overview#payment-status and
https://docs.stripe.com/billing/revenue-recovery/smart-retries
"""

from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.resources import cards, payment_intents, subscription_states
from billing_app.stripe_sandbox.resources.cards import Decline
from billing_app.stripe_sandbox.resources.invoicing import subscription_of
from billing_app.stripe_sandbox.resources.payment_methods import method_for
from billing_app.stripe_sandbox.resources.settlement import mark_paid
from billing_app.stripe_sandbox.resources.subscription_ends import end
from billing_app.stripe_sandbox.world import World

NO_METHOD = Decline(
    "missing",
    "",
    "There is no `default_payment_method` set on this Customer or Invoice. "
    "Please add a payment method.",
)


def method_to_charge(world: World, invoice: Json) -> str | None:
    """The payment method to charge: the invoice's, else the subscription's, else the customer's."""
    subscription = subscription_of(world, invoice) or {}
    customer = world.store.get(invoice["customer"], "customer")
    return (
        invoice["default_payment_method"]
        or subscription.get("default_payment_method")
        or customer["invoice_settings"]["default_payment_method"]
    )


def collect(
    world: World,
    identifier: str,
    now: int,
    *,
    off_session: bool,
    method: str | None = None,
) -> Decline | None:
    """Charges an open invoice. Returns the decline; None if it is paid or awaits the customer."""
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
    elif intent["status"] == "processing":
        _await_bank(world, invoice, now)
    else:
        if intent["status"] == "requires_action":
            world.emit("invoice.payment_action_required", invoice, now=now)
        note_failure(world, identifier, now)
    return declined


def _await_bank(world: World, invoice: Json, now: int) -> None:
    """The invoice stays open; a first subscription is active meanwhile
    (docs.stripe.com/billing/subscriptions/ach-debit)."""
    invoice["next_payment_attempt"] = None
    world.emit_update("invoice", invoice, now=now)
    subscription = subscription_of(world, invoice)
    if subscription is not None and subscription["status"] == "incomplete":
        subscription_states.change(world, subscription["id"], now, status="active")


def settle_debit(world: World, intent_id: str, *, succeeds: bool) -> Json:
    """The bank decides on a payment that is processing."""
    intent = payment_intents.decide_debit(world, intent_id, succeeds=succeeds)
    invoice = world.store.find(intent.get("_invoice"))
    if invoice is not None and invoice["status"] == "open":
        now = world.now(invoice)
        if succeeds:
            mark_paid(world, invoice["id"], now)
        else:
            note_failure(world, invoice["id"], now)
    return intent


def note_failure(world: World, identifier: str, now: int) -> None:
    """After a failed attempt: schedules the next one, or gives up, and updates the subscription."""
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
    """After the last retry: applies the account's `after_last_retry` setting."""
    invoice = world.store.edit(identifier)
    invoice |= {"next_payment_attempt": None, "auto_advance": False}
    outcome = world.settings.after_last_retry
    ended = world.store.get(subscription_id)["status"] in subscription_states.ENDED
    if outcome == "past_due" or ended:
        return
    if outcome == "unpaid":
        subscription_states.change(world, subscription_id, now, status="unpaid")
    else:
        end(world, subscription_id, now, "payment_failed")


def retry(world: World, identifier: str, now: int) -> None:
    """Makes the scheduled next attempt."""
    world.store.edit(identifier)["next_payment_attempt"] = None
    collect(world, identifier, now, off_session=True)


def overdue(world: World, identifier: str, now: int) -> None:
    """An invoice that was sent, and not paid by its due date, makes its subscription past_due
    (docs.stripe.com/api/subscriptions/object#subscription_object-status)."""
    invoice = world.store.edit(identifier)
    invoice["_overdue"] = True
    subscription = subscription_of(world, invoice)
    intent = world.store.find(invoice.get("_intent"))
    is_processing = intent is not None and intent["status"] == "processing"
    if subscription is not None and not is_processing:
        subscription_states.invoice_failed(world, subscription["id"], invoice, now)


def settle_from_intent(world: World, identifier: str) -> None:
    """Updates an intent's open invoice after the customer confirmed it on a page or by API."""
    intent = world.store.get(identifier)
    invoice = world.store.find(intent.get("_invoice"))
    if invoice is None or invoice["status"] != "open":
        return
    now = world.now(invoice)
    edited = world.store.edit(invoice["id"])
    edited |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    if intent["status"] == "succeeded":
        mark_paid(world, invoice["id"], now)
    elif intent["status"] == "requires_payment_method":
        note_failure(world, invoice["id"], now)


def raise_if_unpaid(world: World, invoice_id: str, declined: cards.Decline | None) -> None:
    """`error_if_incomplete`: fails with 402 and keeps nothing but the attempt."""
    invoice = world.store.get(invoice_id)
    if invoice["status"] == "paid":
        return
    intent = world.store.get(invoice["_intent"])
    if intent["status"] == "processing":
        return
    if declined is None:
        declined = cards.Decline(
            "subscription_payment_intent_requires_action",
            "",
            "Payment for this subscription requires additional user action before it can be "
            "completed successfully.",
        )
    if declined is NO_METHOD:
        raise invalid(
            "This customer has no attached payment source or default payment method. Please "
            "consider adding a default payment method.",
            code="resource_missing",
        )
    raise cards.card_error(
        declined,
        keep=payment_intents.attempt_on_record(world, intent["id"]),
        charge=intent["latest_charge"],
    )
