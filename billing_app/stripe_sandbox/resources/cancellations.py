"""Cancels a subscription at once, with its final invoice."""

from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import collection, invoicing, settlement
from billing_app.stripe_sandbox.resources.prorations import credit_unused
from billing_app.stripe_sandbox.resources.subscription_ends import end
from billing_app.stripe_sandbox.resources.subscription_items import items_of, usage_lines
from billing_app.stripe_sandbox.world import World


def cancel_now(
    world: World,
    identifier: str,
    reason: str,
    *,
    prorate: bool = False,
    invoice_now: bool = False,
) -> Json:
    subscription = world.store.edit(identifier)
    now = world.now(subscription)
    subscription["canceled_at"] = now
    if prorate:
        for item in items_of(subscription):
            credit_unused(world, subscription, item, now)
    if invoice_now:
        bill_the_rest(world, subscription, now)
    elif not prorate:
        _drop_pending_prorations(world, identifier)
    return end(world, identifier, now, reason)


def _drop_pending_prorations(world: World, identifier: str) -> None:
    for item in world.store.all("invoiceitem", lambda i: i["invoice"] is None and i["proration"]):
        if item["parent"]["subscription_details"]["subscription"] == identifier:
            world.store.edit(item["id"])["_deleted"] = True


def bill_the_rest(world: World, subscription: Json, now: int) -> None:
    """Makes and collects the final invoice: usage not yet billed and pending invoice items."""
    customer = world.store.get(subscription["customer"])
    lines = usage_lines(world, subscription, items_of(subscription), now)
    lines = [line for line in lines if line.amount]
    invoice = invoicing.new_invoice(
        world,
        customer,
        reason="subscription_update",
        now=now,
        currency=subscription["currency"],
        subscription=subscription,
    )
    invoicing.add_lines(world, invoice, lines)
    invoicing.pull_pending_items(world, invoice)
    if not invoice["lines"]["data"]:
        world.store.remove(invoice["id"])
        return
    invoicing.total_up(world, invoice, now)
    subscription["latest_invoice"] = invoice["id"]
    world.emit("invoice.created", invoice, now=now)
    invoicing.finalize(world, invoice["id"], now)
    if not settlement.settle_if_nothing_due(world, invoice["id"], now):
        collection.collect(world, invoice["id"], now, off_session=True)
