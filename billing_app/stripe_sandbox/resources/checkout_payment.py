"""What happens when a person submits the checkout page.

A declined card leaves only the failed payment on record: no subscription, no open invoice, and the
session stays open for another card. A card that requires 3-D Secure leaves an incomplete
subscription, which the challenge completes or ends.
"""

from dataclasses import dataclass

from billing_app.stripe_sandbox.errors import Json, StripeError, invalid
from billing_app.stripe_sandbox.resources import (
    billing_details,
    cards,
    checkout,
    collection,
    coupons,
    invoicing,
    payment_intents,
    settlement,
    setup_intents,
    subscriptions,
    tax_ids,
    taxes,
)
from billing_app.stripe_sandbox.resources.billing_details import NO_DETAILS, BillingDetails
from billing_app.stripe_sandbox.resources.customers import new_customer
from billing_app.stripe_sandbox.resources.payment_methods import (
    BANK_ACCOUNT,
    ROUTING_NUMBER,
    attach,
    new_bank_account,
    new_card,
)
from billing_app.stripe_sandbox.resources.pending_items import add_extra_items
from billing_app.stripe_sandbox.resources.subscription_ends import expire_incomplete
from billing_app.stripe_sandbox.world import World


@dataclass(frozen=True)
class CardInput:
    """The card and contact data that a person entered."""

    number: str
    exp_month: int
    exp_year: int
    email: str = ""
    name: str = ""
    details: BillingDetails = NO_DETAILS


@dataclass(frozen=True)
class Outcome:
    """What comes next: `done`, `challenge` (with its URL) or `declined` (with a message)."""

    kind: str
    text: str = ""


def submit(world: World, identifier: str, card: CardInput) -> Outcome:
    try:
        with world.store.savepoint():
            return _submit(world, identifier, card)
    except StripeError as error:
        return Outcome("declined", error.error["message"])


def _submit(world: World, identifier: str, card: CardInput) -> Outcome:
    session = world.store.edit(identifier)
    if session["status"] != "open":
        return Outcome("done")
    customer = _customer(world, session, card)
    billing = {"email": card.email or None, "name": card.name or None}
    billing |= {"address": card.details.address}
    method = _method(world, session, card, billing)
    _keep_details(world, session, customer, card)
    _note_details(world, session, customer, card)
    checkout.add_up(world, session)
    if session["automatic_tax"]["status"] == "requires_location_inputs":
        raise invalid(billing_details.MISSING, param="address")
    if session["mode"] == "payment":
        return _pay(world, session, customer, method)
    if session["mode"] == "setup" or not session["amount_total"]:
        return _save_card(world, session, customer, method)
    return _subscribe(world, session, customer, method)


def _method(world: World, session: Json, card: CardInput, billing: Json) -> Json:
    """The card, or the bank account if its number was entered."""
    if card.number != BANK_ACCOUNT:
        return new_card(world, card.number, (card.exp_month, card.exp_year), billing=billing)
    if "us_bank_account" in session.get("_excluded", []) or session["currency"] != "usd":
        raise invalid("This payment method is not offered here.", param="payment_method_types")
    account = {"account_number": BANK_ACCOUNT, "routing_number": ROUTING_NUMBER}
    details = {name: billing[name] for name in ("email", "name")}
    return new_bank_account(world, {"us_bank_account": account, "billing_details": details})


def _customer(world: World, session: Json, card: CardInput) -> Json | None:
    found = world.store.find(session["customer"])
    if found or session["customer_creation"] == "if_required":
        return found
    email = card.email or session["customer_email"]
    customer = new_customer(world, {"email": email, "name": card.name or None})
    session["customer"] = customer["id"]
    return customer


def _keep_details(world: World, session: Json, customer: Json | None, card: CardInput) -> None:
    """On the customer, as `customer_update` says; on a new one in any case."""
    details = card.details
    if session["billing_address_collection"] == "required" and not (
        details.country and details.line1
    ):
        raise invalid(billing_details.MISSING, param="address")
    if customer is None:
        return
    stored = world.store.edit(customer["id"])
    update = session.get("_customer_update", {})
    is_new = session["customer_creation"] == "always"
    if is_new or update.get("address") == "auto":
        billing_details.keep_address(stored, details)
    takes_tax_id = (session["tax_id_collection"] or {}).get("enabled")
    if takes_tax_id:
        billing_details.keep_tax_id(world, stored, details)
    name = (details.business_name if takes_tax_id else "") or card.name
    if name and (is_new or update.get("name") == "auto"):
        stored["name"] = name
    world.emit_update("customer", stored)


def _note_details(world: World, session: Json, customer: Json | None, card: CardInput) -> None:
    known = customer or {}
    rows = tax_ids.of_customer(world, customer["id"]) if customer else []
    session["customer_details"] = {
        "address": card.details.address,
        "business_name": card.details.business_name or None,
        "email": card.email or session["customer_email"] or known.get("email"),
        "individual_name": None,
        "name": card.name or known.get("name"),
        "phone": known.get("phone"),
        "tax_exempt": "none",
        "tax_ids": tax_ids.brief(rows),
    }


def _now(world: World, session: Json) -> int:
    return world.now(world.store.find(session["customer"]))


def _pay(world: World, session: Json, customer: Json | None, method: Json) -> Outcome:
    if not session["amount_total"]:
        return _complete(world, session)
    data = session["_data"]["payment_intent_data"]
    if session["payment_intent"] is None:
        intent = payment_intents.new_intent(
            world,
            session["amount_total"],
            session["currency"],
            customer,
            description=data.get("description"),
            metadata=data.get("metadata") or {},
            setup_future_usage=data.get("setup_future_usage"),
        )
        session["payment_intent"] = intent["id"]
    intent = world.store.edit(session["payment_intent"])
    intent["payment_method"] = method["id"]
    declined = payment_intents.attempt(world, intent["id"])
    return _after_payment(world, session, intent, declined)


def _after_payment(
    world: World, session: Json, intent: Json, declined: cards.Decline | None
) -> Outcome:
    if declined:
        return Outcome("declined", declined.message)
    if intent["status"] == "requires_action":
        return _challenge(session, intent)
    return _complete(world, session)


def _challenge(session: Json, intent: Json) -> Outcome:
    session["_challenge"] = intent["id"]
    return Outcome("challenge", intent["next_action"]["redirect_to_url"]["url"])


def _save_card(world: World, session: Json, customer: Json | None, method: Json) -> Outcome:
    """Saves the card: setup mode, and subscriptions with nothing due today."""
    data = session["_data"]["setup_intent_data"]
    intent = setup_intents.new_setup_intent(world, customer, {"metadata": data.get("metadata")})
    intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    if session["mode"] == "setup":
        session["setup_intent"] = intent["id"]
    session["_setup"] = intent["id"]
    declined = setup_intents.attempt_setup(world, intent["id"])
    if declined:
        return Outcome("declined", declined.message)
    if intent["status"] == "requires_action":
        return _challenge(session, intent)
    return _after_setup(world, session, intent)


def _after_setup(world: World, session: Json, intent: Json) -> Outcome:
    if session["mode"] == "setup":
        return _complete(world, session)
    customer = world.store.get(session["customer"])
    method = world.store.get(intent["payment_method"])
    return _subscribe(world, session, customer, method)


def _subscribe(world: World, session: Json, customer: Json | None, method: Json) -> Outcome:
    assert customer is not None
    method["customer"] = customer["id"]
    subscription = _create_subscription(world, session, customer, method)
    session["_waiting_subscription"] = subscription["id"]
    invoice = world.store.find(subscription["latest_invoice"])
    if invoice and invoice["status"] == "open":
        now = _now(world, session)
        declined = collection.collect(world, invoice["id"], now, off_session=False)
        intent = world.store.get(invoice["_intent"])
        if declined:
            kept = payment_intents.attempt_on_record(world, intent["id"])
            keep = kept | _created_customer(world, session)
            raise cards.card_error(declined, keep=keep)
        if intent["status"] == "requires_action":
            return _challenge(session, intent)
    world.emit("payment_method.attached", method, now=_now(world, session))
    method["_set_up"] = True
    return _complete(world, session)


def _created_customer(world: World, session: Json) -> frozenset[str]:
    """The customer that the page created, and its event, kept for the next attempt."""
    made = session["customer"]
    events = world.store.all("event", lambda e: e["data"]["object"].get("id") == made)
    created = [e["id"] for e in events if e["type"] == "customer.created"]
    return frozenset([made, *created]) if session["customer_creation"] == "always" else frozenset()


def _create_subscription(world: World, session: Json, customer: Json, method: Json) -> Json:
    recurring = [row for row in session["_lines"] if row["price"]["recurring"]]
    once = [row for row in session["_lines"] if not row["price"]["recurring"]]
    data = session["_data"]["subscription_data"]
    wanted = ("billing_cycle_anchor", "billing_mode", "description", "metadata",
              "proration_behavior", "trial_end", "trial_period_days", "trial_settings")  # fmt: skip
    params = {name: data[name] for name in wanted if name in data}
    params |= {
        "customer": customer["id"],
        "items": [_as_item(row) for row in recurring],
        "add_invoice_items": [_as_item(row) for row in once],
        "default_payment_method": method["id"],
        "discounts": session["_discounts"],
        "payment_behavior": "default_incomplete",
        "automatic_tax": {"enabled": session["automatic_tax"]["enabled"]},
    }
    return subscriptions.create(world, params)


def _as_item(row: Json) -> Json:
    quantity = {} if row["quantity"] is None else {"quantity": row["quantity"]}
    return {"price": row["price"]["id"], **quantity}


def _complete(world: World, session: Json) -> Outcome:
    now = _now(world, session)
    waiting = world.store.find(session.get("_waiting_subscription"))
    if waiting:
        session |= {"subscription": waiting["id"], "invoice": waiting["latest_invoice"]}
    is_slow = _is_processing(world, session)
    if not is_slow:
        _write_receipt(world, session, now)
    is_setup = session["mode"] == "setup"
    session |= {
        "status": "complete",
        "payment_status": "no_payment_required" if is_setup else "unpaid" if is_slow else "paid",
        "url": None,
        "_challenge": None,
    }
    if session["mode"] != "setup" and not session["amount_total"]:
        session["payment_status"] = "no_payment_required"
    world.emit("checkout.session.completed", session, now=now)
    return Outcome("done")


def _write_receipt(world: World, session: Json, now: int) -> None:
    if session["mode"] == "payment" and session["_invoice_creation"].get("enabled"):
        session["invoice"] = _invoice_for_payment(world, session, now)


def _intent_of(world: World, session: Json) -> Json | None:
    invoice = world.store.find(session["invoice"]) or {}
    return world.store.find(session["payment_intent"] or invoice.get("_intent"))


def _is_processing(world: World, session: Json) -> bool:
    intent = _intent_of(world, session)
    return intent is not None and intent["status"] == "processing"


def decide_debit(world: World, intent_id: str, *, succeeds: bool) -> Json:
    """The bank decides on a payment that is processing; its checkout says so
    (docs.stripe.com/payments/checkout/fulfill-orders, delayed payment methods)."""
    intent = collection.settle_debit(world, intent_id, succeeds=succeeds)
    sessions = world.store.all("checkout.session", lambda s: s["status"] == "complete")
    for found in sessions:
        own = _intent_of(world, found)
        if found["payment_status"] != "unpaid" or own is None or own["id"] != intent_id:
            continue
        session, now = world.store.edit(found["id"]), _now(world, found)
        if succeeds:
            _write_receipt(world, session, now)
            session["payment_status"] = "paid"
        result = "succeeded" if succeeds else "failed"
        world.emit(f"checkout.session.async_payment_{result}", session, now=now)
    return intent


def _invoice_for_payment(world: World, session: Json, now: int) -> str | None:
    """`invoice_creation`: a paid invoice as the receipt for a one-time payment."""
    customer = world.store.find(session["customer"])
    if customer is None:
        return None
    entries = [_as_item(row) for row in session["_lines"]]
    invoice = invoicing.new_invoice(
        world, customer, reason="manual", now=now, currency=session["currency"]
    )
    invoice["discounts"] = coupons.redeem(
        world, session["_discounts"], customer, invoice=invoice["id"]
    )
    enabled = session["automatic_tax"]["enabled"]
    invoice["automatic_tax"] = taxes.of_document(enabled=enabled)
    add_extra_items(world, {"id": None}, customer, entries, now)
    invoicing.pull_pending_items(world, invoice)
    invoicing.total_up(world, invoice, now)
    world.emit("invoice.created", invoice, now=now)
    invoicing.finalize(world, invoice["id"], now)
    if settlement.settle_if_nothing_due(world, invoice["id"], now):
        return invoice["id"]
    if invoice["status"] == "open":
        settlement.pay_with(world, invoice["id"], session["payment_intent"], now)
    return invoice["id"]


def after_challenge(world: World, identifier: str) -> Outcome:
    """Completes or declines the session once the person returns from the 3-D Secure page."""
    session = world.store.edit(identifier)
    if session["status"] != "open":
        return Outcome("done")
    intent = world.store.find(session.get("_challenge"))
    if intent is None:
        return Outcome("declined", "")
    if intent["status"] == "succeeded":
        if intent["object"] == "setup_intent":
            return _after_setup(world, session, intent)
        return _after_paid_challenge(world, session)
    error = intent.get("last_payment_error") or intent.get("last_setup_error") or {}
    _give_up(world, session)
    return Outcome("declined", error.get("message", ""))


def _after_paid_challenge(world: World, session: Json) -> Outcome:
    waiting = world.store.find(session.get("_waiting_subscription"))
    if waiting:
        customer = world.store.get(waiting["customer"])
        method = world.store.edit(waiting["default_payment_method"])
        method |= {"customer": None, "_set_up": True}
        attach(world, method["id"], customer)
    return _complete(world, session)


def _give_up(world: World, session: Json) -> None:
    waiting = world.store.find(session.get("_waiting_subscription"))
    if waiting and waiting["status"] == "incomplete":
        expire_incomplete(world, waiting["id"], _now(world, session))
    session |= {"_waiting_subscription": None, "_challenge": None}
