"""Events and webhook endpoints."""

import secrets

from billing_app.stripe_sandbox.contract.sdk import API_VERSION
from billing_app.stripe_sandbox.errors import Json, check_url, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources.common import apply_fields, remove
from billing_app.stripe_sandbox.world import World


@route("GET", "/v1/events", "EventListParams")
def list_events(world: World, params: Json) -> Json:
    kind, kinds = params.get("type"), params.get("types")
    if kind and kinds:
        raise invalid("You may not use both type and types.", param="type")

    def matches(event: Json) -> bool:
        if kind and kind.endswith("*"):
            return event["type"].startswith(kind[:-1])
        return kind in (None, event["type"]) and (kinds is None or event["type"] in kinds)

    rows = world.store.all("event", matches)
    if "delivery_success" in params:
        done = params["delivery_success"]
        rows = (event for event in rows if (event["pending_webhooks"] == 0) is done)
    return page(params, rows, "/v1/events")


@route("GET", "/v1/events/{id}")
def retrieve_event(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "event")


def new_endpoint(world: World, params: Json, secret: str | None = None) -> Json:
    return world.create(
        "webhook_endpoint",
        api_version=params.get("api_version") or API_VERSION,
        created=world.real_now(),
        description=params.get("description") or None,
        enabled_events=params["enabled_events"],
        metadata=params.get("metadata") or {},
        status="enabled",
        url=params["url"],
        _secret=secret or f"whsec_{secrets.token_hex(16)}",
    )


@route("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams")
def create_endpoint(world: World, params: Json) -> Json:
    check_url(params["url"], "url")
    endpoint = new_endpoint(world, params)
    return {**endpoint, "secret": endpoint["_secret"]}


@route("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams")
def list_endpoints(world: World, params: Json) -> Json:
    return page(params, world.store.all("webhook_endpoint"), "/v1/webhook_endpoints")


@route("GET", "/v1/webhook_endpoints/{webhook_endpoint}")
def retrieve_endpoint(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "webhook_endpoint")


@route("POST", "/v1/webhook_endpoints/{webhook_endpoint}", "WebhookEndpointUpdateParams")
def update_endpoint(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "webhook_endpoint")
    endpoint = world.store.edit(identifier)
    apply_fields(endpoint, params, ("description", "enabled_events", "url"))
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    return endpoint


@route("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}")
def delete_endpoint(world: World, params: Json, identifier: str) -> Json:
    return remove(world, identifier, "webhook_endpoint", None)
