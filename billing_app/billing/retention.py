"""Deletes what is past its retention: stored answers, sessions, links. Never the ledger."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from billing_app.db.engine import Database

BLOCK_ROWS: Final = 10_000
SESSION_GRACE_DAYS: Final = 30

OLD_KEYS: Final = """
DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < :before LIMIT :rows))
"""
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
    return await _purge(database, OLD_KEYS, now - timedelta(days=retention_days))


async def purge_sessions(database: Database, *, now: datetime) -> int:
    """Delete sessions that expired SESSION_GRACE_DAYS ago."""
    before = now - timedelta(days=SESSION_GRACE_DAYS)
    sessions = await _purge(database, OLD_SESSIONS, before)
    return sessions + await _purge(database, OLD_PORTAL_SESSIONS, before)


async def purge_portal_links(database: Database, *, now: datetime) -> int:
    """Delete portal links that have expired."""
    return await _purge(database, OLD_PORTAL_LINKS, now)


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
