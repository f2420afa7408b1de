"""Updates subscriptions: items with prorations, anchor, trial, cancellation, payment.

Source: https://docs.stripe.com/billing/subscriptions/change and the docstring of
`SubscriptionService.update`: the billing date moves only if the interval changes, the subscription
goes from free to paid, or a trial starts or ends.
"""

from dataclasses import replace

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.resources import (
    coupons,
    invoicing,
    subscription_states,
    taxes,
)
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.payment_methods import is_slow
from billing_app.stripe_sandbox.resources.pending_items import add_extra_items, add_pending_item
from billing_app.stripe_sandbox.resources.prorations import (
    credit_unused,
    debit_remaining,
    is_metered,
)
from billing_app.stripe_sandbox.resources.subscription_items import (
    align,
    cycle_lines,
    items_of,
    last_period_end,
    new_item,
    period_end,
    set_price,
    sold_price,
    trial_lines,
    usage_lines,
)
from billing_app.stripe_sandbox.resources.subscriptions import refuse_unsupported
from billing_app.stripe_sandbox.resources.update_invoices import Moment, invoice_change
from billing_app.stripe_sandbox.world import World

_PLAIN = ("collection_method", "days_until_due", "default_payment_method", "description")
_AFTER_END = frozenset({"metadata", "cancellation_details"})
_WHILE_INCOMPLETE = _AFTER_END | {"default_payment_method", "description", "payment_settings"}


def update(world: World, identifier: str, params: Json) -> Json:
    """Applies the change and collects what becomes due as `payment_behavior` says."""
    subscription = world.store.get(identifier, "subscription")
    refuse_unsupported(params)
    _check_allowed(world, subscription, params)
    after = taxes.setting(params, subscription["automatic_tax"])
    if params.keys() & {"automatic_tax", "items"}:
        taxes.require_location(world, subscription | {"automatic_tax": after})
    return _update(world, identifier, params, _moment(world, subscription, params))


def update_at(world: World, identifier: str, params: Json, now: int) -> Json:
    """Applies a schedule's change at a time; a period that ends just then has no unused time."""
    behavior = params.get("proration_behavior", "create_prorations")
    return _update(world, identifier, params, Moment(now, now, behavior))


def _update(world: World, identifier: str, params: Json, moment: Moment) -> Json:
    subscription = world.store.edit(identifier)
    _apply_plain(world, subscription, params)
    _apply_cancellation(subscription, params, moment)
    lines, reset = _apply_items(world, subscription, params, moment)
    if params.get("payment_behavior") != "pending_if_incomplete":
        world.emit_update("customer.subscription", subscription, now=moment.now)
    added = params.get("add_invoice_items") or []
    customer = world.store.get(subscription["customer"])
    add_extra_items(world, subscription, customer, added, moment.now)
    if reset or moment.proration_behavior == "always_invoice":
        invoice_change(world, identifier, lines, params, moment)
    return world.store.get(identifier)


def _check_allowed(world: World, subscription: Json, params: Json) -> None:
    status = subscription["status"]
    given = params.keys()
    if status in subscription_states.ENDED and given - _AFTER_END:
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata.",
        )
    if status == "incomplete" and given - _WHILE_INCOMPLETE:
        raise invalid(
            "This subscription is incomplete: only its metadata and payment method can be updated "
            "until its first invoice is paid.",
        )
    if params.get("payment_behavior") == "pending_if_incomplete" and "automatic_tax" in given:
        # https://docs.stripe.com/billing/pending-updates-reference
        raise invalid(
            "You cannot update automatic_tax when payment_behavior is pending_if_incomplete.",
            param="automatic_tax",
        )
    if params.get("payment_behavior") == "pending_if_incomplete" and _pays_by_debit(
        world, subscription
    ):
        # https://docs.stripe.com/billing/subscriptions/pending-updates
        raise invalid(
            "Pending updates are not supported when a bank debit pays for the subscription.",
            param="payment_behavior",
        )
    schedule = world.store.find(subscription["schedule"])
    if schedule and given & {"cancel_at", "cancel_at_period_end"}:
        raise invalid(
            f"The subscription is managed by the subscription schedule `{schedule['id']}`, and "
            "updating any cancelation behavior directly is not allowed. Please update the schedule "
            "instead.",
        )


def _pays_by_debit(world: World, subscription: Json) -> bool:
    customer = world.store.get(subscription["customer"])
    usual = customer["invoice_settings"]["default_payment_method"]
    method = world.store.find(subscription["default_payment_method"] or usual)
    return method is not None and is_slow(method)


def _moment(world: World, subscription: Json, params: Json) -> Moment:
    now = world.now(subscription)
    at = params.get("proration_date", now)
    start = min(item["current_period_start"] for item in items_of(subscription))
    if not start <= at <= last_period_end(subscription):
        raise invalid(
            "Cannot specify proration_date outside of current subscription period.",
            param="proration_date",
        )
    return Moment(now, at, params.get("proration_behavior", "create_prorations"))


def _apply_plain(world: World, subscription: Json, params: Json) -> None:
    apply_fields(subscription, params, _PLAIN)
    subscription["automatic_tax"] = taxes.setting(params, subscription["automatic_tax"])
    for name in ("cancellation_details", "payment_settings"):
        if name in params:
            subscription[name] = {**subscription[name], **params[name]}
    if "trial_settings" in params:
        settings = subscription["trial_settings"]
        settings["end_behavior"] |= params["trial_settings"]["end_behavior"]
    if "pause_collection" in params:
        pause = params["pause_collection"]
        subscription["pause_collection"] = (
            {"behavior": pause["behavior"], "resumes_at": pause.get("resumes_at")}
            if pause
            else None
        )
    if params.get("discounts") or params.get("discounts") == "":
        customer = world.store.get(subscription["customer"])
        subscription["discounts"] = coupons.redeem(
            world, params["discounts"], customer, subscription=subscription["id"]
        )


def _apply_cancellation(subscription: Json, params: Json, moment: Moment) -> None:
    at = _cancel_time(subscription, params.get("cancel_at"))
    if params.get("cancel_at_period_end"):
        _set_cancellation(subscription, last_period_end(subscription), moment.now, at_end=True)
    elif params.get("cancel_at_period_end") is False and subscription["cancel_at_period_end"]:
        _set_cancellation(subscription, None, moment.now, at_end=False)
    elif "cancel_at" in params:
        if at is not None and at <= moment.now:
            raise invalid("cancel_at must be in the future.", param="cancel_at")
        _set_cancellation(subscription, at, moment.now, at_end=False)
        subscription["_cancel_prorates"] = moment.proration_behavior != "none"


def _cancel_time(subscription: Json, wanted: int | str | None) -> int | None:
    if isinstance(wanted, int):
        return wanted
    if wanted == "min_period_end":
        return period_end(subscription)
    return last_period_end(subscription) if wanted else None


def _set_cancellation(subscription: Json, at: int | None, now: int, *, at_end: bool) -> None:
    requested = at is not None
    subscription |= {
        "cancel_at": at,
        "cancel_at_period_end": at_end,
        "canceled_at": now if requested else None,
    }
    reason = "cancellation_requested" if requested else None
    subscription["cancellation_details"] = {
        **subscription["cancellation_details"],
        "reason": reason,
    }


def _apply_items(
    world: World, subscription: Json, params: Json, moment: Moment
) -> tuple[list[invoicing.Line], bool]:
    """Applies items, anchor and trial. Returns lines to bill, and whether to invoice at once."""
    ends_trial = params.get("trial_end") == "now" and subscription["status"] == "trialing"
    requested = (params.get("billing_cycle_anchor") or {}).get("type") == "now"
    paid_before = _costs(subscription)
    intervals_before = _intervals(subscription)
    replaced = _plan_items(world, subscription, params)
    trialing = subscription["status"] == "trialing" and not ends_trial
    free: list[invoicing.Line] = []
    if isinstance(params.get("trial_end"), int):
        _set_trial(world, subscription, params["trial_end"], moment)
        trialing = True
        # A trial that is set or prolonged is invoiced at once, for nothing
        # (docs.stripe.com/billing/subscriptions/trials/free-trials).
        free = [replace(line, start=moment.now) for line in trial_lines(world, subscription)]
    if replaced is None and not requested and not ends_trial:
        return free, bool(free)
    after = replaced if replaced is not None else items_of(subscription)
    became_paid = not paid_before and any(_cost(item) for item in after)
    moved = _moved(intervals_before, after)
    resets = (requested or ends_trial or moved or became_paid) and not trialing
    changed = _changed_ids(subscription, after)
    if not trialing and moment.proration_behavior != "none":
        for item in items_of(subscription):
            if item["id"] in changed or resets:
                credit_unused(world, subscription, item, moment.prorated_at)
    lines = free + _usage_to_bill(world, subscription, after, moment, resets=resets)
    _put_items(subscription, after, moment, trialing=trialing)
    if resets:
        return lines + _restart_cycle(world, subscription, moment), True
    if not trialing and moment.proration_behavior != "none":
        for item in items_of(subscription):
            if item["id"] in changed and item["current_period_end"] > moment.prorated_at:
                debit_remaining(world, subscription, item, moment.prorated_at)
    return lines, bool(lines)


def _cost(item: Json) -> int:
    return 0 if is_metered(item) else money.price_amount(item["price"], item["quantity"])


def _costs(subscription: Json) -> bool:
    """Whether the items cost anything; metered items always do."""
    items = items_of(subscription)
    return any(_cost(item) or is_metered(item) for item in items)


def _intervals(subscription: Json) -> dict[str, tuple[str, int]]:
    return {item["id"]: _interval(item) for item in items_of(subscription)}


def _interval(item: Json) -> tuple[str, int]:
    recurring = item["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _moved(before: dict[str, tuple[str, int]], after: list[Json]) -> bool:
    if any(before.get(item["id"], _interval(item)) != _interval(item) for item in after):
        return True
    licensed = {_interval(item) for item in after if not is_metered(item)}
    kept = before.keys() & {item["id"] for item in after}
    return not kept and not licensed & set(before.values())


def _plan_items(world: World, subscription: Json, params: Json) -> list[Json] | None:
    """The items after the change; None if no item changes."""
    if not params.get("items"):
        return None
    now = world.now(subscription)
    after = {item["id"]: public(item) | _own(item) for item in items_of(subscription)}
    for entry in params["items"]:
        identifier = entry.get("id")
        if identifier is None:
            item = new_item(world, subscription, entry, now)
            after[item["id"]] = item
        elif identifier not in after:
            raise invalid(f"No such subscription item: '{identifier}'", param="items[0][id]",
                          code="resource_missing")  # fmt: skip
        elif entry.get("deleted"):
            del after[identifier]
        else:
            _change_item(world, after[identifier], entry)
    if not after:
        raise invalid("A subscription must have at least one active plan. "
                      "Cancel the subscription instead.")  # fmt: skip
    return list(after.values())


def _own(item: Json) -> Json:
    own = {"_debits": [dict(debit) for debit in item["_debits"]]}
    return own | {"price": dict(item["price"])}


def _change_item(world: World, item: Json, entry: Json) -> None:
    if entry.keys() & {"price", "price_data", "plan"}:
        set_price(world, item, sold_price(world, entry), entry.get("quantity", 1))
    elif "quantity" in entry and not is_metered(item):
        item["quantity"] = entry["quantity"]
    if "metadata" in entry:
        item["metadata"] = merged_metadata(item["metadata"], entry["metadata"])


def _changed_ids(subscription: Json, after: list[Json]) -> set[str]:
    """Ids of items that are new, gone, or have another price or quantity."""
    before = {i["id"]: (i["price"]["id"], i["quantity"]) for i in items_of(subscription)}
    later = {i["id"]: (i["price"]["id"], i["quantity"]) for i in after}
    everything = before.keys() | later.keys()
    return {item for item in everything if before.get(item) != later.get(item)}


def _usage_to_bill(
    world: World, subscription: Json, after: list[Json], moment: Moment, *, resets: bool
) -> list[invoicing.Line]:
    """Lines for the usage of metered items that stay, if the period ends now.

    Items that go leave their usage as an invoice item, or unbilled if nothing is prorated.

    Source: https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup
    """
    kept = _prices(after)
    items = items_of(subscription)
    gone = [item for item in items if (item["id"], item["price"]["id"]) not in kept]
    if moment.proration_behavior != "none":
        customer = world.store.get(subscription["customer"])
        currency = subscription["currency"]
        for line in usage_lines(world, subscription, gone, moment.now):
            if line.amount:
                add_pending_item(
                    world, customer, line, currency=currency, subscription=subscription["id"]
                )
    for item in after:
        if is_metered(item) and (item["id"], item["price"]["id"]) not in _prices(items):
            item["_metered_from"] = moment.now
    stay = [item for item in items if resets and item not in gone]
    return [line for line in usage_lines(world, subscription, stay, moment.now) if line.amount]


def _prices(items: list[Json]) -> set[tuple[str, str]]:
    return {(item["id"], item["price"]["id"]) for item in items}


def _put_items(subscription: Json, after: list[Json], moment: Moment, *, trialing: bool) -> None:
    subscription["items"]["data"] = after
    for item in after:
        if "current_period_end" in item:
            continue
        if trialing:
            end = subscription["trial_end"]
            item |= {"current_period_start": moment.now, "current_period_end": end}
        else:
            align(subscription, item, moment.now)
            item["current_period_start"] = moment.now


def _restart_cycle(world: World, subscription: Json, moment: Moment) -> list[invoicing.Line]:
    subscription["billing_cycle_anchor"] = moment.now
    if subscription["status"] == "trialing":
        subscription |= {"status": "active", "trial_end": moment.now}
    for item in items_of(subscription):
        align(subscription, item, moment.now)
    if subscription["cancel_at_period_end"]:
        # The current period is meant (docs.stripe.com/api/subscriptions/object).
        subscription["cancel_at"] = last_period_end(subscription)
    return cycle_lines(world, items_of(subscription))


def _set_trial(world: World, subscription: Json, end: int, moment: Moment) -> None:
    if end <= moment.now:
        raise invalid("trial_end must be in the future.", param="trial_end")
    if subscription["status"] != "trialing":
        if moment.proration_behavior != "none":
            for item in items_of(subscription):
                credit_unused(world, subscription, item, moment.prorated_at)
        subscription |= {"status": "trialing", "trial_start": moment.now}
    subscription |= {"trial_end": end, "billing_cycle_anchor": end, "_trial_warned": False}
    for item in items_of(subscription):
        item |= {"current_period_start": moment.now, "current_period_end": end}
