"""Session expiry: after a number of days, at sign-out, and when the password changes.

retention.purge_sessions deletes the rows later.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.tables import Session


def is_live(now: datetime) -> ColumnElement[bool]:
    """SQL: neither revoked nor expired."""
    return and_(col(Session.revoked_at).is_(None), col(Session.expires_at) > now)


async def revoke_sessions(
    session: AsyncSession, condition: ColumnElement[bool], now: datetime
) -> int:
    """Sign out the sessions that match and are not revoked yet; returns how many."""
    statement = (
        update(Session).where(condition, col(Session.revoked_at).is_(None)).values(revoked_at=now)
    )
    return (await (await session.connection()).execute(statement)).rowcount
