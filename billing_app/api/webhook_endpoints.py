"""Webhook endpoints and their delivery log, over HTTP."""

from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field

from billing_app.api.callers import ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import NO_CONTROL, Limit, PathName
from billing_app.api.published_schemas import text
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.page_params import Cursor
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.actors import Actor, ServiceActor
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.webhooks_out.addresses import MAX_URL_LENGTH
from billing_app.billing.webhooks_out.deliveries import DeliveryQuery
from billing_app.billing.webhooks_out.endpoints import (
    CHOICES,
    MAX_DESCRIPTION,
    EndpointFields,
)
from billing_app.billing.webhooks_out.views import (
    DeliveryDetail,
    DeliveryView,
    EndpointView,
    NewSecret,
)
from billing_app.db.enums import DeliveryStatus
from billing_app.routes import WEBHOOK_ENDPOINTS

router = APIRouter(route_class=JsonRoute, prefix=WEBHOOK_ENDPOINTS, tags=["webhooks"])

PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
ENDPOINT: Final = "/{endpoint_id}"
DELIVERY: Final = ENDPOINT + "/deliveries/{delivery_id}"
Choice = StrEnum("Choice", {each.name: each.value for each in CHOICES})
Url = Annotated[
    str,
    Field(
        description="https, on the public internet, any port; ASCII, without user and fragment",
        json_schema_extra={
            "minLength": 1,
            "maxLength": MAX_URL_LENGTH,
            "pattern": r"^https?://[!-\[\]-~]+$",
        },
    ),
]
Description = Annotated[str, text(MAX_DESCRIPTION, pattern=PRINTABLE)]
Types = Annotated[
    list[Annotated[Choice, Field(strict=False)]] | None,
    Field(max_length=len(CHOICES), description="null: every type"),
]
OrganizationId = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=255,
        pattern=NO_CONTROL,
        description="Whose endpoint it is; null: the platform's, or that of the key's organization",
    ),
]
Owner = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=255,
        pattern=NO_CONTROL,
        description="Whose endpoints; without: the platform's, or those of the key's organization",
    ),
]


class AddEndpoint(JsonBody):
    url: Url
    description: Description = ""
    types: Types = None
    organization_id: OrganizationId = None


class ChangeEndpoint(JsonBody):
    """What is left out stays as it is. `paused` false also switches a disabled endpoint on."""

    url: Url | None = None
    description: Description | None = None
    types: Types = None
    paused: bool | None = None


@router.post("", status_code=201, responses=problems(409))
async def add(body: AddEndpoint, services: ServicesNow, actor: ActorNow, now: Now) -> NewSecret:
    """Add an endpoint. Its secret is in this response only."""
    fields = EndpointFields(url=body.url, description=body.description, types=_names(body.types))
    owner = _owner(actor, body.organization_id)
    return await services.webhook_endpoints.add(actor, owner, fields, now)


@router.get("")
async def list_endpoints(
    services: ServicesNow, actor: ActorNow, now: Now, organization_id: Owner = None
) -> dict[str, Any]:
    """All endpoints of an organization, or of the platform: oldest first, on one page."""
    owner = _owner(actor, organization_id)
    return {
        "items": await services.webhook_endpoints.list(actor, owner, now),
        "next_cursor": None,
    }


@router.get(ENDPOINT)
async def read(
    endpoint_id: PathName, services: ServicesNow, actor: ActorNow, now: Now
) -> EndpointView:
    """An endpoint, without its secret."""
    return await services.webhook_endpoints.read(actor, endpoint_id, now)


@router.patch(ENDPOINT)
async def change(
    endpoint_id: PathName, body: ChangeEndpoint, services: ServicesNow, actor: ActorNow, now: Now
) -> EndpointView:
    """Change, pause or resume an endpoint. What waited while it was paused is then delivered."""
    types = _names(body.types) if "types" in body.model_fields_set else None
    fields = EndpointFields(body.url, body.description, types, body.paused)
    return await services.webhook_endpoints.update(actor, endpoint_id, fields, now)


@router.delete(ENDPOINT, status_code=204)
async def remove(endpoint_id: PathName, services: ServicesNow, actor: ActorNow, now: Now) -> None:
    """Remove an endpoint and its delivery log."""
    await services.webhook_endpoints.remove(actor, endpoint_id, now)


@router.post(ENDPOINT + "/rotate-secret")
async def rotate_secret(
    endpoint_id: PathName, services: ServicesNow, actor: ActorNow, now: Now
) -> NewSecret:
    """A new secret, in this response only. For a day, deliveries carry a signature of both."""
    return await services.webhook_endpoints.rotate_secret(actor, endpoint_id, now)


@router.post(ENDPOINT + "/test", status_code=202, responses=problems(409))
async def send_test(
    endpoint_id: PathName, services: ServicesNow, actor: ActorNow, now: Now
) -> DeliveryView:
    """Send a `webhook.test`; its result is in the delivery log."""
    return await services.webhook_deliveries.send_test(actor, endpoint_id, now)


@router.get(ENDPOINT + "/deliveries")
async def list_deliveries(
    endpoint_id: PathName,
    services: ServicesNow,
    actor: ActorNow,
    status: DeliveryStatus | None = None,
    event_type: Annotated[EventType | None, Query(alias="type")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Deliveries of the last 30 days, newest first."""
    page = await services.webhook_deliveries.list(
        actor, endpoint_id, DeliveryQuery(status, event_type), limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}


@router.get(DELIVERY)
async def read_delivery(
    endpoint_id: PathName, delivery_id: PathName, services: ServicesNow, actor: ActorNow
) -> DeliveryDetail:
    """A delivery with its body, and what came of each attempt."""
    return await services.webhook_deliveries.read(actor, endpoint_id, delivery_id)


@router.post(DELIVERY + "/redeliver", status_code=202, responses=problems(409))
async def redeliver(
    endpoint_id: PathName,
    delivery_id: PathName,
    services: ServicesNow,
    actor: ActorNow,
    now: Now,
) -> DeliveryView:
    """Send it once more at once, with the same `webhook-id` and body."""
    return await services.webhook_deliveries.redeliver(actor, endpoint_id, delivery_id, now)


def _names(types: list[Any] | None) -> list[str]:
    return [str(each) for each in types or ()]


def _owner(actor: Actor, organization_id: str | None) -> str | None:
    """A key of one organization means that one."""
    if organization_id is None and isinstance(actor, ServiceActor):
        return actor.organization_id
    return organization_id
