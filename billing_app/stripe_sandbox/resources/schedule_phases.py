"""Builds the phases of a subscription schedule from parameters."""

from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.dates import add_intervals
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.resources import taxes
from billing_app.stripe_sandbox.resources.catalog import inline_price, price_of
from billing_app.stripe_sandbox.resources.common import apply_fields
from billing_app.stripe_sandbox.world import World


def _invoice_settings() -> Json:
    issuer = {"account": None, "type": "self"}
    return blank_nested("subscription_schedule", "default_settings", "invoice_settings") | {
        "issuer": issuer
    }


def default_settings(params: Json | None) -> Json:
    settings = blank_nested("subscription_schedule", "default_settings") | {
        "billing_cycle_anchor": "automatic",
        "collection_method": "charge_automatically",
    }
    settings["invoice_settings"] = _invoice_settings()
    settings["automatic_tax"] = taxes.setting(params or {}, taxes.OFF)
    plain = ("billing_cycle_anchor", "collection_method", "default_payment_method", "description")
    apply_fields(settings, params or {}, plain)
    settings.pop("metadata", None)
    return settings


def _item(world: World, params: Json) -> Json:
    if "price_data" in params:
        price = inline_price(world, params["price_data"])
    else:
        identifier = params.get("price") or params.get("plan")
        if not identifier:
            raise missing_param("phases[0][items][0][price]")
        price = price_of(world, identifier, "phases[0][items][0][price]")
    metered = price["recurring"]["usage_type"] == "metered"
    return blank_nested("subscription_schedule", "phases", "items") | {
        "discounts": [],
        "metadata": params.get("metadata") or {},
        "plan": price["id"],
        "price": price["id"],
        "quantity": None if metered else params.get("quantity", 1),
    }


def new_phase(world: World, params: Json, start: int, schedule: Json) -> Json:
    items = [_item(world, entry) for entry in params["items"]]
    phase = blank_nested("subscription_schedule", "phases") | {
        "add_invoice_items": [],
        "automatic_tax": taxes.setting(params, taxes.OFF) if "automatic_tax" in params else None,
        "currency": world.store.get(items[0]["price"])["currency"],
        "default_tax_rates": [],
        "discounts": [_discount(entry) for entry in params.get("discounts") or []],
        "items": items,
        "metadata": params.get("metadata") or {},
        "proration_behavior": params.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "end_date": _end_date(world, params, items, start, schedule),
    }
    plain = ("billing_cycle_anchor", "collection_method", "default_payment_method", "description")
    for name in plain:
        if name in params:
            phase[name] = params[name]
    if params.get("trial"):
        phase["trial_end"] = phase["end_date"]
    elif isinstance(params.get("trial_end"), int):
        phase["trial_end"] = params["trial_end"]
    return phase


def _discount(entry: Json) -> Json:
    return {"coupon": None, "discount": None, "promotion_code": None} | entry


def _end_date(world: World, params: Json, items: list[Json], start: int, schedule: Json) -> int:
    end = params.get("end_date")
    if end == "now":
        return world.now(schedule)
    if isinstance(end, int):
        if end <= start:
            raise invalid("The phase's end_date must be after its start_date.",
                          param="phases[0][end_date]")  # fmt: skip
        return end
    recurring = world.store.get(items[0]["price"])["recurring"]
    length = params.get("duration") or recurring
    return add_intervals(start, length["interval"], length.get("interval_count") or 1)


def phases_from(world: World, schedule: Json, entries: list[Json], start: int) -> list[Json]:
    phases: list[Json] = []
    moment = start
    for index, entry in enumerate(entries):
        start_given = entry.get("start_date")
        if index and isinstance(start_given, int) and start_given != moment:
            raise invalid(
                "Phases must be contiguous: each start_date must be the end_date before it.",
                param=f"phases[{index}][start_date]",
            )
        phases.append(new_phase(world, entry, moment, schedule))
        moment = phases[-1]["end_date"]
    return phases
