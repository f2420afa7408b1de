"""Replay protection of webhooks: an event that is sent again is not processed again.

The age of the signature is bounded (see signatures.py), so a recorded request soon becomes
useless; and each event id is stored once, so a repeated delivery is acknowledged and ignored.
"""

from datetime import datetime
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from billing_app.billing.subscriptions.provider import ProviderEvent
from billing_app.db.engine import Database
from billing_app.db.enums import WebhookState
from billing_app.db.tables import WebhookEvent
from billing_app.payments.webhooks import REFETCH

SIGNATURE_AGE_SECONDS: Final = 300


async def store_event(database: Database, event: ProviderEvent, now: datetime) -> bool:
    """Store an event before it is acknowledged. True when it is new and its type is processed."""
    is_processed = event.type in REFETCH
    values = {
        "id": event.id,
        "type": event.type,
        "object_id": event.object_id,
        "customer_id": event.customer_id,
        "payload": event.payload,
        "state": WebhookState.RECEIVED if is_processed else WebhookState.PROCESSED,
        "attempts": 0,
        "occurred_at": event.occurred_at,
        "received_at": now,
    }
    statement = insert(WebhookEvent).values(values).on_conflict_do_nothing()
    async with database.transaction() as session:
        connection = await session.connection()
        stored = await connection.execute(statement.returning(col(WebhookEvent.id)))
        is_new = stored.first() is not None
    return is_processed and is_new
