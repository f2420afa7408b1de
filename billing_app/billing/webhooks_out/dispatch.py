"""Makes deliveries of the events that wait, and has them sent."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.webhooks_out.account_state import next_version, read_state
from billing_app.billing.webhooks_out.deliveries import MESSAGE, new_delivery
from billing_app.db.engine import Database
from billing_app.db.enums import EndpointStatus
from billing_app.db.tables import Account, AccountEvent, WebhookDelivery, WebhookEndpoint

MAX_EVENTS: Final = 500
MAX_DELIVERIES: Final = 500
MAX_LOOKS: Final = 20

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Hears of an account's events in the transaction that dispatches them."""

    async def hear(
        self,
        session: AsyncSession,
        account: Account,
        events: Sequence[AccountEvent],
        now: datetime,
    ) -> None: ...


class DeliveryQueue(Protocol):
    """Queues attempts in the transaction of `session`."""

    async def attempt(
        self, session: AsyncSession, delivery: WebhookDelivery, *, delay_seconds: float
    ) -> None:
        """The next attempt of the delivery's round, in `delay_seconds` or soon after."""
        ...


async def dispatch_events(
    database: Database, now: datetime, listener: Listener | None = None
) -> int:
    """Make a delivery of each event that waits, for each endpoint that wants it, and have the
    `listener` hear of it; returns how many events were taken, at most MAX_EVENTS.

    Each account is a transaction of its own: an error of one stops no other, also when its events
    are more than are taken at a time.
    """
    failed: set[int] = set()
    for _ in range(MAX_LOOKS):
        waiting = await _waiting(database, failed)
        taken, failing = await _dispatch_each(database, waiting, listener, now)
        if taken or not failing:
            return taken
        failed |= failing
    return 0


async def queue_deliveries(database: Database, queue: DeliveryQueue, now: datetime) -> int:
    """Have the deliveries attempted that wait for it; returns how many, at most MAX_DELIVERIES.
    Those of paused endpoints go on waiting."""
    query = (
        select(WebhookDelivery)
        .join(WebhookEndpoint, col(WebhookEndpoint.id) == WebhookDelivery.endpoint_id)
        .where(col(WebhookDelivery.is_queued).is_(False))
        .where(WebhookEndpoint.status == EndpointStatus.ENABLED)
        .order_by(col(WebhookDelivery.created_at))
        .limit(MAX_DELIVERIES)
        .with_for_update(of=WebhookDelivery, skip_locked=True)
    )
    async with database.transaction() as session:
        rows = (await session.exec(query)).all()
        for row in rows:
            row.is_queued, row.next_attempt_at = True, now
            session.add(row)
            await queue.attempt(session, row, delay_seconds=0)
    return len(rows)


async def _waiting(database: Database, but: Collection[int]) -> dict[int, list[AccountEvent]]:
    """The oldest events by account."""
    query = select(AccountEvent).where(col(AccountEvent.dispatched_at).is_(None))
    query = query.where(col(AccountEvent.account_id).not_in(but))
    query = query.order_by(col(AccountEvent.created_at)).limit(MAX_EVENTS)
    by_account: dict[int, list[AccountEvent]] = {}
    async with database.reading() as session:
        for event in (await session.exec(query)).all():
            by_account.setdefault(event.account_id, []).append(event)
    return by_account


async def _dispatch_each(
    database: Database,
    by_account: Mapping[int, Sequence[AccountEvent]],
    listener: Listener | None,
    now: datetime,
) -> tuple[int, set[int]]:
    """How many events were taken, and the accounts that failed."""
    taken, failing = 0, set[int]()
    for account_id, events in by_account.items():
        try:
            await _dispatch(database, account_id, events, listener, now)
            taken += len(events)
        except Exception:
            log.exception("account_events_not_dispatched", account_id=account_id)
            failing.add(account_id)
    return taken, failing


async def _dispatch(
    database: Database,
    account_id: int,
    events: Sequence[AccountEvent],
    listener: Listener | None,
    now: datetime,
) -> None:
    async with database.transaction() as session:
        account = await session.get(Account, account_id)
        if account is not None and listener is not None:
            await listener.hear(session, account, events, now)
        endpoints = await _endpoints(session, account)
        wanted = [
            (event, endpoint)
            for event in events
            for endpoint in endpoints
            if endpoint.types is None or event.type in endpoint.types
        ]
        if account is not None and wanted:
            version = await next_version(session, account_id)
            state = await read_state(database, account, version, now)
            bodies = {event.id: _body(event, state) for event, _ in wanted}
            for event, endpoint in wanted:
                await _add(session, event, endpoint, bodies[event.id], now)
        done = update(AccountEvent).where(col(AccountEvent.account_id) == account_id)
        done = done.where(col(AccountEvent.id).in_([event.id for event in events]))
        await session.exec(done.values(dispatched_at=now))


async def _endpoints(session: AsyncSession, account: Account | None) -> Sequence[WebhookEndpoint]:
    """Those that hear of the account, paused ones too; they cannot be removed meanwhile."""
    if account is None:
        return []
    owner = col(WebhookEndpoint.organization_id)
    query = (
        select(WebhookEndpoint)
        .where(or_(owner.is_(None), owner == account.organization_id))
        .where(WebhookEndpoint.status != EndpointStatus.DISABLED)
        .order_by(col(WebhookEndpoint.id))
        .with_for_update(read=True, key_share=True)
    )
    return (await session.exec(query)).all()


async def _add(
    session: AsyncSession,
    event: AccountEvent,
    endpoint: WebhookEndpoint,
    body: str,
    now: datetime,
) -> None:
    """Once, however many workers take the event."""
    row = new_delivery(endpoint.id, f"{MESSAGE}{event.id.hex}", event.type, body, now)
    statement = insert(WebhookDelivery).values(row.model_dump())
    await session.exec(
        statement.on_conflict_do_nothing(index_elements=["endpoint_id", "message_id"])
    )


def _body(event: AccountEvent, state: dict[str, Any]) -> str:
    payload = {
        "type": event.type,
        "timestamp": event.created_at,
        "data": {**event.data, "account": state},
    }
    return msgspec.json.encode(payload).decode()
