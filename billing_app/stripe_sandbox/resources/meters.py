"""Billing meters, their events, and aggregated usage.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.dates import DAY_SECONDS, HOUR_SECONDS
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.world import World

_OLDEST_SECONDS = 35 * DAY_SECONDS
_AHEAD_SECONDS = 300
_MINUTE_SECONDS = 60
_WINDOW_SECONDS = {"day": DAY_SECONDS, "hour": HOUR_SECONDS}


@route("POST", "/v1/billing/meters", "billing.MeterCreateParams")
def create(world: World, params: Json) -> Json:
    name = params["event_name"]
    if _find_meter(world, name):
        raise invalid(f"A meter with event_name {name} already exists.", param="event_name")
    now = world.real_now()
    mapping = {"event_payload_key": "stripe_customer_id", "type": "by_id"}
    meter = world.create(
        "billing.meter",
        created=now,
        updated=now,
        customer_mapping=mapping | (params.get("customer_mapping") or {}),
        default_aggregation=params["default_aggregation"],
        display_name=params["display_name"],
        event_name=name,
        event_time_window=params.get("event_time_window"),
        status="active",
        value_settings={"event_payload_key": "value"} | (params.get("value_settings") or {}),
    )
    world.emit("billing.meter.created", meter)
    return meter


def _find_meter(world: World, name: str) -> Json | None:
    return next(world.store.all("billing.meter", lambda m: m["event_name"] == name), None)


@route("GET", "/v1/billing/meters", "billing.MeterListParams")
def list_all(world: World, params: Json) -> Json:
    status = params.get("status")
    rows = world.store.all("billing.meter", lambda m: status in (None, m["status"]))
    return page(params, rows, "/v1/billing/meters")


@route("POST", "/v1/billing/meter_events", "billing.MeterEventCreateParams")
def create_event(world: World, params: Json) -> Json:
    """Records usage. An identifier is accepted once a day; the refusal has no error code."""
    meter = _find_meter(world, params["event_name"])
    if meter is None:
        raise invalid(
            f"No active meter found for event_name {params['event_name']}.",
            param="event_name",
            code="no_meter",
        )
    payload = params["payload"]
    customer = world.store.find(payload.get(meter["customer_mapping"]["event_payload_key"]))
    if customer is None or customer["object"] != "customer":
        raise invalid("The meter event payload does not name a customer.", param="payload")
    value = _value(meter, payload)
    now = world.now(customer)
    timestamp = params.get("timestamp", now)
    _check_timestamp(timestamp, now)
    identifier = params.get("identifier") or world.new_id("billing.meter_event")
    _check_identifier(world, identifier, now)
    event = world.draft(
        "billing.meter_event",
        created=now,
        event_name=params["event_name"],
        identifier=identifier,
        payload=dict(payload),
        timestamp=timestamp,
        _meter=meter["id"],
        _customer=customer["id"],
        _value=str(value),
    )
    world.store.add(event)
    return {name: field for name, field in public(event).items() if name != "id"}


def _check_timestamp(timestamp: int, now: int) -> None:
    if not now - _OLDEST_SECONDS <= timestamp <= now + _AHEAD_SECONDS:
        raise invalid(
            "Timestamp must be within the past 35 calendar days or up to 5 minutes in the future.",
            param="timestamp",
            code="timestamp_out_of_range",
        )


def _check_identifier(world: World, identifier: str, now: int) -> None:
    def is_same(event: Json) -> bool:
        return event["identifier"] == identifier and event["created"] > now - DAY_SECONDS

    if any(world.store.all("billing.meter_event", is_same)):
        raise invalid(f"An event already exists with identifier {identifier}.")


def _value(meter: Json, payload: Json) -> Decimal:
    if meter["default_aggregation"]["formula"] == "count":
        return Decimal(1)
    try:
        return Decimal(payload[meter["value_settings"]["event_payload_key"]])
    except (KeyError, InvalidOperation) as error:
        raise invalid("The meter event payload has no valid value.", param="payload") from error


def _events(world: World, meter: str, customer: str, start: int, end: int) -> Iterator[Json]:
    return world.store.all(
        "billing.meter_event",
        lambda e: (
            e["_meter"] == meter and e["_customer"] == customer and start <= e["timestamp"] < end
        ),
    )


def usage(world: World, meter: str, customer: str, start: int, end: int) -> Decimal:
    """The aggregated usage in [start, end)."""
    events = sorted(_events(world, meter, customer, start, end), key=lambda e: e["timestamp"])
    values = [Decimal(event["_value"]) for event in events]
    if world.store.get(meter)["default_aggregation"]["formula"] == "last":
        return values[-1] if values else Decimal(0)
    return sum(values, Decimal(0))


@route("GET", "/v1/billing/meters/{id}/event_summaries", "billing.MeterEventSummaryListParams")
def list_summaries(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "billing.meter")
    start, end = params["start_time"], params["end_time"]
    if start % _MINUTE_SECONDS or end % _MINUTE_SECONDS:
        raise invalid("start_time and end_time must be aligned with minute boundaries.")
    window = params.get("value_grouping_window")
    step: int = _WINDOW_SECONDS[window] if window else end - start
    rows = [
        world.draft(
            "billing.meter_event_summary",
            aggregated_value=float(
                usage(world, identifier, params["customer"], moment, min(moment + step, end))
            ),
            start_time=moment,
            end_time=min(moment + step, end),
            meter=identifier,
        )
        for moment in range(start, end, max(step, 1))
    ]
    limits = {key: value for key, value in params.items() if key == "limit"}
    return page(limits, rows, f"/v1/billing/meters/{identifier}/event_summaries")
