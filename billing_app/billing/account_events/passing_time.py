"""Plans that start or end because time passes, while nobody uses or changes their account."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.account_record import read_record
from billing_app.billing.account_events.changes import events_of_time
from billing_app.billing.account_events.outbox import append
from billing_app.db.engine import Database

# A run looks back twice as far as runs are apart. What it misses all the same is told by the
# account's next change.
LOOKS_BACK: Final = timedelta(minutes=20)
MAX_ACCOUNTS: Final = 20_000

PASSED: Final = text("""
SELECT account_id FROM plans
WHERE source NOT IN ('overage', 'bridge')
  AND (ended_at IS NULL AND ends_at > :since AND ends_at <= :now
       OR starts_at > :since AND starts_at <= :now AND created_at < starts_at)
GROUP BY account_id ORDER BY account_id LIMIT :most
""")

log = structlog.get_logger(__name__)


async def tell_passing_time(database: Database, now: datetime) -> int:
    """Append the events of what began or ended by itself lately; returns of how many accounts."""
    values = {"since": now - LOOKS_BACK, "now": now, "most": MAX_ACCOUNTS}
    async with database.reading() as session:
        found = (await (await session.connection()).execute(PASSED, values)).scalars().all()
    told = 0
    for account_id in found:
        try:
            async with database.transaction() as session:
                told += await _tell(session, account_id, now)
        except Exception:
            log.exception("passing_time_not_told", account_id=account_id)
    return told


async def _tell(session: AsyncSession, account_id: int, now: datetime) -> bool:
    """Whether anything was new: each plan's start and end has a key."""
    record = await read_record(session, account_id, now)
    events = events_of_time(account_id, record, since=now - LOOKS_BACK, now=now)
    added = [await append(session, account_id, event, now) for event in events]
    return any(added)
