"""Alerts are kept for 90 days, with who was told; counts of a minute for an hour."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from billing_app.billing.alerts.service import kept_since
from billing_app.db.engine import Database

COUNTS_KEPT: Final = timedelta(hours=1)
ALERTS: Final = text("DELETE FROM alerts WHERE raised_at < :before")
DELIVERIES: Final = text("DELETE FROM alert_deliveries WHERE created_at < :before")
COUNTS: Final = text("DELETE FROM given_back_counts WHERE minute < :before")


async def purge_alerts(database: Database, now: datetime) -> int:
    """Returns how many rows were deleted; an hour's worth at a time is few."""
    removed = 0
    before = {ALERTS: kept_since(now), DELIVERIES: kept_since(now), COUNTS: now - COUNTS_KEPT}
    for statement, until in before.items():
        async with database.transaction() as session:
            connection = await session.connection()
            removed += (await connection.execute(statement, {"before": until})).rowcount
    return removed
