"""What happens to subscriptions over time: renewals, trial ends, planned cancellations."""

from billing_app.stripe_sandbox.dates import DAY_SECONDS, HOUR_SECONDS
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import (
    collection,
    invoicing,
    settlement,
    subscription_states,
)
from billing_app.stripe_sandbox.resources.cancellations import bill_the_rest
from billing_app.stripe_sandbox.resources.pauses import pause_for_missing_method
from billing_app.stripe_sandbox.resources.prorations import close_lines, credit_unused, is_metered
from billing_app.stripe_sandbox.resources.subscription_ends import end
from billing_app.stripe_sandbox.resources.subscription_items import (
    align,
    cycle_lines,
    items_of,
    refresh_usage,
    usage_lines,
)
from billing_app.stripe_sandbox.world import World

DRAFT_SECONDS = HOUR_SECONDS
TRIAL_WARNING_SECONDS = 3 * DAY_SECONDS


def cancel_as_planned(world: World, identifier: str, now: int) -> None:
    """Cancels the subscription at its `cancel_at`."""
    subscription = world.store.edit(identifier)
    if subscription.get("_cancel_prorates"):
        for item in items_of(subscription):
            credit_unused(world, subscription, item, now)
    if any(is_metered(item) for item in items_of(subscription)):
        bill_the_rest(world, subscription, now)
    end(world, identifier, now, "cancellation_requested")


def warn_of_trial_end(world: World, identifier: str, now: int) -> None:
    subscription = world.store.edit(identifier)
    subscription["_trial_warned"] = True
    world.emit("customer.subscription.trial_will_end", subscription, now=now)


def resume_collection(world: World, identifier: str, now: int) -> None:
    subscription_states.change(world, identifier, now, pause_collection=None)


def end_period(world: World, identifier: str, now: int) -> None:
    """Ends the period of one or more items: the trial ends, or the subscription renews."""
    subscription = world.store.edit(identifier)
    if subscription["status"] == "trialing" and not _trial_continues(world, subscription):
        _end_trial_without_method(world, subscription, now)
        return
    _renew(world, subscription, now)


def _trial_continues(world: World, subscription: Json) -> bool:
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    customer = world.store.get(subscription["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    return bool(
        behavior == "create_invoice"
        or subscription["default_payment_method"]
        or default
        or subscription["collection_method"] == "send_invoice"
    )


def _end_trial_without_method(world: World, subscription: Json, now: int) -> None:
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if behavior == "cancel":
        end(world, subscription["id"], now, "payment_failed")
    else:
        pause_for_missing_method(world, subscription["id"], now)


def _renew(world: World, subscription: Json, now: int) -> None:
    due = [item for item in items_of(subscription) if item["current_period_end"] <= now]
    past = usage_lines(world, subscription, due, now)
    started = min(item["current_period_start"] for item in due)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    for item in due:
        align(subscription, item, now)
    invoice = invoicing.new_invoice(
        world,
        world.store.get(subscription["customer"]),
        reason="subscription_cycle",
        now=now,
        currency=subscription["currency"],
        subscription=subscription,
        period_start=started,
        automatically_finalizes_at=now + DRAFT_SECONDS,
    )
    invoicing.pull_pending_items(world, invoice)
    invoicing.add_lines(world, invoice, past + cycle_lines(world, due))
    invoicing.total_up(world, invoice, now)
    close_lines(world, subscription, invoice)
    subscription["latest_invoice"] = invoice["id"]
    _hold_if_not_collecting(subscription, invoice)
    world.emit_update("customer.subscription", subscription, now=now)
    world.emit("invoice.created", invoice, now=now)


def _hold_if_not_collecting(subscription: Json, invoice: Json) -> None:
    pause = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (pause and pause["behavior"] == "keep_as_draft"):
        invoice |= {"auto_advance": False, "automatically_finalizes_at": None}


def finalize_due(world: World, identifier: str, now: int) -> None:
    """Finalizes a renewal's draft after an hour and collects it, unless collection is paused.

    It includes the usage that was reported for its period since
    (docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period).
    """
    refresh_usage(world, identifier)
    invoice = invoicing.finalize(world, identifier, now)
    subscription = invoicing.subscription_of(world, invoice) or {}
    pause = subscription.get("pause_collection")
    if settlement.settle_if_nothing_due(world, identifier, now):
        return
    if pause and pause["behavior"] == "void":
        settlement.void(world, identifier, now)
    elif pause:
        settlement.mark_uncollectible(world, identifier, now, "subscription_paused")
    elif invoice["collection_method"] == "send_invoice":
        world.emit("invoice.sent", invoice, now=now)
    else:
        collection.collect(world, identifier, now, off_session=True)
