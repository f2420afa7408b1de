"""Charges and refunds."""

from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import includable
from billing_app.stripe_sandbox.resources.cards import Decline
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.world import World, list_object


def new_charge(world: World, intent: Json, now: int, declined: Decline | None = None) -> Json:
    """The charge of one attempt, successful or declined."""
    method = world.store.get(intent["payment_method"], "payment_method")
    paid = declined is None
    charge = world.create(
        "charge",
        amount=intent["amount"],
        amount_captured=intent["amount"] if paid else 0,
        amount_refunded=0,
        billing_details=dict(method["billing_details"]),
        calculated_statement_descriptor="STRIPE SANDBOX",
        captured=paid,
        created=now,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        failure_code=declined.code if declined else None,
        failure_message=declined.message if declined else None,
        metadata=dict(intent["metadata"]),
        outcome=_outcome(declined),
        paid=paid,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_method_details(method),
        radar_options={"session": None},
        status="succeeded" if paid else "failed",
    )
    charge["receipt_url"] = f"{world.base_url}/receipts/{charge['id']}" if paid else None
    return charge


def _outcome(declined: Decline | None) -> Json:
    return blank_nested("charge", "outcome") | {
        "network_status": "declined_by_network" if declined else "approved_by_network",
        "reason": declined.decline_code if declined else None,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "The bank declined the payment." if declined else "Payment complete.",
        "type": "issuer_declined" if declined else "authorized",
    }


def _method_details(method: Json) -> Json:
    if method["type"] == "card":
        return {"card": _card_details(method), "type": "card"}
    account = blank_nested("charge", "payment_method_details", "us_bank_account")
    known = {name: value for name, value in method["us_bank_account"].items() if name in account}
    return {"us_bank_account": account | known, "type": "us_bank_account"}


def _card_details(method: Json) -> Json:
    card = method["card"]
    same = ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    details = blank_nested("charge", "payment_method_details", "card")
    return (
        details
        | {name: card[name] for name in same}
        | {
            "checks": dict(card["checks"]),
            "network": card["brand"],
        }
    )


@includable("charge", "refunds")
def _refunds(world: World, charge: Json) -> Json:
    rows = world.store.all("refund", lambda r: r["charge"] == charge["id"])
    return list_object(list(rows)[::-1], f"/v1/charges/{charge['id']}/refunds")


@route("GET", "/v1/charges", "ChargeListParams")
def list_charges(world: World, params: Json) -> Json:
    customer, intent = params.get("customer"), params.get("payment_intent")
    rows = world.store.all(
        "charge",
        lambda c: customer in (None, c["customer"]) and intent in (None, c["payment_intent"]),
    )
    return page(params, rows, "/v1/charges")


@route("GET", "/v1/charges/{charge}")
def retrieve_charge(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "charge")


@route("POST", "/v1/charges/{charge}", "ChargeUpdateParams")
def update_charge(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "charge")
    charge = world.store.edit(identifier)
    apply_fields(charge, params, ("description", "receipt_email"))
    world.emit_update("charge", charge)
    return charge


def _charge_to_refund(world: World, params: Json) -> Json:
    if params.get("charge"):
        return world.store.get(params["charge"], "charge", param="charge")
    if not params.get("payment_intent"):
        raise missing_param("payment_intent")
    intent = world.store.get(params["payment_intent"], "payment_intent", param="payment_intent")
    if intent["status"] != "succeeded":
        raise invalid(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
        )
    return world.store.get(intent["latest_charge"], "charge")


@route("POST", "/v1/refunds", "RefundCreateParams")
def create_refund(world: World, params: Json) -> Json:
    charge = _charge_to_refund(world, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if charge["disputed"]:
        raise invalid("This charge has been disputed.", code="charge_disputed")
    if left == 0:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if not 1 <= amount <= left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    return _refund(world, charge["id"], amount, params)


def _refund(world: World, charge_id: str, amount: int, params: Json) -> Json:
    charge = world.store.edit(charge_id)
    now = world.now(world.store.find(charge["customer"]))
    refund = world.create(
        "refund",
        amount=amount,
        charge=charge_id,
        created=now,
        currency=charge["currency"],
        metadata=merged_metadata({}, params.get("metadata")),
        payment_intent=charge["payment_intent"],
        reason=params.get("reason"),
        status="succeeded",
    )
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    world.emit("refund.created", refund, now=now)
    world.emit("charge.refunded", charge, now=now)
    return refund


@route("GET", "/v1/refunds", "RefundListParams")
def list_refunds(world: World, params: Json) -> Json:
    charge, intent = params.get("charge"), params.get("payment_intent")
    rows = world.store.all(
        "refund",
        lambda r: charge in (None, r["charge"]) and intent in (None, r["payment_intent"]),
    )
    return page(params, rows, "/v1/refunds")


@route("GET", "/v1/refunds/{refund}")
def retrieve_refund(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "refund")


@route("POST", "/v1/refunds/{refund}", "RefundUpdateParams")
def update_refund(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "refund")
    refund = world.store.edit(identifier)
    apply_fields(refund, params, ())
    world.emit_update("refund", refund)
    return refund
