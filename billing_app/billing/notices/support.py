"""Notices of what support did to accounts, from the audit log."""

from datetime import datetime
from typing import Final

from sqlalchemy import String, cast, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.notices.sending import GIVE_UP_AFTER
from billing_app.billing.notices.writing import NewNotice, write
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.account_history import SHOWN, wording_of
from billing_app.db.engine import Database
from billing_app.db.enums import NoticeKind
from billing_app.db.tables import Account, AuditEntry, Notice

# Looking changes nothing; the account's activity shows it.
MAILED: Final = SHOWN - {Action.VIEW_AS_CUSTOMER}
KEY: Final = "audit:"
# An upper bound of one run; the next one finds the others.
MAX_ROWS: Final = 500


async def write_support_notices(database: Database, now: datetime) -> int:
    """What nobody was mailed about yet; returns how many people are."""
    key = func.concat(KEY, cast(col(AuditEntry.id), String))
    is_told = select(Notice.key).where(
        Notice.account_id == AuditEntry.account_id, col(Notice.key) == key
    )
    query = (
        select(AuditEntry)
        .where(col(AuditEntry.at) > now - GIVE_UP_AFTER, col(AuditEntry.is_news).is_(True))
        .where(col(AuditEntry.action).in_(MAILED), col(AuditEntry.account_id).is_not(None))
        .where(~is_told.exists())
        .order_by(col(AuditEntry.id).desc())
        .limit(MAX_ROWS)
    )
    async with database.reading() as session:
        entries = (await session.exec(query)).all()
    count = 0
    for entry in entries:
        async with database.transaction() as session:
            count += await _write(session, entry, now)
    return count


async def _write(session: AsyncSession, entry: AuditEntry, now: datetime) -> int:
    account = await session.get(Account, entry.account_id)
    if account is None:
        return 0
    original = await session.get(AuditEntry, entry.undoes or 0)
    figures = {"what": wording_of(entry, original), "reason": entry.reason}
    notice = NewNotice(NoticeKind.SUPPORT, f"{KEY}{entry.id}", figures)
    return await write(session, account, notice, now)
