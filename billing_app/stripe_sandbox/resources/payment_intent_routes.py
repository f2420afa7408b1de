"""The API's routes for payment intents, and the outcome of 3-D Secure challenges."""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json, invalid, wrong_state
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources import cards, collection
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.payment_intents import (
    OPEN,
    attempt,
    cancel_intent,
    decline_intent,
    declined_error,
    new_intent,
)
from billing_app.stripe_sandbox.resources.payment_methods import method_for
from billing_app.stripe_sandbox.world import World


@route("POST", "/v1/payment_intents", "PaymentIntentCreateParams")
def create(world: World, params: Json) -> Json:
    currency = params["currency"].lower()
    if params["amount"] < money.minimum_charge(currency):
        raise invalid(
            f"Amount must be at least {money.text(money.minimum_charge(currency), currency)}",
            param="amount",
            code="amount_too_small",
        )
    money.check_last_digit(params["amount"], currency)
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
    if intent["status"] not in OPEN and params.keys() - {"metadata", "description"}:
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


def _confirm(world: World, identifier: str, params: Json) -> Json:
    intent = world.store.edit(identifier)
    if intent["status"] not in OPEN:
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
    collection.settle_from_intent(world, identifier)
    if declined:
        raise declined_error(world, declined, identifier)
    return intent


@route("POST", "/v1/payment_intents/{intent}/cancel", "PaymentIntentCancelParams")
def cancel(world: World, params: Json, identifier: str) -> Json:
    intent = world.store.get(identifier, "payment_intent")
    if intent["status"] not in OPEN:
        raise wrong_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            "payment_intent_unexpected_state",
        )
    return cancel_intent(world, identifier, params.get("cancellation_reason"))


def complete_challenge(world: World, identifier: str, *, passed: bool) -> Json:
    """Continues a payment after the person passed or failed the 3-D Secure challenge."""
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
        decline_intent(world, intent, failed)
    collection.settle_from_intent(world, identifier)
    return intent
