"""Webhook endpoints and their delivery log: answers, routes, and requests as functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from .answers import Page
from .bodies import ListQuery
from .routes import Operation, Route

DeliveryStatus: TypeAlias = Literal["pending", "delivered", "failed"]


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`organization_id` None: the platform's. `types` None: every type. `status`: enabled, paused
    or disabled. Until `previous_secret_until` the secret before the last rotation signs, too."""

    id: str
    organization_id: str | None
    url: str
    description: str
    types: list[str] | None
    status: str
    previous_secret_until: datetime | None
    failing_since: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewWebhookSecret(msgspec.Struct, frozen=True):
    """An endpoint with its new `secret`, which is shown this once, and never printed."""

    endpoint: WebhookEndpoint
    secret: str

    def __repr__(self) -> str:
        return f"NewWebhookSecret(endpoint={self.endpoint!r}, secret=…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("endpoint", self.endpoint), ("secret", "…")]


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """`message_id`: the header `webhook-id`. `status`: pending, delivered or failed.
    `response_status`: of the last attempt. `next_attempt_at` None: none follows, or the endpoint is
    paused."""

    id: str
    endpoint_id: str
    message_id: str
    type: str
    status: str
    attempts: int
    response_status: int | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime


class WebhookAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """`answer`: the beginning of the response's body. `error`: why there was none."""

    number: int
    attempted_at: datetime
    duration_ms: int
    response_status: int | None
    answer: str
    error: str


class WebhookDeliveryDetail(msgspec.Struct, frozen=True):
    """`body`: what is sent and signed. `attempts`: the newest first."""

    delivery: WebhookDelivery
    body: str
    attempts: list[WebhookAttempt]


class AddEndpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    url: str
    description: str = ""
    types: list[str] | None = None
    organization_id: str | None = None


class ChangeEndpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    url: str | None = None
    description: str | None = None
    types: list[str] | UnsetType | None = UNSET
    paused: bool | None = None


class EndpointsQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    organization_id: str | None = None


class DeliveriesQuery(ListQuery, frozen=True, kw_only=True, omit_defaults=True):
    status: DeliveryStatus | None = None
    type: str | None = None


_ENDPOINTS: Final = "/billing/webhook-endpoints"
_ENDPOINT: Final = f"{_ENDPOINTS}/{{endpoint_id}}"
_DELIVERY: Final = f"{_ENDPOINT}/deliveries/{{delivery_id}}"

LIST_ENDPOINTS: Final = Route("GET", _ENDPOINTS, Page[WebhookEndpoint], query=EndpointsQuery)
CREATE_ENDPOINT: Final = Route(
    "POST", _ENDPOINTS, NewWebhookSecret, body=AddEndpoint, is_repeatable=False
)
READ_ENDPOINT: Final = Route("GET", _ENDPOINT, WebhookEndpoint)
CHANGE_ENDPOINT: Final = Route("PATCH", _ENDPOINT, WebhookEndpoint, body=ChangeEndpoint)
DELETE_ENDPOINT: Final = Route("DELETE", _ENDPOINT, type(None))
ROTATE_SECRET: Final = Route(
    "POST", f"{_ENDPOINT}/rotate-secret", NewWebhookSecret, is_repeatable=False
)
SEND_TEST: Final = Route("POST", f"{_ENDPOINT}/test", WebhookDelivery)
LIST_DELIVERIES: Final = Route(
    "GET", f"{_ENDPOINT}/deliveries", Page[WebhookDelivery], query=DeliveriesQuery
)
READ_DELIVERY: Final = Route("GET", _DELIVERY, WebhookDeliveryDetail)
REDELIVER: Final = Route("POST", f"{_DELIVERY}/redeliver", WebhookDelivery)


def webhook_endpoints(organization_id: str | None = None) -> Operation[Page[WebhookEndpoint]]:
    """All endpoints of an organization, oldest first, on one page. None: the platform's, or those
    of the key's organization."""
    return LIST_ENDPOINTS.operation(query=EndpointsQuery(organization_id))


def webhook_endpoint(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """An endpoint, without its secret. Raises NotFoundError."""
    return READ_ENDPOINT.operation(endpoint_id)


def create_webhook_endpoint(
    url: str,
    *,
    types: Sequence[str] | None = None,
    description: str = "",
    organization_id: str | None = None,
) -> Operation[NewWebhookSecret]:
    """Add an endpoint; `types` None: every type. Keep the secret: no other answer has it.
    Raises ConflictError when there are too many. Not sent again when the outcome is unclear."""
    body = AddEndpoint(
        url=url, description=description, types=_list(types), organization_id=organization_id
    )
    return CREATE_ENDPOINT.operation(body=body)


def change_webhook_endpoint(
    endpoint_id: str,
    *,
    url: str | None = None,
    types: Sequence[str] | UnsetType | None = UNSET,
    description: str | None = None,
    paused: bool | None = None,
) -> Operation[WebhookEndpoint]:
    """Change, pause or resume an endpoint. What is left out stays; `types` None: every type;
    `paused` False also switches a disabled one on."""
    chosen = types if isinstance(types, UnsetType) else _list(types)
    body = ChangeEndpoint(url=url, description=description, types=chosen, paused=paused)
    return CHANGE_ENDPOINT.operation(endpoint_id, body=body)


def delete_webhook_endpoint(endpoint_id: str) -> Operation[None]:
    """Remove an endpoint and its delivery log. Raises NotFoundError when it is gone, also by an
    attempt of this call whose answer was lost."""
    return DELETE_ENDPOINT.operation(endpoint_id)


def rotate_webhook_secret(endpoint_id: str) -> Operation[NewWebhookSecret]:
    """A new secret. For a day deliveries are signed with the one before, too. Not sent again when
    the outcome is unclear."""
    return ROTATE_SECRET.operation(endpoint_id)


def send_test_webhook(endpoint_id: str) -> Operation[WebhookDelivery]:
    """Send a `webhook.test`; its result is in the delivery log. Raises ConflictError when the
    endpoint is switched off."""
    return SEND_TEST.operation(endpoint_id)


def webhook_deliveries(
    endpoint_id: str,
    *,
    status: DeliveryStatus | None = None,
    type: str | None = None,  # noqa: A002 - the query string's
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[Page[WebhookDelivery]]:
    """A page of the deliveries of the last 30 days, newest first."""
    query = DeliveriesQuery(status=status, type=type, limit=limit, cursor=cursor)
    return LIST_DELIVERIES.operation(endpoint_id, query=query)


def webhook_delivery(endpoint_id: str, delivery_id: str) -> Operation[WebhookDeliveryDetail]:
    """A delivery with its body, and what came of each attempt. Raises NotFoundError."""
    return READ_DELIVERY.operation(endpoint_id, delivery_id)


def redeliver_webhook(endpoint_id: str, delivery_id: str) -> Operation[WebhookDelivery]:
    """Send it once more at once, with the same id and body. Raises ConflictError when the endpoint
    is switched off."""
    return REDELIVER.operation(endpoint_id, delivery_id)


def _list(types: Sequence[str] | None) -> list[str] | None:
    return None if types is None else list(types)
