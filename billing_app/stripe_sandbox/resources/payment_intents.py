"""Payment intents: one or more attempts to charge an amount to a card."""

from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, StripeError, invalid
from billing_app.stripe_sandbox.resources import cards, charges
from billing_app.stripe_sandbox.resources.disputes import new_dispute
from billing_app.stripe_sandbox.resources.payment_methods import attach, card_behind, is_slow
from billing_app.stripe_sandbox.world import World

_AUTHENTICATION_REQUIRED = cards.Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
# docs.stripe.com/payments/ach-direct-debit#failed-payments
_RETURNED = cards.Decline(
    "payment_intent_payment_attempt_failed",
    "insufficient_funds",
    "The customer's account has insufficient funds to cover this payment.",
)
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def new_intent(
    world: World,
    amount: int,
    currency: str,
    customer: Json | None,
    *,
    method: str | None = None,
    **fields: Json | str | None,
) -> Json:
    """Creates an intent without confirming it."""
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
    """Tries to charge the card and updates the intent's status. Returns the decline, if any."""
    intent = world.store.edit(identifier)
    method = world.store.get(intent["payment_method"], "payment_method")
    if is_slow(method):
        _process(world, intent)
        return None
    card = card_behind(world, method)
    if not challenged and _asks(card, method, off_session=off_session):
        if off_session and not for_invoice:
            return decline_intent(world, intent, _AUTHENTICATION_REQUIRED)
        _require_action(world, intent)
        return None
    declined = card.declined or (card.declined_after_challenge if challenged else None)
    if declined:
        return decline_intent(world, intent, declined)
    _succeed(world, intent, method)
    return None


def _process(world: World, intent: Json) -> None:
    """The bank has not decided (docs.stripe.com/payments/paymentintents/lifecycle)."""
    intent |= {"status": "processing", "payment_method_types": ["us_bank_account"]}
    world.emit("payment_intent.processing", intent, now=_now(world, intent))


def decide_debit(world: World, identifier: str, *, succeeds: bool) -> Json:
    """The bank's decision on a payment that is processing; returns the intent."""
    intent = world.store.edit(identifier)
    if intent["status"] != "processing":
        raise invalid(f"This payment is {intent['status']}, not processing.")
    if succeeds:
        _succeed(world, intent, world.store.get(intent["payment_method"], "payment_method"))
    else:
        decline_intent(world, intent, _RETURNED)
    return intent


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


def decline_intent(world: World, intent: Json, decline: cards.Decline) -> cards.Decline:
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
        new_dispute(world, charge["id"], reason)


def attempt_on_record(world: World, identifier: str) -> frozenset[str]:
    """Detaches a failed intent from the invoice that is about to be undone.

    Returns the ids to keep: the intent, its charge, and their events.
    """
    intent = world.store.edit(identifier)
    intent["_invoice"] = None
    if intent["status"] in OPEN:
        cancel_intent(world, identifier, "failed_invoice")
    kept = {identifier, intent["latest_charge"]}
    for event in world.store.all("event", lambda e: e["data"]["object"].get("id") in kept):
        kept.add(event["id"])
    return frozenset(kept - {None})


def declined_error(world: World, decline: cards.Decline, intent_id: str) -> StripeError:
    """The 402 for a declined intent; keeps everything that the attempt has written."""
    intent = world.store.get(intent_id)
    method = (intent["last_payment_error"] or {}).get("payment_method") or {}
    return cards.card_error(
        decline,
        keep=frozenset(world.store.touched()),
        charge=intent["latest_charge"],
        payment_intent=public(intent),
        payment_method=method or None,
    )


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
