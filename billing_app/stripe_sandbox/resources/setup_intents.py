"""Setup intents: saving a card for later payments."""

from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, wrong_state
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources import cards
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.payment_methods import attach, card_behind, method_for
from billing_app.stripe_sandbox.world import World


def new_setup_intent(world: World, customer: Json | None, params: Json) -> Json:
    method = params.get("payment_method")
    intent = world.create(
        "setup_intent",
        created=world.now(customer),
        customer=customer["id"] if customer else None,
        description=params.get("description"),
        metadata=merged_metadata({}, params.get("metadata")),
        payment_method=method_for(world, method)["id"] if method else None,
        payment_method_types=["card"],
        status="requires_confirmation" if method else "requires_payment_method",
        usage=params.get("usage", "off_session"),
    )
    intent["client_secret"] = f"{intent['id']}_secret_{world.new_id('coupon')}"
    world.emit("setup_intent.created", intent, now=intent["created"])
    return intent


def attempt_setup(
    world: World, identifier: str, *, challenged: bool = False
) -> cards.Decline | None:
    """Tries to save the card and updates the intent's status. Returns the decline, if any."""
    intent = world.store.edit(identifier)
    method = world.store.get(intent["payment_method"], "payment_method")
    card = card_behind(world, method)
    customer = world.store.find(intent["customer"])
    if card.declined and not card.attaches:
        return _decline(world, intent, card.declined)
    asks = card.asks_off_session or card.asks_until_set_up
    if asks and not challenged:
        intent["status"] = "requires_action"
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {
                "url": f"{world.base_url}/challenge/{identifier}",
                "return_url": intent.get("_return_url"),
            },
        }
        world.emit("setup_intent.requires_action", intent, now=world.now(customer))
        return None
    world.store.edit(method["id"])["_set_up"] = True
    if customer:
        attach(world, method["id"], customer)
    intent |= {"status": "succeeded", "next_action": None, "last_setup_error": None}
    world.emit("setup_intent.succeeded", intent, now=world.now(customer))
    return None


def _decline(world: World, intent: Json, decline: cards.Decline) -> cards.Decline:
    method = public(world.store.get(intent["payment_method"]))
    intent |= {
        "status": "requires_payment_method",
        "next_action": None,
        "payment_method": None,
        "last_setup_error": {
            "type": "card_error",
            "code": decline.code,
            "decline_code": decline.decline_code,
            "message": decline.message,
            "payment_method": method,
        },
    }
    world.emit("setup_intent.setup_failed", intent)
    return decline


def complete_setup_challenge(world: World, identifier: str, *, passed: bool) -> Json:
    """Continues saving a card after the person passed or failed the 3-D Secure challenge."""
    intent = world.store.edit(identifier)
    if intent["status"] == "requires_action":
        if passed:
            attempt_setup(world, identifier, challenged=True)
        else:
            failed = "We are unable to authenticate your payment method."
            code = "setup_intent_authentication_failure"
            _decline(world, intent, cards.Decline(code, "", failed))
    return intent


def _confirm(world: World, identifier: str, params: Json) -> Json:
    intent = world.store.edit(identifier)
    if intent["status"] in ("succeeded", "canceled"):
        raise wrong_state(
            f"You cannot confirm this SetupIntent because it has a status of {intent['status']}.",
            "setup_intent_unexpected_state",
        )
    if "payment_method" in params:
        intent["payment_method"] = method_for(world, params["payment_method"])["id"]
    if intent["payment_method"] is None:
        raise wrong_state(
            "You cannot confirm this SetupIntent because it's missing a payment method.",
            "setup_intent_unexpected_state",
        )
    intent["_return_url"] = params.get("return_url")
    declined = attempt_setup(world, identifier)
    if declined:
        raise cards.card_error(
            declined,
            keep=frozenset(world.store.touched()),
            setup_intent=public(intent),
        )
    return intent


@route("POST", "/v1/setup_intents", "SetupIntentCreateParams")
def create(world: World, params: Json) -> Json:
    customer = live_customer(world, params["customer"]) if params.get("customer") else None
    intent = new_setup_intent(world, customer, params)
    if params.get("confirm"):
        return _confirm(world, intent["id"], {"return_url": params.get("return_url")})
    return intent


@route("GET", "/v1/setup_intents", "SetupIntentListParams")
def list_all(world: World, params: Json) -> Json:
    customer, method = params.get("customer"), params.get("payment_method")
    rows = world.store.all(
        "setup_intent",
        lambda i: customer in (None, i["customer"]) and method in (None, i["payment_method"]),
    )
    return page(params, rows, "/v1/setup_intents")


@route("GET", "/v1/setup_intents/{intent}", "SetupIntentRetrieveParams")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "setup_intent")


@route("POST", "/v1/setup_intents/{intent}", "SetupIntentUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "setup_intent")
    intent = world.store.edit(identifier)
    if params.get("payment_method"):
        intent["payment_method"] = method_for(world, params["payment_method"])["id"]
    apply_fields(intent, params, ("customer", "description"))
    return intent


@route("POST", "/v1/setup_intents/{intent}/confirm", "SetupIntentConfirmParams")
def confirm(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "setup_intent")
    return _confirm(world, identifier, params)


@route("POST", "/v1/setup_intents/{intent}/cancel", "SetupIntentCancelParams")
def cancel(world: World, params: Json, identifier: str) -> Json:
    if world.store.get(identifier, "setup_intent")["status"] == "succeeded":
        raise wrong_state(
            "You cannot cancel a succeeded SetupIntent.", "setup_intent_unexpected_state"
        )
    intent = world.store.edit(identifier)
    intent |= {"status": "canceled", "cancellation_reason": params.get("cancellation_reason")}
    world.emit("setup_intent.canceled", intent)
    return intent
