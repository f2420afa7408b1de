"""Makes and collects the invoice that an update of a subscription makes due at once."""

from dataclasses import dataclass

from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import (
    collection,
    invoicing,
    settlement,
    subscription_states,
)
from billing_app.stripe_sandbox.resources.prorations import close_lines
from billing_app.stripe_sandbox.resources.subscription_states import INCOMPLETE_SECONDS
from billing_app.stripe_sandbox.world import World

KEPT_BACK = (
    "items",
    "billing_cycle_anchor",
    "trial_end",
    "trial_start",
    "discounts",
    "cancel_at",
    "cancel_at_period_end",
    "canceled_at",
)


@dataclass(frozen=True)
class Moment:
    """When an update happens (`now`), and from when prorations count (`prorated_at`)."""

    now: int
    prorated_at: int
    proration_behavior: str


def invoice_change(
    world: World, identifier: str, lines: list[invoicing.Line], params: Json, moment: Moment
) -> None:
    subscription = world.store.edit(identifier)
    invoice = invoicing.new_invoice(
        world,
        world.store.get(subscription["customer"]),
        reason="subscription_update",
        now=moment.now,
        currency=subscription["currency"],
        subscription=subscription,
    )
    invoicing.add_lines(world, invoice, lines)
    invoicing.pull_pending_items(world, invoice)
    if not invoice["lines"]["data"]:
        world.store.remove(invoice["id"])
        return
    invoicing.total_up(world, invoice, moment.now)
    details = invoice["parent"]["subscription_details"]
    details["subscription_proration_date"] = moment.prorated_at
    close_lines(world, subscription, invoice)
    subscription["latest_invoice"] = invoice["id"]
    world.emit("invoice.created", invoice, now=moment.now)
    invoicing.finalize(world, invoice["id"], moment.now)
    _collect_change(world, identifier, invoice["id"], params, moment)


def _collect_change(
    world: World, identifier: str, invoice_id: str, params: Json, moment: Moment
) -> None:
    behavior = params.get("payment_behavior", "allow_incomplete")
    if settlement.settle_if_nothing_due(world, invoice_id, moment.now):
        return
    subscription = world.store.get(identifier)
    if subscription["collection_method"] == "send_invoice":
        return
    if behavior == "default_incomplete":
        if subscription["status"] == "active":
            subscription_states.change(world, identifier, moment.now, status="past_due")
        return
    if behavior == "pending_if_incomplete":
        _collect_or_hold_back(world, identifier, invoice_id, moment)
        return
    off_session = bool(params.get("off_session"))
    declined = collection.collect(world, invoice_id, moment.now, off_session=off_session)
    if behavior == "error_if_incomplete":
        collection.raise_if_unpaid(world, invoice_id, declined)


def _collect_or_hold_back(world: World, identifier: str, invoice_id: str, moment: Moment) -> None:
    """`pending_if_incomplete`: holds the change back until its invoice is paid."""
    after = world.store.get(identifier)
    values = {name: after[name] for name in (*KEPT_BACK, "status")}
    expires_at = moment.now + INCOMPLETE_SECONDS
    subscription = world.store.restore(identifier)
    subscription |= {
        "latest_invoice": invoice_id,
        "_pending_update": {"invoice": invoice_id, "values": values, "expires_at": expires_at},
    }
    collection.collect(world, invoice_id, moment.now, off_session=False)
    if world.store.get(invoice_id)["status"] == "paid":
        return
    subscription_states.change(
        world,
        identifier,
        moment.now,
        pending_update={
            "billing_cycle_anchor": None,
            "cancel_at_period_end": None,
            "discount": None,
            "discounts": None,
            "expires_at": expires_at,
            "metadata": None,
            "subscription_items": public(values["items"]["data"]),
            "trial_end": None,
            "trial_from_plan": None,
        },
    )


def expire_pending_update(world: World, identifier: str, now: int) -> None:
    """Drops a pending update that was not paid within 23 hours and voids its invoice."""
    pending = world.store.get(identifier)["_pending_update"]
    subscription = subscription_states.change(
        world, identifier, now, pending_update=None, _pending_update=None
    )
    world.emit("customer.subscription.pending_update_expired", subscription, now=now)
    invoice = world.store.get(pending["invoice"])
    if invoice["status"] == "open":
        settlement.void(world, invoice["id"], now)
