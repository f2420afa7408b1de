"""Deletes what is past its retention: stored answers, sessions, links. Never the ledger."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from billing_app.db.blocks import delete_block
from billing_app.db.engine import Database

BLOCK_ROWS: Final = 10_000
SESSION_GRACE_DAYS: Final = 30

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

OLD_ATTEMPTS: Final = """
DELETE FROM attempt_counters WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM attempt_counters WHERE expires_at < :before LIMIT :rows
    FOR UPDATE SKIP LOCKED))
"""

OLD_BROWSERS: Final = """
DELETE FROM known_browsers WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM known_browsers WHERE expires_at < :before LIMIT :rows))
"""


async def purge_answers(database: Database, *, now: datetime, retention_days: int) -> int:
    """Delete stored answers past the retention; a retry that late is decided again."""
    before, removed = now - timedelta(days=retention_days), 0
    while True:
        async with database.transaction() as session:
            block = await delete_block(
                session, "idempotency_keys", "created_at", before, BLOCK_ROWS
            )
        removed += block
        if block < BLOCK_ROWS:
            return removed


async def purge_sessions(database: Database, *, now: datetime) -> int:
    """Delete sessions that expired SESSION_GRACE_DAYS ago."""
    return await _purge(database, OLD_SESSIONS, now - timedelta(days=SESSION_GRACE_DAYS))


async def purge_password_links(database: Database, *, now: datetime) -> int:
    """Delete password reset links that have expired."""
    return await _purge(database, OLD_LINKS, now)


async def purge_email_links(database: Database, *, now: datetime) -> int:
    """Delete new e-mail addresses that were not confirmed in time."""
    return await _purge(database, OLD_EMAIL_LINKS, now)


async def purge_attempts(database: Database, *, now: datetime) -> int:
    """Delete attempts that no longer count, and browsers that have not signed in for long."""
    attempts = await _purge(database, OLD_ATTEMPTS, now)
    return attempts + await _purge(database, OLD_BROWSERS, now)


async def _purge(database: Database, statement: str, before: datetime) -> int:
    removed = 0
    while True:
        async with database.transaction() as session:
            connection = await session.connection()
            values = {"before": before, "rows": BLOCK_ROWS}
            result = await connection.execute(text(statement), values)
        removed += result.rowcount
        if result.rowcount < BLOCK_ROWS:
            return removed
