"""Webhook endpoints and deliveries as the pages draw them."""

import json
from dataclasses import dataclass
from typing import Final

from billing_app.billing.webhooks_out.views import (
    AttemptView,
    DeliveryDetail,
    DeliveryView,
    EndpointView,
)
from billing_app.db.enums import DeliveryStatus, EndpointStatus
from billing_app.states import formatting

STATUSES: Final = {
    EndpointStatus.ENABLED: ("On", "good"),
    EndpointStatus.PAUSED: ("Paused", "warning"),
    EndpointStatus.DISABLED: ("Switched off", "bad"),
}
SWITCHES: Final = {
    EndpointStatus.ENABLED: "Pause",
    EndpointStatus.PAUSED: "Resume",
    EndpointStatus.DISABLED: "Switch on",
}
DELIVERY_STATUSES: Final = {
    DeliveryStatus.PENDING: ("Waiting", "warning"),
    DeliveryStatus.DELIVERED: ("Delivered", "good"),
    DeliveryStatus.FAILED: ("Failed", "bad"),
}
LEAST_FAILURE: Final = 300


@dataclass(frozen=True, slots=True)
class EndpointItem:
    """`switch`: what its button does, pause it or the reverse."""

    id: str = ""
    url: str = ""
    description: str = ""
    types: tuple[str, ...] = ()
    types_text: str = ""
    status: str = ""
    tone: str = ""
    note: str = ""
    problem: str = ""
    switch: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """`answer`: the status of the last response, in words if there was none."""

    id: str = ""
    type: str = ""
    status: str = ""
    tone: str = ""
    at: str = ""
    attempts: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class AttemptItem:
    number: str = ""
    at: str = ""
    duration: str = ""
    result: str = ""
    tone: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryDetailItem:
    """A delivery with the body that is sent, set out for reading."""

    delivery: DeliveryItem = DeliveryItem()
    message_id: str = ""
    next_attempt: str = ""
    body: str = ""
    attempts: tuple[AttemptItem, ...] = ()


def endpoint_item(view: EndpointView) -> EndpointItem:
    status, tone = STATUSES[view.status]
    types = tuple(view.types or ())
    until = view.previous_secret_until
    note = f"The previous secret is valid until {formatting.moment(until)} UTC" if until else ""
    return EndpointItem(
        id=view.id,
        url=view.url,
        description=view.description,
        types=types,
        types_text=formatting.counted(len(types), "event type") if types else "Every event",
        status=status,
        tone=tone,
        note=note,
        problem=_problem(view),
        switch=SWITCHES[view.status],
    )


def _problem(view: EndpointView) -> str:
    if view.status is EndpointStatus.DISABLED and view.disabled_at:
        at = formatting.day(view.disabled_at)
        return f"Switched off on {at} after five days of failures. Events since then are not sent."
    if view.failing_since:
        return f"Failing since {formatting.moment(view.failing_since)} UTC"
    return ""


def delivery_item(view: DeliveryView) -> DeliveryItem:
    status, tone = DELIVERY_STATUSES[view.status]
    return DeliveryItem(
        id=view.id,
        type=view.type,
        status=status,
        tone=tone,
        at=formatting.exact_moment(view.created_at),
        attempts=formatting.number(view.attempts),
        answer=_answer(view.response_status, has_attempts=view.attempts > 0),
    )


def delivery_detail_item(view: DeliveryDetail) -> DeliveryDetailItem:
    at = view.delivery.next_attempt_at
    return DeliveryDetailItem(
        delivery=delivery_item(view.delivery),
        message_id=view.delivery.message_id,
        next_attempt=f"Next attempt: {formatting.exact_moment(at)} UTC" if at else "",
        body=_set_out(view.body),
        attempts=tuple(_attempt_item(each) for each in view.attempts),
    )


def _attempt_item(view: AttemptView) -> AttemptItem:
    status = view.response_status
    is_bad = status is None or status >= LEAST_FAILURE
    return AttemptItem(
        number=formatting.number(view.number),
        at=formatting.exact_moment(view.attempted_at),
        duration=f"{formatting.number(view.duration_ms)} ms",
        result=str(status) if status is not None else view.error or "No response",
        tone="bad" if is_bad else "good",
        answer=view.answer,
    )


def _answer(status: int | None, *, has_attempts: bool) -> str:
    if status is not None:
        return str(status)
    return "No response" if has_attempts else ""


def _set_out(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
