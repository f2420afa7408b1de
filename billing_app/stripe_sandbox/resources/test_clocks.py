"""Test clocks: separate time for some customers, advanced by hand.

Source: https://docs.stripe.com/billing/testing/test-clocks
"""

from billing_app.stripe_sandbox.dates import DAY_SECONDS, add_intervals
from billing_app.stripe_sandbox.due import run_due
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import deleted
from billing_app.stripe_sandbox.resources.customer_routes import delete as delete_customer
from billing_app.stripe_sandbox.resources.subscription_items import items_of
from billing_app.stripe_sandbox.resources.subscription_states import ENDED
from billing_app.stripe_sandbox.world import World

_KEPT_DAYS = 30
_YEARS_WITHOUT_SUBSCRIPTION = 2
_INTERVALS_AT_ONCE = 2


@route("POST", "/v1/test_helpers/test_clocks", "test_helpers.TestClockCreateParams")
def create(world: World, params: Json) -> Json:
    now = world.real_now()
    clock = world.create(
        "test_helpers.test_clock",
        created=now,
        deletes_after=now + _KEPT_DAYS * DAY_SECONDS,
        frozen_time=params["frozen_time"],
        name=params.get("name"),
        status="ready",
        status_details={"advancing": None},
        _now=params["frozen_time"],
    )
    world.emit("test_helpers.test_clock.created", clock)
    return clock


@route("GET", "/v1/test_helpers/test_clocks", "test_helpers.TestClockListParams")
def list_all(world: World, params: Json) -> Json:
    rows = world.store.all("test_helpers.test_clock")
    return page(params, rows, "/v1/test_helpers/test_clocks")


@route("GET", "/v1/test_helpers/test_clocks/{test_clock}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    clock = world.store.get(identifier, "test_helpers.test_clock")
    return deleted(clock) if clock.get("_deleted") else clock


@route(
    "POST",
    "/v1/test_helpers/test_clocks/{test_clock}/advance",
    "test_helpers.TestClockAdvanceParams",
)
def advance(world: World, params: Json, identifier: str) -> Json:
    """Carries out everything due, then answers `advancing`, as Stripe does."""
    clock = world.store.get(identifier, "test_helpers.test_clock")
    target = params["frozen_time"]
    if target <= clock["frozen_time"]:
        raise invalid("frozen_time must be after the clock's current time.", param="frozen_time")
    if target > (limit := _furthest(world, clock)):
        raise invalid(
            "You can only advance a test clock by up to two billing intervals of its shortest "
            f"subscription at a time (until {limit}).",
            param="frozen_time",
        )
    clock = world.store.edit(identifier)
    advancing: Json = dict(clock) | {
        "frozen_time": target,
        "status": "advancing",
        "status_details": {"advancing": {"target_frozen_time": target}},
    }
    world.emit("test_helpers.test_clock.advancing", advancing)
    run_due(world, identifier, target)
    clock |= {"frozen_time": target, "_now": target}
    world.emit("test_helpers.test_clock.ready", clock)
    return advancing


def _furthest(world: World, clock: Json) -> int:
    start = clock["frozen_time"]
    ends = [
        add_intervals(
            start, recurring["interval"], _INTERVALS_AT_ONCE * recurring["interval_count"]
        )
        for subscription in world.store.all("subscription")
        if subscription["test_clock"] == clock["id"] and subscription["status"] not in ENDED
        for recurring in (item["price"]["recurring"] for item in items_of(subscription))
    ]
    return min(ends, default=add_intervals(start, "year", _YEARS_WITHOUT_SUBSCRIPTION))


@route("DELETE", "/v1/test_helpers/test_clocks/{test_clock}")
def delete(world: World, params: Json, identifier: str) -> Json:
    """Deletes the clock together with its customers and their subscriptions."""
    world.store.get(identifier, "test_helpers.test_clock")
    for customer in world.store.all("customer", lambda c: c["test_clock"] == identifier):
        if not customer.get("_deleted"):
            delete_customer(world, {}, customer["id"])
    clock = world.store.edit(identifier)
    clock["_deleted"] = True
    world.emit("test_helpers.test_clock.deleted", clock)
    return deleted(clock)
