"""Webhook endpoints and their deliveries, as their owners see them."""

from dataclasses import dataclass
from datetime import datetime

from billing_app.db.enums import DeliveryStatus, EndpointStatus
from billing_app.db.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint


@dataclass(frozen=True, slots=True)
class EndpointView:
    """`organization_id` None: the platform's. `types` None: every type.

    `previous_secret_until`: until then the secret before the last rotation signs too.
    `failing_since`: the first failed attempt since the last success; None: the last one succeeded,
    or there was none. `disabled_at`: when it was switched off after days of failures.
    """

    id: str
    organization_id: str | None
    url: str
    description: str
    types: list[str] | None
    status: EndpointStatus
    previous_secret_until: datetime | None
    failing_since: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An endpoint with its new secret, which is shown this once."""

    endpoint: EndpointView
    secret: str


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """`message_id`: the header `webhook-id`, the same at every attempt. `response_status`: of the
    last attempt; None: there was no response, or no attempt. `next_attempt_at` None: none follows,
    or the endpoint is paused."""

    id: str
    endpoint_id: str
    message_id: str
    type: str
    status: DeliveryStatus
    attempts: int
    response_status: int | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AttemptView:
    """`answer`: the beginning of the response's body. `error`: why there was no response, "" with
    one."""

    number: int
    attempted_at: datetime
    duration_ms: int
    response_status: int | None
    answer: str
    error: str


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """`body`: the bytes that are sent and signed, as text. `attempts`: the newest first."""

    delivery: DeliveryView
    body: str
    attempts: list[AttemptView]


def endpoint_view(row: WebhookEndpoint, now: datetime) -> EndpointView:
    until = row.previous_until
    return EndpointView(
        id=row.id,
        organization_id=row.organization_id,
        url=row.url,
        description=row.description,
        types=row.types,
        status=EndpointStatus(row.status),
        previous_secret_until=until if until and until > now else None,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def delivery_view(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        endpoint_id=row.endpoint_id,
        message_id=row.message_id,
        type=row.type,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        response_status=row.response_status,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
    )


def attempt_view(row: WebhookAttempt) -> AttemptView:
    return AttemptView(
        number=row.number,
        attempted_at=row.attempted_at,
        duration_ms=row.duration_ms,
        response_status=row.response_status,
        answer=row.answer,
        error=row.error,
    )
