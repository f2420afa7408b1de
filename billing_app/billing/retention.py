"""Deletes what is past its retention: stored answers, sessions, links, and, where the operator
asked for it, events and days."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text

from billing_app.billing.executions.verification import verify
from billing_app.db import partitions
from billing_app.db.blocks import delete_block
from billing_app.db.engine import Database

BLOCK_ROWS: Final = 10_000
SESSION_GRACE_DAYS: Final = 30
DELIVERY_LOG_DAYS: Final = 30
# As long as an event is kept, another with its key is none.
ACCOUNT_EVENT_DAYS: Final = 90
INVITATION_DAYS: Final = 30

OLD_SESSIONS: Final = """
DELETE FROM sessions WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM sessions WHERE expires_at < :before LIMIT :rows))
"""

OLD_LINKS: Final = """
DELETE FROM password_resets WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM password_resets WHERE expires_at < :before LIMIT :rows))
"""

OLD_EMAIL_LINKS: Final = """
DELETE FROM email_changes WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM email_changes WHERE expires_at < :before LIMIT :rows))
"""

OLD_INVITATIONS: Final = """
DELETE FROM invitations WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM invitations WHERE expires_at < :before LIMIT :rows))
"""

OLD_ATTEMPTS: Final = """
DELETE FROM attempt_counters WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM attempt_counters WHERE expires_at < :before LIMIT :rows
    FOR UPDATE SKIP LOCKED))
"""

OLD_BROWSERS: Final = """
DELETE FROM known_browsers WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM known_browsers WHERE expires_at < :before LIMIT :rows))
"""

OLD_DELIVERIES: Final = """
DELETE FROM webhook_deliveries WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM webhook_deliveries WHERE created_at < :before LIMIT :rows))
"""

EARLIER_EVENTS: Final = text("SELECT EXISTS (SELECT 1 FROM execution_events_earlier)")
OLD_DAYS: Final = ("daily_usage", "daily_denials")
CLOCK: Final = text("SELECT clock_timestamp()")

log = structlog.get_logger(__name__)


async def attach_months(database: Database, now: datetime) -> list[str]:
    """Attach the ledger's next months, and drop what an interrupted removal left.

    Raises PartitionsInUseError.
    """
    await asyncio.to_thread(partitions.drop_removed, database.url)
    attached = await asyncio.to_thread(partitions.attach_ahead, database.url, now)
    await asyncio.to_thread(partitions.analyze, database.url)
    return attached


async def remove_oldest_month(
    database: Database, *, now: datetime, retention_months: int
) -> str | None:
    """Remove the events of one month past the retention, in whole months; returns its partition.

    One at a time, by the earlier of two clocks, and never of a ledger that does not verify: then
    the events are the evidence. Their sums stay. Raises PartitionsInUseError.
    """
    async with database.reading() as session:
        at = min(now, await (await session.connection()).scalar(CLOCK) or now)
    before = partitions.number_of(partitions.start_of_month(at, -retention_months))
    url = database.url
    oldest = await asyncio.to_thread(partitions.oldest_month, url)
    if oldest is None or oldest.until is None or oldest.until > before:
        return None
    if differences := await verify(database):
        log.error("retention_waits_for_ledger", differences=len(differences))
        return None
    await asyncio.to_thread(partitions.remove_month, url, oldest)
    await asyncio.to_thread(partitions.drop_removed, url)
    log.info("events_removed", partition=oldest.name)
    return oldest.name


async def purge_days(database: Database, *, now: datetime, retention_months: int) -> int:
    """Delete daily rows past the retention, in whole months, unless their events are still kept."""
    async with database.reading() as session:
        if await (await session.connection()).scalar(EARLIER_EVENTS):
            return 0
    oldest = await asyncio.to_thread(partitions.oldest_month, database.url)
    if oldest is None or oldest.first is None:
        return 0
    kept_from = partitions.EPOCH + oldest.first * partitions.MICROSECOND
    before = min(partitions.start_of_month(now, -retention_months), kept_from)
    counts = [await _purge_blocks(database, each, "day", before.date()) for each in OLD_DAYS]
    return sum(counts)


OLD_PORTAL_LINKS: Final = """
DELETE FROM portal_links WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM portal_links WHERE expires_at < :before LIMIT :rows))
"""

OLD_PORTAL_SESSIONS: Final = """
DELETE FROM portal_sessions WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM portal_sessions WHERE expires_at < :before LIMIT :rows))
"""


async def purge_answers(database: Database, *, now: datetime, retention_days: int) -> int:
    """Delete stored answers past the retention; a retry that late is decided again."""
    before = now - timedelta(days=retention_days)
    return await _purge_blocks(database, "idempotency_keys", "created_at", before)


async def purge_sessions(database: Database, *, now: datetime) -> int:
    """Delete sessions that expired SESSION_GRACE_DAYS ago."""
    before = now - timedelta(days=SESSION_GRACE_DAYS)
    sessions = await _purge(database, OLD_SESSIONS, before)
    return sessions + await _purge(database, OLD_PORTAL_SESSIONS, before)


async def purge_portal_links(database: Database, *, now: datetime) -> int:
    """Delete portal links that have expired."""
    return await _purge(database, OLD_PORTAL_LINKS, now)


async def purge_webhooks(database: Database, *, now: datetime) -> int:
    """Delete deliveries with their attempts, and later the events that they told."""
    deliveries = await _purge(database, OLD_DELIVERIES, now - timedelta(days=DELIVERY_LOG_DAYS))
    before = now - timedelta(days=ACCOUNT_EVENT_DAYS)
    return deliveries + await _purge_blocks(database, "account_events", "created_at", before)


async def purge_password_links(database: Database, *, now: datetime) -> int:
    """Delete password reset links that have expired."""
    return await _purge(database, OLD_LINKS, now)


async def purge_email_links(database: Database, *, now: datetime) -> int:
    """Delete new e-mail addresses that were not confirmed in time."""
    return await _purge(database, OLD_EMAIL_LINKS, now)


async def purge_invitations(database: Database, *, now: datetime) -> int:
    """Delete invitations that nobody accepted in time, nor sent again since."""
    return await _purge(database, OLD_INVITATIONS, now - timedelta(days=INVITATION_DAYS))


async def purge_attempts(database: Database, *, now: datetime) -> int:
    """Delete attempts that no longer count, and browsers that have not signed in for long."""
    attempts = await _purge(database, OLD_ATTEMPTS, now)
    return attempts + await _purge(database, OLD_BROWSERS, now)


async def _purge_blocks(database: Database, table: str, column: str, before: date) -> int:
    removed = 0
    while True:
        async with database.transaction() as session:
            block = await delete_block(session, table, column, before, BLOCK_ROWS)
        removed += block
        if block < BLOCK_ROWS:
            return removed


async def _purge(database: Database, statement: str, before: date) -> int:
    removed = 0
    while True:
        async with database.transaction() as session:
            connection = await session.connection()
            values = {"before": before, "rows": BLOCK_ROWS}
            result = await connection.execute(text(statement), values)
        removed += result.rowcount
        if result.rowcount < BLOCK_ROWS:
            return removed
