"""Webhook endpoints: added, changed, paused, removed by those who may manage them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from unicodedata import category

from sqlalchemy import text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.account_events import outbox
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.accounts.names import CONTROLS_AND_HALVES
from billing_app.billing.actors import Actor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.identity.key_format import refuse_key
from billing_app.billing.webhooks_out.access import authorize, authorize_endpoint
from billing_app.billing.webhooks_out.addresses import check_url
from billing_app.billing.webhooks_out.audit import add_entry
from billing_app.billing.webhooks_out.secrets import new_secret, rotate
from billing_app.billing.webhooks_out.views import EndpointView, NewSecret, endpoint_view
from billing_app.db.engine import Database
from billing_app.db.enums import EndpointStatus
from billing_app.db.tables import WebhookEndpoint

ENDPOINT: Final = "whe_"
MAX_ENDPOINTS: Final = 20
MAX_DESCRIPTION: Final = 255
# What an endpoint can choose; a test goes to any of them.
CHOICES: Final = tuple(each for each in EventType if each is not EventType.TEST)
LOCK_OWNER: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 0))")


class TooManyEndpointsError(ConflictError):
    code = "too_many_webhook_endpoints"
    title = f"There are {MAX_ENDPOINTS} webhook endpoints, which is the maximum"


@dataclass(frozen=True, slots=True)
class EndpointFields:
    """What is known of an endpoint, or is to change; None: as it is. `types` () stands for every
    type. `is_paused` False also switches a disabled endpoint on again."""

    url: str | None = None
    description: str | None = None
    types: Sequence[str] | None = None
    is_paused: bool | None = None


@dataclass(frozen=True, slots=True)
class WebhookEndpoints:
    """`allow_private`: endpoints may be on private networks, and use http."""

    database: Database
    allow_private: bool

    async def add(
        self, actor: Actor, organization_id: str | None, fields: EndpointFields, now: datetime
    ) -> NewSecret:
        """An endpoint of the organization, or of the platform. Raises InvalidInputError,
        TooManyEndpointsError, and what `access.authorize` raises."""
        async with self.database.transaction() as session:
            await authorize(session, actor, organization_id)
            if fields.url is None:
                raise InvalidInputError("url is required.", field="url")
            await _require_room(session, organization_id)
            row = WebhookEndpoint(
                id=ids.new_id(ENDPOINT),
                organization_id=organization_id,
                url="",
                description="",
                status=EndpointStatus.ENABLED,
                secret=new_secret(),
                created_at=now,
                updated_at=now,
            )
            self._set(row, fields)
            session.add(row)
            await session.flush()
            await add_entry(session, actor, row, "created", now, after={"url": row.url})
        return NewSecret(endpoint_view(row, now), row.secret)

    async def list(
        self, actor: Actor, organization_id: str | None, now: datetime
    ) -> "list[EndpointView]":
        """The oldest first; at most MAX_ENDPOINTS. Raises what `access.authorize` raises."""
        query = select(WebhookEndpoint).where(_is_of(organization_id))
        query = query.order_by(col(WebhookEndpoint.created_at), col(WebhookEndpoint.id))
        async with self.database.reading() as session:
            await authorize(session, actor, organization_id, reading=True)
            rows = (await session.exec(query)).all()
        return [endpoint_view(row, now) for row in rows]

    async def read(self, actor: Actor, endpoint_id: str, now: datetime) -> EndpointView:
        """Raises what `access.authorize_endpoint` raises."""
        async with self.database.reading() as session:
            row = await authorize_endpoint(session, actor, endpoint_id, reading=True)
        return endpoint_view(row, now)

    async def update(
        self, actor: Actor, endpoint_id: str, fields: EndpointFields, now: datetime
    ) -> EndpointView:
        """Raises InvalidInputError, and what `access.authorize_endpoint` raises."""
        async with self.database.transaction() as session:
            row = await authorize_endpoint(session, actor, endpoint_id)
            before = _figures(row)
            self._set(row, fields)
            if before != _figures(row):
                row.updated_at = now
                session.add(row)
                await add_entry(
                    session, actor, row, "changed", now, before=before, after=_figures(row)
                )
                # What waited while it was paused is delivered now.
                await (await session.connection()).execute(outbox.ANNOUNCE)
        return endpoint_view(row, now)

    async def remove(self, actor: Actor, endpoint_id: str, now: datetime) -> None:
        """With its deliveries. Raises what `access.authorize_endpoint` raises."""
        async with self.database.transaction() as session:
            row = await authorize_endpoint(session, actor, endpoint_id)
            await add_entry(session, actor, row, "removed", now, before={"url": row.url})
            await session.delete(row)

    async def rotate_secret(self, actor: Actor, endpoint_id: str, now: datetime) -> NewSecret:
        """A new secret; the one before it signs too for a day, and one before that no more.
        Raises what `access.authorize_endpoint` raises."""
        async with self.database.transaction() as session:
            row = await authorize_endpoint(session, actor, endpoint_id)
            secret = rotate(row, now)
            row.updated_at = now
            session.add(row)
            await add_entry(session, actor, row, "secret rotated", now)
        return NewSecret(endpoint_view(row, now), secret)

    def _set(self, row: WebhookEndpoint, fields: EndpointFields) -> None:
        """Raises InvalidInputError."""
        if fields.url is not None:
            row.url = check_url(fields.url, allow_private=self.allow_private)
        if fields.description is not None:
            row.description = _checked_description(fields.description)
        if fields.types is not None:
            row.types = _checked_types(fields.types)
        if fields.is_paused is not None:
            _set_paused(row, is_paused=fields.is_paused)


def _set_paused(row: WebhookEndpoint, *, is_paused: bool) -> None:
    """A disabled endpoint that is switched on again starts with a clean record."""
    if row.status == EndpointStatus.DISABLED:
        row.failing_since = row.disabled_at = None
    row.status = EndpointStatus.PAUSED if is_paused else EndpointStatus.ENABLED


def _checked_description(description: str) -> str:
    description = description.strip()
    refuse_key(description, field="description")
    has_control = any(category(each) in CONTROLS_AND_HALVES for each in description)
    if len(description) > MAX_DESCRIPTION or has_control:
        raise InvalidInputError(
            f"A description has at most {MAX_DESCRIPTION} characters, and no control characters.",
            field="description",
        )
    return description


def _checked_types(types: Sequence[str]) -> list[str] | None:
    """In the order of CHOICES; None for every type."""
    unknown = sorted(set(types) - set(CHOICES))
    if unknown:
        raise InvalidInputError(f"Unknown event type: {unknown[0][:64]}.", field="types")
    return [str(each) for each in CHOICES if each in types] or None


async def _require_room(session: AsyncSession, organization_id: str | None) -> None:
    """Of many who add at once, each counts what the others added."""
    connection = await session.connection()
    await connection.execute(LOCK_OWNER, {"owner": f"webhook endpoints {organization_id or ''}"})
    count = select(func.count()).select_from(WebhookEndpoint).where(_is_of(organization_id))
    if (await session.exec(count)).one() >= MAX_ENDPOINTS:
        raise TooManyEndpointsError


def _is_of(organization_id: str | None) -> Any:
    owner = col(WebhookEndpoint.organization_id)
    return owner.is_(None) if organization_id is None else owner == organization_id


def _figures(row: WebhookEndpoint) -> dict[str, Any]:
    return {
        "url": row.url,
        "description": row.description,
        "types": ", ".join(row.types or []) or "all",
        "status": str(row.status),
    }
