"""Subscription schedules: phases that change a subscription at set times.

Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from billing_app.stripe_sandbox.errors import Json, invalid, missing_param, wrong_state
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources import coupons, subscription_updates, subscriptions
from billing_app.stripe_sandbox.resources.cancellations import cancel_now
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.schedule_phases import (
    default_settings,
    new_phase,
    phases_from,
)
from billing_app.stripe_sandbox.resources.subscription_items import items_of, period_end
from billing_app.stripe_sandbox.world import World

_UNSUPPORTED = ("pause_schedules",)


@route("POST", "/v1/subscription_schedules", "SubscriptionScheduleCreateParams")
def create(world: World, params: Json) -> Json:
    if params.get("from_subscription"):
        return _from_subscription(world, params)
    if not params.get("customer"):
        raise missing_param("customer")
    if not params.get("phases"):
        raise missing_param("phases")
    customer = live_customer(world, params["customer"])
    now = world.now(customer)
    start = params.get("start_date", now)
    schedule = _new_schedule(world, customer, params, now)
    schedule["phases"] = phases_from(
        world, schedule, params["phases"], now if start == "now" else start
    )
    world.emit("subscription_schedule.created", schedule, now=now)
    if schedule["phases"][0]["start_date"] <= now:
        advance(world, schedule["id"], now)
    return schedule


def _new_schedule(world: World, customer: Json, params: Json, now: int) -> Json:
    mode = (params.get("billing_mode") or {}).get("type", "flexible")
    flexible = {"proration_discounts": "included"} if mode == "flexible" else None
    return world.create(
        "subscription_schedule",
        billing_mode={"flexible": flexible, "type": mode, "updated_at": now},
        created=now,
        customer=customer["id"],
        default_settings=default_settings(params.get("default_settings")),
        end_behavior=params.get("end_behavior", "release"),
        metadata=merged_metadata({}, params.get("metadata")),
        pause_schedules=[],
        status="not_started",
        test_clock=customer["test_clock"],
    )


def _from_subscription(world: World, params: Json) -> Json:
    """Creates a schedule whose only phase is the subscription's current period."""
    if extra := params.keys() - {"from_subscription", "metadata", "billing_mode"}:
        raise invalid(
            "You cannot set other parameters when from_subscription is set.", param=min(extra)
        )
    identifier = params["from_subscription"]
    if world.store.get(identifier, "subscription", param="from_subscription")["schedule"]:
        raise invalid(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"{identifier}.",
            param="from_subscription",
        )
    subscription = world.store.edit(identifier)
    now = world.now(subscription)
    schedule = _new_schedule(world, world.store.get(subscription["customer"]), params, now)
    items = [
        {"price": item["price"]["id"]}
        | ({"quantity": item["quantity"]} if item["quantity"] is not None else {})
        for item in items_of(subscription)
    ]
    start = min(item["current_period_start"] for item in items_of(subscription))
    end = period_end(subscription)
    entry: Json = _terms(subscription) | {"items": items, "end_date": end}
    if subscription["status"] == "trialing":
        entry["trial_end"] = subscription["trial_end"]
    schedule |= {
        "phases": [new_phase(world, entry, start, schedule)],
        "status": "active",
        "subscription": identifier,
        "current_phase": {"start_date": start, "end_date": end},
        "billing_mode": dict(subscription["billing_mode"]),
        "_phase": 0,
    }
    subscription["schedule"] = schedule["id"]
    world.emit("subscription_schedule.created", schedule, now=now)
    world.emit_update("customer.subscription", subscription, now=now)
    return schedule


def _terms(subscription: Json) -> Json:
    """What a phase takes over from the subscription."""
    names = ("collection_method", "default_payment_method", "description", "metadata")
    terms = {name: subscription[name] for name in names if subscription[name]}
    if subscription["automatic_tax"]["enabled"]:
        terms["automatic_tax"] = {"enabled": True}
    return terms | {"discounts": [{"discount": each} for each in subscription["discounts"]]}


def _open_schedule(world: World, identifier: str) -> Json:
    schedule = world.store.get(identifier, "subscription_schedule")
    if schedule["status"] not in ("active", "not_started"):
        raise wrong_state(
            f"You cannot update a subscription schedule that is currently in the "
            f"`{schedule['status']}` status.",
            "subscription_schedule_unexpected_state",
        )
    return world.store.edit(identifier)


@route("POST", "/v1/subscription_schedules/{schedule}", "SubscriptionScheduleUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    schedule = _open_schedule(world, identifier)
    for name in _UNSUPPORTED:
        if params.get(name):
            raise invalid(f"The sandbox does not support {name}.", param=name)
    now = world.now(schedule)
    apply_fields(schedule, params, ("end_behavior",))
    if "default_settings" in params:
        schedule["default_settings"] = default_settings(params["default_settings"])
    if params.get("phases"):
        _replace_phases(world, schedule, params, now)
    world.emit_update("subscription_schedule", schedule, now=now)
    return schedule


def _replace_phases(world: World, schedule: Json, params: Json, now: int) -> None:
    entries = params["phases"]
    if schedule["status"] == "not_started":
        given = entries[0].get("start_date", schedule["phases"][0]["start_date"])
        schedule["phases"] = phases_from(world, schedule, entries, now if given == "now" else given)
        return
    past = schedule["phases"][: schedule["_phase"]]
    current = schedule["phases"][schedule["_phase"]]
    given = entries[0].get("start_date")
    if past and given == past[0]["start_date"]:
        entries, given = entries[len(past) :], None
    if given not in (None, current["start_date"]):
        raise invalid(
            "You can not modify the start date of the current phase.",
            param="phases[0][start_date]",
        )
    renewed = phases_from(world, schedule, entries, current["start_date"])
    if renewed[0]["end_date"] <= now and len(renewed) > 1 and entries[0].get("end_date") != "now":
        raise invalid("The current phase must end in the future.", param="phases[0][end_date]")
    schedule["phases"] = past + renewed
    schedule["current_phase"] = _span(renewed[0])
    if _differs(current, renewed[0]):
        behavior = params.get("proration_behavior", "create_prorations")
        _apply(world, schedule, renewed[0] | {"proration_behavior": behavior}, now)


def _span(phase: Json) -> Json:
    return {"start_date": phase["start_date"], "end_date": phase["end_date"]}


def _bought(phase: Json) -> list[tuple[str, int | None]]:
    return sorted((item["price"], item["quantity"]) for item in phase["items"])


def _differs(one: Json, other: Json) -> bool:
    names = ("automatic_tax", "collection_method", "default_payment_method", "discounts")
    return _bought(one) != _bought(other) or any(one[name] != other[name] for name in names)


def next_moment(schedule: Json) -> int:
    """When the schedule starts or its current phase ends."""
    if schedule["status"] == "not_started":
        return schedule["phases"][0]["start_date"]
    return schedule["phases"][schedule["_phase"]]["end_date"]


def advance(world: World, identifier: str, now: int) -> None:
    """Starts the schedule, moves it to its next phase, or ends it."""
    schedule = world.store.edit(identifier)
    if schedule["status"] == "not_started":
        _start(world, schedule, now)
        return
    index = schedule["_phase"] + 1
    if index < len(schedule["phases"]):
        phase = schedule["phases"][index]
        schedule |= {"_phase": index, "current_phase": _span(phase)}
        _apply(world, schedule, phase, now)
        world.emit_update("subscription_schedule", schedule, now=now)
    else:
        _finish(world, schedule, now)


def _start(world: World, schedule: Json, now: int) -> None:
    phase = schedule["phases"][0]
    params: Json = {
        "customer": schedule["customer"],
        "items": [as_param(item) for item in phase["items"]],
        "metadata": phase["metadata"],
        "discounts": [_given(entry) for entry in phase["discounts"]],
        "off_session": True,
    }
    method = (
        phase["default_payment_method"] or schedule["default_settings"]["default_payment_method"]
    )
    if method:
        params["default_payment_method"] = method
    if phase["automatic_tax"]:
        params["automatic_tax"] = {"enabled": phase["automatic_tax"]["enabled"]}
    if phase["trial_end"]:
        params["trial_end"] = phase["trial_end"]
    subscription = subscriptions.create(world, params)
    stored = world.store.edit(subscription["id"])
    stored["schedule"] = schedule["id"]
    schedule |= {
        "status": "active",
        "subscription": subscription["id"],
        "current_phase": _span(phase),
        "_phase": 0,
    }
    world.emit_update("subscription_schedule", schedule, now=now)


def _given(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if value}


def as_param(item: Json) -> Json:
    quantity = {} if item["quantity"] is None else {"quantity": item["quantity"]}
    return {"price": item["price"], **quantity}


def _apply(world: World, schedule: Json, phase: Json, now: int) -> None:
    """Changes the subscription to match the phase: what a phase does not name falls back to the
    schedule's defaults or the customer (docs.stripe.com/api/subscription_schedules/object).
    """
    subscription = world.store.edit(schedule["subscription"])
    changes: Json = {
        "items": _item_changes(subscription, phase),
        "proration_behavior": phase["proration_behavior"],
    }
    if phase["metadata"]:
        changes["metadata"] = phase["metadata"]
    settings = schedule["default_settings"]
    for name in ("collection_method", "default_payment_method"):
        subscription[name] = phase[name] or settings[name]
    subscription["automatic_tax"] = dict(phase["automatic_tax"] or settings["automatic_tax"])
    subscription["discounts"] = coupons.redeem(
        world,
        [_given(entry) for entry in phase["discounts"]],
        world.store.get(subscription["customer"]),
        subscription=subscription["id"],
    )
    subscription_updates.update_at(world, subscription["id"], changes, now)


def _item_changes(subscription: Json, phase: Json) -> list[Json]:
    current = items_of(subscription)
    kept = {item["price"]["id"]: item["id"] for item in current}
    wanted = [as_param(item) for item in phase["items"]]
    free = [i["id"] for i in current if i["price"]["id"] not in {w["price"] for w in wanted}]
    changes: list[Json] = []
    for entry in wanted:
        identifier = kept.get(entry["price"]) or (free.pop(0) if free else None)
        changes.append({"id": identifier, **entry} if identifier else entry)
    return changes + [{"id": identifier, "deleted": True} for identifier in free]


def apply_due_phase(world: World, subscription_id: str, moment: int) -> None:
    """For previews: applies the phase that begins by the end of the period."""
    schedule = world.store.find(world.store.get(subscription_id)["schedule"])
    if schedule and schedule["status"] == "active" and next_moment(schedule) <= moment:
        advance(world, schedule["id"], moment)


def _finish(world: World, schedule: Json, now: int) -> None:
    if schedule["end_behavior"] == "cancel":
        schedule |= {"status": "completed", "completed_at": now, "current_phase": None}
        _let_go(world, schedule)
        cancel_now(world, schedule["subscription"], "cancellation_requested")
        world.emit("subscription_schedule.completed", schedule, now=now)
    else:
        _release(world, schedule, now)


def _let_go(world: World, schedule: Json) -> None:
    if schedule["subscription"]:
        world.store.edit(schedule["subscription"])["schedule"] = None


def _release(world: World, schedule: Json, now: int) -> None:
    _let_go(world, schedule)
    schedule |= {
        "status": "released",
        "released_at": now,
        "released_subscription": schedule["subscription"],
        "subscription": None,
        "current_phase": None,
    }
    world.emit("subscription_schedule.released", schedule, now=now)


@route("POST", "/v1/subscription_schedules/{schedule}/release", "SubscriptionScheduleReleaseParams")
def release_call(world: World, params: Json, identifier: str) -> Json:
    schedule = _open_schedule(world, identifier)
    _release(world, schedule, world.now(schedule))
    return schedule


@route("POST", "/v1/subscription_schedules/{schedule}/cancel", "SubscriptionScheduleCancelParams")
def cancel_call(world: World, params: Json, identifier: str) -> Json:
    schedule = _open_schedule(world, identifier)
    if schedule["subscription"]:
        cancel_now(
            world,
            schedule["subscription"],
            "cancellation_requested",
            prorate=params.get("prorate", True),
            invoice_now=params.get("invoice_now", True),
        )
    schedule |= {"status": "canceled", "canceled_at": world.now(schedule), "current_phase": None}
    return schedule


@route("GET", "/v1/subscription_schedules", "SubscriptionScheduleListParams")
def list_all(world: World, params: Json) -> Json:
    customer = params.get("customer")
    rows = world.store.all("subscription_schedule", lambda s: customer in (None, s["customer"]))
    return page(params, rows, "/v1/subscription_schedules")


@route("GET", "/v1/subscription_schedules/{schedule}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "subscription_schedule")
