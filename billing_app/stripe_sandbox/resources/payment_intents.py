"""Payment intents: one attempt or several to take an amount from a card."""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json, StripeError, invalid, wrong_state
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources import cards, charges
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.payment_methods import attach, card_behind, method_for
from billing_app.stripe_sandbox.world import World, public

_AUTHENTICATION_REQUIRED = cards.Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def new_intent(
    world: World,
    amount: int,
    currency: str,
    customer: Json | None,
    *,
    method: str | None = None,
    **fields: Json | str | None,
) -> Json:
    """An intent that is not confirmed yet."""
    intent = world.create(
        "payment_intent",
        amount=amount,
        amount_capturable=0,
        amount_received=0,
        capture_method="automatic",
        confirmation_method="automatic",
        created=world.now(customer),
        currency=currency,
        customer=customer["id"] if customer else None,
        payment_method=method,
        payment_method_types=["card"],
        status="requires_confirmation" if method else "requires_payment_method",
        **fields,
    )
    intent["client_secret"] = f"{intent['id']}_secret_{world.new_id('coupon')}"
    world.emit("payment_intent.created", intent, now=intent["created"])
    return intent


def _now(world: World, intent: Json) -> int:
    return world.now(world.store.find(intent["customer"]))


def attempt(
    world: World,
    identifier: str,
    *,
    off_session: bool = False,
    challenged: bool = False,
    for_invoice: bool = False,
) -> cards.Decline | None:
    """Tries to take the money. The intent's status says what came of it; a decline is returned."""
    intent = world.store.edit(identifier)
    method = world.store.get(intent["payment_method"], "payment_method")
    card = card_behind(world, method)
    if not challenged and _asks(card, method, off_session=off_session):
        if off_session and not for_invoice:
            return _decline(world, intent, _AUTHENTICATION_REQUIRED)
        _require_action(world, intent)
        return None
    declined = card.declined or (card.declined_after_challenge if challenged else None)
    if declined:
        return _decline(world, intent, declined)
    _succeed(world, intent, method)
    return None


def _asks(card: cards.Card, method: Json, *, off_session: bool) -> bool:
    if card.declined:
        return False
    if not off_session:
        return card.asks_on_session
    return card.asks_off_session or (card.asks_until_set_up and not method["_set_up"])


def _require_action(world: World, intent: Json) -> None:
    intent["status"] = "requires_action"
    intent["next_action"] = {
        "type": "redirect_to_url",
        "redirect_to_url": {
            "url": f"{world.base_url}/challenge/{intent['id']}",
            "return_url": intent.get("_return_url"),
        },
    }
    world.emit("payment_intent.requires_action", intent, now=_now(world, intent))


def _decline(world: World, intent: Json, decline: cards.Decline) -> cards.Decline:
    now = _now(world, intent)
    charge = charges.new_charge(world, intent, now, decline)
    intent |= {
        "status": "requires_payment_method",
        "next_action": None,
        "latest_charge": charge["id"],
        "last_payment_error": {
            "type": "card_error",
            "code": decline.code,
            "decline_code": decline.decline_code,
            "message": decline.message,
            "charge": charge["id"],
            "payment_method": public(world.store.get(intent["payment_method"])),
        },
        "payment_method": None,
    }
    world.emit("charge.failed", charge, now=now)
    world.emit("payment_intent.payment_failed", intent, now=now)
    return decline


def _succeed(world: World, intent: Json, method: Json) -> None:
    now = _now(world, intent)
    charge = charges.new_charge(world, intent, now)
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": charge["id"],
        "next_action": None,
        "last_payment_error": None,
    }
    world.emit("charge.succeeded", charge, now=now)
    world.emit("payment_intent.succeeded", intent, now=now)
    if intent["setup_future_usage"] and intent["customer"]:
        kept = attach(world, method["id"], world.store.get(intent["customer"]))
        kept["_set_up"] = True
    reason = card_behind(world, method).dispute_reason
    if reason:
        from billing_app.stripe_sandbox.resources.disputes import new_dispute

        new_dispute(world, charge["id"], reason)


def after_attempt(world: World, identifier: str) -> None:
    """Tells the invoice of an intent what came of an attempt made outside of its collection."""
    intent = world.store.get(identifier)
    if intent.get("_invoice"):
        from billing_app.stripe_sandbox.resources.collection import settle_from_intent

        settle_from_intent(world, intent)


def attempt_on_record(world: World, identifier: str) -> frozenset[str]:
    """Cuts a failed intent loose from what is about to be undone.

    Returns the ids that stay: the intent, its charge, and the events about them.
    """
    intent = world.store.edit(identifier)
    intent["_invoice"] = None
    if intent["status"] in _OPEN:
        cancel_intent(world, identifier, "failed_invoice")
    kept = {identifier, intent["latest_charge"]}
    for event in world.store.all("event", lambda e: e["data"]["object"].get("id") in kept):
        kept.add(event["id"])
    return frozenset(kept - {None})


def declined_error(world: World, decline: cards.Decline, intent_id: str) -> StripeError:
    """The 402 for a declined intent. What the attempt left behind stays on record."""
    intent = world.store.get(intent_id)
    method = (intent["last_payment_error"] or {}).get("payment_method") or {}
    return cards.card_error(
        decline,
        keep=frozenset(world.store.touched()),
        charge=intent["latest_charge"],
        payment_intent=public(intent),
        payment_method=method or None,
    )


def _confirm(world: World, identifier: str, params: Json) -> Json:
    intent = world.store.edit(identifier)
    if intent["status"] not in _OPEN:
        raise wrong_state(
            "You cannot confirm this PaymentIntent because it has already "
            f"{intent['status'].replace('_', ' ')}.",
            "payment_intent_unexpected_state",
        )
    if "payment_method" in params:
        intent["payment_method"] = method_for(world, params["payment_method"])["id"]
    if intent["payment_method"] is None:
        raise wrong_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            "payment_intent_unexpected_state",
        )
    intent["_return_url"] = params.get("return_url", intent.get("_return_url"))
    declined = attempt(world, identifier, off_session=params.get("off_session") in (True, "true"))
    after_attempt(world, identifier)
    if declined:
        raise declined_error(world, declined, identifier)
    return intent


@route("POST", "/v1/payment_intents", "PaymentIntentCreateParams")
def create(world: World, params: Json) -> Json:
    currency = params["currency"].lower()
    if params["amount"] < money.minimum_charge(currency):
        raise invalid(
            f"Amount must be at least {money.text(money.minimum_charge(currency), currency)}",
            param="amount",
            code="amount_too_small",
        )
    customer = live_customer(world, params["customer"]) if params.get("customer") else None
    method = params.get("payment_method")
    intent = new_intent(
        world,
        params["amount"],
        currency,
        customer,
        method=method_for(world, method)["id"] if method else None,
        description=params.get("description"),
        metadata=merged_metadata({}, params.get("metadata")),
        receipt_email=params.get("receipt_email"),
        setup_future_usage=params.get("setup_future_usage"),
    )
    if params.get("confirm"):
        inputs = {key: params[key] for key in ("return_url", "off_session") if key in params}
        return _confirm(world, intent["id"], inputs)
    return intent


@route("GET", "/v1/payment_intents", "PaymentIntentListParams")
def list_all(world: World, params: Json) -> Json:
    customer = params.get("customer")
    rows = world.store.all("payment_intent", lambda i: customer in (None, i["customer"]))
    return page(params, rows, "/v1/payment_intents")


@route("GET", "/v1/payment_intents/{intent}", "PaymentIntentRetrieveParams")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "payment_intent")


@route("POST", "/v1/payment_intents/{intent}", "PaymentIntentUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "payment_intent")
    intent = world.store.edit(identifier)
    if intent["status"] not in _OPEN and params.keys() - {"metadata", "description"}:
        raise wrong_state(
            "This PaymentIntent could not be updated in its current state.",
            "payment_intent_unexpected_state",
        )
    if params.get("payment_method"):
        intent["payment_method"] = method_for(world, params["payment_method"])["id"]
        intent["status"] = "requires_confirmation"
    apply_fields(
        intent,
        params,
        ("amount", "description", "customer", "receipt_email", "setup_future_usage"),
    )
    return intent


@route("POST", "/v1/payment_intents/{intent}/confirm", "PaymentIntentConfirmParams")
def confirm(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "payment_intent")
    return _confirm(world, identifier, params)


@route("POST", "/v1/payment_intents/{intent}/cancel", "PaymentIntentCancelParams")
def cancel(world: World, params: Json, identifier: str) -> Json:
    intent = world.store.get(identifier, "payment_intent")
    if intent["status"] not in _OPEN:
        raise wrong_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            "payment_intent_unexpected_state",
        )
    return cancel_intent(world, identifier, params.get("cancellation_reason"))


def cancel_intent(world: World, identifier: str, reason: str | None) -> Json:
    intent = world.store.edit(identifier)
    intent |= {
        "status": "canceled",
        "canceled_at": _now(world, intent),
        "cancellation_reason": reason,
        "next_action": None,
    }
    world.emit("payment_intent.canceled", intent, now=intent["canceled_at"])
    return intent


def complete_challenge(world: World, identifier: str, *, passed: bool) -> Json:
    """What the 3-D Secure page does when the person approves or fails."""
    intent = world.store.edit(identifier)
    if intent["status"] != "requires_action":
        return intent
    if passed:
        attempt(world, identifier, challenged=True)
    else:
        failed = cards.Decline(
            "payment_intent_authentication_failure",
            "",
            "We are unable to authenticate your payment method. "
            "Please choose a different payment method and try again.",
        )
        _decline(world, intent, failed)
    after_attempt(world, identifier)
    return intent
