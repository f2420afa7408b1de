"""Appends events of accounts, in the transaction of what happened: both are there, or neither.

Workers hear of them at the commit, and make deliveries of them (webhooks_out/).

- SQLAlchemy sessions: `append`.
- The hot path (asyncpg): run `APPEND` within the batch's transaction, only when something
  happened. Its arrays are `driver.columns(rows, 6)`: account_id, id (`uuid4` as text), type, data
  as JSON text, dedup_key or None, created_at; `event_row` makes a row. In a shard's own tables
  replace `account_events` as for the other statements (it is in `distribution.DISTRIBUTED`); a
  worker does not hear what is announced on another node, and finds the event at its next sweep.
- Dedup keys: an account never has two events with the same key (`UNIQUE (account_id, dedup_key)`),
  however many processes and retries append it. `plan_started_key` and `plan_ended_key` make those
  of plan.started and plan.ended, which both sides append: the hot path appends plan.started when
  `began_at` is set for the first time, and plan.ended when `ended_at` is set.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.event_types import EventType

CHANNEL: Final = "billing_events"

# The data is JSON within text within an array's text: quotes and backslashes are escaped twice.
APPEND: Final = f"""
WITH added AS (
    INSERT INTO account_events (account_id, id, type, data, dedup_key, created_at)
    SELECT account_id, id, type, data::jsonb, dedup_key, created_at
    FROM unnest($1::text::bigint[], $2::text::uuid[], $3::text::text[], $4::text::text[],
                $5::text::text[], $6::text::timestamptz[])
         AS event (account_id, id, type, data, dedup_key, created_at)
    ON CONFLICT (account_id, dedup_key) DO NOTHING
    RETURNING account_id)
SELECT pg_notify('{CHANNEL}', '') FROM added LIMIT 1
"""  # noqa: S608

INSERT: Final = text("""
INSERT INTO account_events (account_id, id, type, data, dedup_key, created_at)
VALUES (:account_id, :id, :type, CAST(:data AS jsonb), :dedup_key, :created_at)
ON CONFLICT (account_id, dedup_key) DO NOTHING
""")
ANNOUNCE: Final = text(f"SELECT pg_notify('{CHANNEL}', '')")

_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """`data`: the event's own members, as JSON can hold them, datetimes too. `dedup_key`: the
    account gets one event with it; None: any number."""

    type: EventType
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    dedup_key: str | None = None


async def append(session: AsyncSession, account_id: int, event: NewEvent, at: datetime) -> bool:
    """Append it in the caller's transaction; False: the account has one with this key."""
    connection = await session.connection()
    added = await connection.execute(INSERT, _values(account_id, event, at))
    if not added.rowcount:
        return False
    await connection.execute(ANNOUNCE)
    return True


def event_row(account_id: int, event: NewEvent, at: datetime) -> tuple[Any, ...]:
    """A row of the arguments of APPEND."""
    return tuple(_values(account_id, event, at).values())


def plan_started_key(sequence: int) -> str:
    return f"{EventType.PLAN_STARTED}:{sequence}"


def plan_ended_key(sequence: int, ended_at: datetime) -> str:
    """A plan that is reopened can end once more."""
    return f"{EventType.PLAN_ENDED}:{sequence}:{ended_at.timestamp():.6f}"


def _values(account_id: int, event: NewEvent, at: datetime) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "id": str(uuid4()),
        "type": str(event.type),
        "data": _encoder.encode(event.data).decode(),
        "dedup_key": event.dedup_key,
        "created_at": at,
    }
