"""The delivery log of an endpoint: what was sent, what came back; sent once more on request."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import uuid4

import msgspec
from sqlalchemy import select as select_rows
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.account_events import outbox
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.actors import Actor
from billing_app.billing.errors import ConflictError, NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, TEXT, By, Key, Sorting
from billing_app.billing.webhooks_out.access import authorize_endpoint
from billing_app.billing.webhooks_out.views import (
    DeliveryDetail,
    DeliveryView,
    attempt_view,
    delivery_view,
)
from billing_app.db.engine import Database
from billing_app.db.enums import DeliveryStatus, EndpointStatus
from billing_app.db.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint

DELIVERY: Final = "whd_"
MESSAGE: Final = "msg_"
MAX_ATTEMPTS_SHOWN: Final = 100


class DeliveryNotFoundError(NotFoundError):
    code = "webhook_delivery_not_found"
    title = "Webhook delivery not found"


class EndpointDisabledError(ConflictError):
    code = "webhook_endpoint_disabled"
    title = "The endpoint is switched off. Switch it on first"


class DeliverySort(StrEnum):
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries; None: all."""

    status: DeliveryStatus | None = None
    type: EventType | None = None


SORTING: Final = Sorting(
    {DeliverySort.CREATED: Key(col(WebhookDelivery.created_at), INSTANT)},
    ties=(Key(col(WebhookDelivery.id), TEXT),),
    usual=By(DeliverySort.CREATED, descending=True),
)


@dataclass(frozen=True, slots=True)
class WebhookDeliveries:
    database: Database

    async def list(
        self,
        actor: Actor,
        endpoint_id: str,
        where: DeliveryQuery | None = None,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> Page[DeliveryView]:
        """Newest first. Raises InvalidInputError, and what `access.authorize_endpoint` raises."""
        where = where or DeliveryQuery()
        span = SORTING.span(None, limit=limit, cursor=cursor)
        query = select_rows(WebhookDelivery)
        query = query.where(col(WebhookDelivery.endpoint_id) == endpoint_id)
        if where.status is not None:
            query = query.where(col(WebhookDelivery.status) == where.status)
        if where.type is not None:
            query = query.where(col(WebhookDelivery.type) == where.type)
        async with self.database.reading() as session:
            await authorize_endpoint(session, actor, endpoint_id, reading=True)
            rows, following = await span.fetch(session, query)
        return Page([delivery_view(row[0]) for row in rows], following)

    async def read(self, actor: Actor, endpoint_id: str, delivery_id: str) -> DeliveryDetail:
        """With the body and the last MAX_ATTEMPTS_SHOWN attempts. Raises DeliveryNotFoundError, and
        what `access.authorize_endpoint` raises."""
        attempts = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery_id)
        attempts = attempts.order_by(col(WebhookAttempt.number).desc()).limit(MAX_ATTEMPTS_SHOWN)
        async with self.database.reading() as session:
            await authorize_endpoint(session, actor, endpoint_id, reading=True)
            row = await session.get(WebhookDelivery, delivery_id)
            if row is None or row.endpoint_id != endpoint_id:
                raise DeliveryNotFoundError
            made = (await session.exec(attempts)).all()
        return DeliveryDetail(delivery_view(row), row.body, [attempt_view(each) for each in made])

    async def redeliver(
        self, actor: Actor, endpoint_id: str, delivery_id: str, now: datetime
    ) -> DeliveryView:
        """Send it once more, at once, with the same id and body; while that fails, it is tried
        again as the first time. Raises DeliveryNotFoundError, EndpointDisabledError, and what
        `access.authorize_endpoint` raises."""
        async with self.database.transaction() as session:
            endpoint = await authorize_endpoint(session, actor, endpoint_id)
            _require_enabled(endpoint)
            row = await session.get(WebhookDelivery, delivery_id, with_for_update=True)
            if row is None or row.endpoint_id != endpoint_id:
                raise DeliveryNotFoundError
            row.round += 1
            row.attempts_before, row.is_queued = row.attempts, False
            row.status, row.next_attempt_at = DeliveryStatus.PENDING, now
            session.add(row)
            await session.flush()
            await (await session.connection()).execute(outbox.ANNOUNCE)
        return delivery_view(row)

    async def send_test(self, actor: Actor, endpoint_id: str, now: datetime) -> DeliveryView:
        """A `webhook.test`, whatever types were chosen. Raises EndpointDisabledError, and what
        `access.authorize_endpoint` raises."""
        async with self.database.transaction() as session:
            endpoint = await authorize_endpoint(session, actor, endpoint_id)
            _require_enabled(endpoint)
            payload = {"type": EventType.TEST, "timestamp": now, "data": {"endpoint": endpoint.id}}
            row = new_delivery(
                endpoint.id,
                f"{MESSAGE}{uuid4().hex}",
                EventType.TEST,
                msgspec.json.encode(payload).decode(),
                now,
            )
            session.add(row)
            await session.flush()
            await (await session.connection()).execute(outbox.ANNOUNCE)
        return delivery_view(row)


def new_delivery(
    endpoint_id: str, message_id: str, event_type: str, body: str, now: datetime
) -> WebhookDelivery:
    return WebhookDelivery(
        id=ids.new_id(DELIVERY),
        endpoint_id=endpoint_id,
        message_id=message_id,
        type=event_type,
        body=body,
        status=DeliveryStatus.PENDING,
        next_attempt_at=now,
        created_at=now,
    )


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.status == EndpointStatus.DISABLED:
        raise EndpointDisabledError
