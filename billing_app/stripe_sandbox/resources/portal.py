"""Customer portal: configurations and sessions. `portal_actions` handles what a person does."""

from billing_app.stripe_sandbox.contract.blank import blank
from billing_app.stripe_sandbox.errors import Json, check_url, missing_param
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.world import World

_REASONS = ["too_expensive", "missing_features", "switched_service", "unused", "other"]


def _features(params: Json) -> Json:
    """All features, with Stripe's defaults for those not given."""
    features = blank("billing_portal.configuration")["features"]
    features["customer_update"] |= {"allowed_updates": [], "enabled": False}
    features["subscription_cancel"] |= {
        "cancellation_reason": {"enabled": False, "feedback_options": None, "options": _REASONS},
        "mode": "at_period_end",
        "proration_behavior": "none",
    }
    features["subscription_pause"]["duration"] |= {"interval_options": [], "type": "indefinite"}
    features["subscription_update"] |= {
        "billing_cycle_anchor": "unchanged",
        "default_allowed_updates": [],
        "products": None,
        "proration_behavior": "none",
        "trial_update_behavior": "end_trial",
    }
    return _merged(features, params)


def _merged(base: Json, change: Json) -> Json:
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else None if value == "" else value
    for product in merged.get("products") or []:
        product.setdefault("adjustable_quantity", {"enabled": False, "maximum": None, "minimum": 0})
    return merged


def new_configuration(world: World, params: Json, *, is_default: bool = False) -> Json:
    now = world.real_now()
    profile = {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None}
    return world.create(
        "billing_portal.configuration",
        active=True,
        business_profile=profile | (params.get("business_profile") or {}),
        created=now,
        updated=now,
        default_return_url=params.get("default_return_url") or None,
        features=_features(params["features"]),
        is_default=is_default,
        login_page={"enabled": False, "url": None},
        metadata=merged_metadata({}, params.get("metadata")),
        name=params.get("name") or None,
    )


def default_configuration(world: World) -> Json:
    for configuration in world.store.all("billing_portal.configuration"):
        if configuration["is_default"]:
            return configuration
    everything: Json = {
        "customer_update": {"enabled": True, "allowed_updates": ["email", "name"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "proration_behavior": "always_invoice",
        },
    }
    return new_configuration(world, {"features": everything}, is_default=True)


@route("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams")
def create_configuration(world: World, params: Json) -> Json:
    configuration = new_configuration(world, params)
    world.emit("billing_portal.configuration.created", configuration)
    return configuration


@route("GET", "/v1/billing_portal/configurations", "billing_portal.ConfigurationListParams")
def list_configurations(world: World, params: Json) -> Json:
    active, default = params.get("active"), params.get("is_default")
    rows = world.store.all(
        "billing_portal.configuration",
        lambda c: active in (None, c["active"]) and default in (None, c["is_default"]),
    )
    return page(params, rows, "/v1/billing_portal/configurations")


@route("GET", "/v1/billing_portal/configurations/{configuration}")
def retrieve_configuration(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "billing_portal.configuration")


@route(
    "POST",
    "/v1/billing_portal/configurations/{configuration}",
    "billing_portal.ConfigurationUpdateParams",
)
def update_configuration(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "billing_portal.configuration")
    configuration = world.store.edit(identifier)
    apply_fields(configuration, params, ("active", "default_return_url", "name"))
    configuration["business_profile"] |= params.get("business_profile") or {}
    configuration["features"] = _merged(configuration["features"], params.get("features") or {})
    configuration["updated"] = world.real_now()
    world.emit_update("billing_portal.configuration", configuration)
    return configuration


@route("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams")
def create_session(world: World, params: Json) -> Json:
    if not params.get("customer"):
        raise missing_param("customer")
    check_url(params.get("return_url"), "return_url")
    customer = live_customer(world, params["customer"])
    if params.get("configuration"):
        configuration = world.store.get(
            params["configuration"], "billing_portal.configuration", param="configuration"
        )
    else:
        configuration = default_configuration(world)
    flow = params.get("flow_data")
    session = world.create(
        "billing_portal.session",
        configuration=configuration["id"],
        created=world.now(customer),
        customer=customer["id"],
        flow=_flow(flow) if flow else None,
        locale=params.get("locale"),
        return_url=params.get("return_url") or configuration["default_return_url"],
    )
    session["url"] = f"{world.base_url}/portal/{session['id']}"
    session.pop("metadata", None)
    world.emit("billing_portal.session.created", session)
    return session


def _flow(params: Json) -> Json:
    names = ("customer_update", "subscription_cancel", "subscription_pause", "subscription_update",
             "subscription_update_confirm")  # fmt: skip
    flow: Json = dict.fromkeys(names) | {"type": params["type"]}
    after = {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
    flow["after_completion"] = after | (params.get("after_completion") or {})
    if "subscription_cancel" in params:
        flow["subscription_cancel"] = {"retention": None} | params["subscription_cancel"]
    for name in ("subscription_update", "subscription_update_confirm"):
        if name in params:
            flow[name] = dict(params[name])
    return flow
