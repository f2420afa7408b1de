"""Disputes: a test card or the control endpoint opens them, the API answers them."""

from billing_app.stripe_sandbox.contract.blank import blank, blank_nested
from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json, invalid, wrong_state
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources.common import apply_fields
from billing_app.stripe_sandbox.world import World

_DAYS_TO_ANSWER = 7
_WINNING, _LOSING = "winning_evidence", "losing_evidence"


def new_dispute(world: World, charge_id: str, reason: str, amount: int | None = None) -> Json:
    """Opens a dispute on a charge, as a bank does, and withdraws the money until it is closed."""
    if not world.store.get(charge_id, "charge", param="charge")["paid"]:
        raise invalid("Only a successful charge can be disputed.", param="charge")
    charge = world.store.edit(charge_id)
    if charge["disputed"]:
        raise invalid("This charge has already been disputed.", param="charge")
    now = world.now(world.store.find(charge["customer"]))
    charge["disputed"] = True
    details = blank_nested("dispute", "evidence_details") | {
        "due_by": now + _DAYS_TO_ANSWER * DAY_SECONDS,
        "submission_count": 0,
        "submission_method": "not_submitted",
    }
    dispute = world.create(
        "dispute",
        amount=amount or charge["amount"],
        charge=charge_id,
        created=now,
        currency=charge["currency"],
        evidence_details=details,
        is_charge_refundable=False,
        payment_intent=charge["payment_intent"],
        payment_method_details=_method_details(charge),
        reason=reason,
        status="needs_response",
    )
    world.emit("charge.dispute.created", dispute, now=now)
    world.emit("charge.dispute.funds_withdrawn", dispute, now=now)
    return dispute


def _method_details(charge: Json) -> Json | None:
    """None of a bank debit: its type has none."""
    if "card" not in charge["payment_method_details"]:
        return None
    brand = charge["payment_method_details"]["card"]["brand"]
    card = {"brand": brand, "case_type": "chargeback", "network": brand}
    fields = blank("dispute")["payment_method_details"] or {}
    names = ("amazon_pay", "klarna", "paypal")
    return (
        fields
        | dict.fromkeys(names)
        | {
            "type": "card",
            "card": {**card, "network_reason_code": "10.4"},
        }
    )


def _close(world: World, dispute: Json, status: str) -> None:
    dispute["status"] = status
    if status == "won":
        world.emit("charge.dispute.funds_reinstated", dispute)
    world.emit("charge.dispute.closed", dispute)


@route("GET", "/v1/disputes", "DisputeListParams")
def list_all(world: World, params: Json) -> Json:
    charge, intent = params.get("charge"), params.get("payment_intent")
    rows = world.store.all(
        "dispute",
        lambda d: charge in (None, d["charge"]) and intent in (None, d["payment_intent"]),
    )
    return page(params, rows, "/v1/disputes")


@route("GET", "/v1/disputes/{dispute}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "dispute")


@route("POST", "/v1/disputes/{dispute}", "DisputeUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    """Takes evidence; `winning_evidence` or `losing_evidence` decides, as in test mode."""
    if world.store.get(identifier, "dispute")["status"] not in ("needs_response", "under_review"):
        raise wrong_state("This dispute is already closed.", "dispute_closed")
    dispute = world.store.edit(identifier)
    apply_fields(dispute, params, ())
    evidence = params.get("evidence") or {}
    dispute["evidence"] |= {k: v for k, v in evidence.items() if k != "enhanced_evidence"}
    dispute["evidence_details"]["has_evidence"] = bool(evidence)
    if params.get("submit", True) and evidence:
        dispute["status"] = "under_review"
        details = dispute["evidence_details"]
        details |= {
            "submission_count": details["submission_count"] + 1,
            "submission_method": "manual",
        }
        world.emit_update("charge.dispute", dispute)
        verdict = {_WINNING: "won", _LOSING: "lost"}.get(evidence.get("uncategorized_text", ""))
        if verdict:
            _close(world, dispute, verdict)
    return dispute


@route("POST", "/v1/disputes/{dispute}/close")
def close(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "dispute")
    dispute = world.store.edit(identifier)
    _close(world, dispute, "lost")
    return dispute
