"""Plans that ended before their time, because the clock of the database was ahead for a while."""

from typing import Final

from sqlalchemy import text

from billing_app.db.engine import Database

# A plan whose period is over ended when that was; what lies ahead cannot be over.
REOPEN: Final = text("""
UPDATE plans SET ended_at = NULL, ended_because = NULL
WHERE ended_because = 'period_ended' AND ended_at > clock_timestamp()
""")


async def reopen_early_ended(database: Database) -> int:
    """Let plans be used again whose period is not over; returns how many those were."""
    async with database.transaction() as session:
        return (await (await session.connection()).execute(REOPEN)).rowcount
