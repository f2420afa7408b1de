"""Whether a worker takes up the scheduled work."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text

from billing_app.db.engine import Database

# The most frequent schedule fires each minute.
STALE_AFTER: Final = timedelta(minutes=3)
WORKFLOWS_TABLE: Final = text("SELECT to_regclass('dbos.workflow_status') IS NOT NULL")
LAST_COMPLETED_MS: Final = text("SELECT max(completed_at) FROM dbos.workflow_status")


async def is_worker_alive(database: Database, now: datetime) -> bool:
    """Whether any worker has completed scheduled work lately; a new one does at once."""
    async with database.reading() as session:
        connection = await session.connection()
        if not await connection.scalar(WORKFLOWS_TABLE):
            return False
        completed_ms = await connection.scalar(LAST_COMPLETED_MS)
    if completed_ms is None:
        return False
    return now - datetime.fromtimestamp(completed_ms / 1000, UTC) < STALE_AFTER
