"""The API's routes for subscriptions and their items."""

from billing_app.stripe_sandbox.errors import Json, invalid, no_such
from billing_app.stripe_sandbox.registry import cut_page, page, route
from billing_app.stripe_sandbox.resources import pauses, subscription_updates, subscriptions
from billing_app.stripe_sandbox.resources.cancellations import cancel_now
from billing_app.stripe_sandbox.resources.subscription_items import items_of
from billing_app.stripe_sandbox.resources.subscription_states import ENDED
from billing_app.stripe_sandbox.world import World


@route("POST", "/v1/subscriptions", "SubscriptionCreateParams")
def create_call(world: World, params: Json) -> Json:
    return subscriptions.create(world, params)


@route("POST", "/v1/subscriptions/{subscription_exposed_id}", "SubscriptionUpdateParams")
def update_call(world: World, params: Json, identifier: str) -> Json:
    return subscription_updates.update(world, identifier, params)


@route("DELETE", "/v1/subscriptions/{subscription_exposed_id}", "SubscriptionCancelParams")
def cancel_call(world: World, params: Json, identifier: str) -> Json:
    subscription = world.store.get(identifier, "subscription")
    if subscription["status"] in ENDED:
        raise no_such("subscription", identifier)
    stored = world.store.edit(identifier)
    stored["cancellation_details"] |= params.get("cancellation_details") or {}
    return cancel_now(
        world,
        identifier,
        "cancellation_requested",
        prorate=params.get("prorate", False),
        invoice_now=params.get("invoice_now", False),
    )


@route("POST", "/v1/subscriptions/{subscription}/resume", "SubscriptionResumeParams")
def resume_call(world: World, params: Json, identifier: str) -> Json:
    return pauses.resume(world, identifier, params)


@route("GET", "/v1/subscriptions", "SubscriptionListParams")
def list_all(world: World, params: Json) -> Json:
    status = params.get("status")

    def matches(subscription: Json) -> bool:
        own = subscription["status"]
        ended = own in ENDED
        special = {None: own != "canceled" and not ended, "all": True, "ended": ended}
        fits = special.get(status, own == status)
        prices = [item["price"]["id"] for item in items_of(subscription)]
        return (
            fits
            and params.get("customer") in (None, subscription["customer"])
            and params.get("test_clock") in (None, subscription["test_clock"])
            and ("price" not in params or params["price"] in prices)
        )

    return page(params, world.store.all("subscription", matches), "/v1/subscriptions")


@route("GET", "/v1/subscriptions/{subscription_exposed_id}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "subscription")


@route("GET", "/v1/subscription_items", "SubscriptionItemListParams")
def list_items(world: World, params: Json) -> Json:
    subscription = world.store.get(params["subscription"], "subscription", param="subscription")
    return cut_page(params, items_of(subscription), "/v1/subscription_items")


@route("DELETE", "/v1/subscriptions/{subscription_exposed_id}/discount")
def delete_discount(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "subscription")
    subscription = world.store.edit(identifier)
    if not subscription["discounts"]:
        raise invalid("No active discount for subscription.", code="resource_missing")
    removed = subscription["discounts"].pop()
    world.emit_update("customer.subscription", subscription)
    return {"id": removed, "object": "discount", "deleted": True}
