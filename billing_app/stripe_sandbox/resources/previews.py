"""Invoice previews: makes the change, reads its invoice, and undoes everything.

So a preview shows exactly what the change costs at that second.
Source: https://docs.stripe.com/api/invoices/create_preview?api-version=2026-10-28.endive
"""

from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.registry import route
from billing_app.stripe_sandbox.resources import (
    coupons,
    invoice_items,
    invoicing,
    renewals,
    subscription_states,
    subscription_updates,
    subscriptions,
    taxes,
)
from billing_app.stripe_sandbox.resources.prorations import credit_unused
from billing_app.stripe_sandbox.resources.schedules import apply_due_phase
from billing_app.stripe_sandbox.resources.subscription_items import items_of, period_end
from billing_app.stripe_sandbox.world import World

_SAME_IN_UPDATE = ("items", "proration_behavior", "proration_date", "trial_end", "cancel_at",
                   "cancel_at_period_end")  # fmt: skip


@route("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams")
def create_preview(world: World, params: Json) -> Json:
    violations = len(world.violations)
    with world.store.rehearsal():
        is_taxed = _prepare(world, params)
        identifier = _rehearse(world, params)
        invoice = public(world.store.get(identifier))
    del world.violations[violations:]
    if is_taxed and not invoice["automatic_tax"]["enabled"]:
        invoice["automatic_tax"] = taxes.of_document(enabled=True)
        invoice["automatic_tax"]["status"] = "requires_location_inputs"
    invoice |= {
        "id": f"upcoming_{identifier}",
        "auto_advance": False,
        "billing_reason": "upcoming",
        "number": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "attempted": False,
        "attempt_count": 0,
        "amount_paid": 0,
        "amount_remaining": invoice["amount_due"],
        "status": "draft",
    }
    for line in invoice["lines"]["data"]:
        line["invoice"] = invoice["id"]
    return invoice


def _prepare(world: World, params: Json) -> bool:
    """Gives the subscription the discounts and the automatic tax of the preview. Returns whether
    it is taxed; without a location the preview says so instead of failing
    (https://docs.stripe.com/tax/subscriptions#estimate-taxes-total)."""
    target = world.store.find(params.get("subscription"))
    customer = world.store.get(params.get("customer") or (target or {}).get("customer") or "")
    wanted = taxes.setting(params, target["automatic_tax"] if target else taxes.OFF)
    is_known = taxes.location(customer) is not None
    params["automatic_tax"] = {"enabled": wanted["enabled"] and is_known}
    if target is not None:
        subscription = world.store.edit(target["id"])
        subscription["automatic_tax"] = taxes.setting(params, wanted)
        if "discounts" in params:
            subscription["discounts"] = coupons.redeem(
                world, params["discounts"], customer, subscription=target["id"]
            )
    return wanted["enabled"]


def _rehearse(world: World, params: Json) -> str:
    _add_items(world, params)
    details = params.get("subscription_details") or {}
    schedule = world.store.find(params.get("schedule"))
    target = params.get("subscription") or (schedule or {}).get("subscription")
    if target is None and params.get("invoice_items") and not details:
        return _rehearse_one_off(world, params)
    if target is None:
        return _rehearse_new(world, params, details)
    subscription = world.store.get(target, "subscription", param="subscription")
    if subscription["status"] in subscription_states.ENDED:
        raise invalid("The subscription is canceled and has no upcoming invoice.",
                      code="invoice_upcoming_none")  # fmt: skip
    if details.get("cancel_now"):
        return _rehearse_cancel(world, target, details)
    changes = _changes(details)
    latest_before = subscription["latest_invoice"]
    if changes:
        _rehearse_update(world, target, changes)
        latest = world.store.get(target)["latest_invoice"]
        if latest != latest_before:
            return latest
    return _rehearse_renewal(world, target)


def _add_items(world: World, params: Json) -> None:
    """`invoice_items`: amounts that appear on the previewed invoice only."""
    target = world.store.find(params.get("subscription"))
    customer = params.get("customer") or (target or {}).get("customer")
    for item in params.get("invoice_items") or []:
        price = {"pricing": {"price": item["price"]}} if "price" in item else {}
        invoice_items.create(world, {"customer": customer, "currency": "usd"} | item | price)


def _changes(details: Json) -> Json:
    changes = {name: details[name] for name in _SAME_IN_UPDATE if name in details}
    anchor = details.get("billing_cycle_anchor")
    if anchor and anchor["type"] != "unchanged":
        if anchor["type"] == "timestamp":
            raise invalid("The sandbox previews billing_cycle_anchor `now` and `unchanged` only.")
        changes["billing_cycle_anchor"] = {"type": "now"}
    return changes


def _rehearse_update(world: World, target: str, changes: Json) -> None:
    """Applies the update without collecting its invoice."""
    subscription_updates.update(world, target, changes | {"payment_behavior": "default_incomplete"})


def _rehearse_cancel(world: World, target: str, details: Json) -> str:
    subscription = world.store.edit(target)
    now = world.now(subscription)
    if details.get("proration_behavior", "create_prorations") != "none":
        at = details.get("proration_date", now)
        for item in items_of(subscription):
            credit_unused(world, subscription, item, at)
    invoice = invoicing.new_invoice(
        world,
        world.store.get(subscription["customer"]),
        reason="upcoming",
        now=now,
        currency=subscription["currency"],
        subscription=subscription,
    )
    invoicing.pull_pending_items(world, invoice)
    invoicing.total_up(world, invoice, now)
    return invoice["id"]


def _rehearse_renewal(world: World, target: str) -> str:
    subscription = world.store.edit(target)
    ends_at = subscription["cancel_at"]
    moment = period_end(subscription)
    if ends_at is not None and ends_at <= moment:
        raise invalid("The subscription is set to cancel and has no upcoming invoice.",
                      code="invoice_upcoming_none")  # fmt: skip
    apply_due_phase(world, target, moment)
    subscription["trial_settings"]["end_behavior"]["missing_payment_method"] = "create_invoice"
    renewals.end_period(world, target, moment)
    identifier = world.store.get(target)["latest_invoice"]
    invoice = world.store.edit(identifier)
    invoice["next_payment_attempt"] = moment + renewals.DRAFT_SECONDS
    return identifier


def _rehearse_one_off(world: World, params: Json) -> str:
    """An invoice of the customer's pending items and of those given
    (https://docs.stripe.com/invoicing/preview)."""
    customer = world.store.get(params["customer"])
    now = world.now(customer)
    currency = params.get("currency") or customer["currency"] or "usd"
    invoice = invoicing.new_invoice(
        world, customer, reason="manual", now=now, currency=currency,
        automatic_tax=taxes.of_document(enabled=params["automatic_tax"]["enabled"]),
    )  # fmt: skip
    invoicing.pull_pending_items(world, invoice)
    invoicing.total_up(world, invoice, now)
    return invoice["id"]


def _rehearse_new(world: World, params: Json, details: Json) -> str:
    if not params.get("customer"):
        raise missing_param("customer")
    if not details.get("items"):
        raise missing_param("subscription_details[items]")
    wanted = {
        "customer": params["customer"],
        "items": details["items"],
        "payment_behavior": "default_incomplete",
        "discounts": params.get("discounts") or [],
        "automatic_tax": params["automatic_tax"],
    }
    for name in ("trial_end", "proration_behavior"):
        if name in details:
            wanted[name] = details[name]
    subscription = subscriptions.create(world, wanted)
    if subscription["latest_invoice"] is None:
        return _rehearse_renewal(world, subscription["id"])
    return subscription["latest_invoice"]
