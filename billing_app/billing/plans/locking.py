"""Locks plans outside the hot path as the hot path does: by sequence, so that nothing deadlocks."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.tables import Plan


async def lock_plans(session: AsyncSession, account_id: int) -> list[Plan]:
    """All plans of the account by sequence, as they are now, locked until the transaction ends.

    To be called before the first of them is changed.
    """
    query = select(Plan).where(Plan.account_id == account_id).order_by(col(Plan.sequence))
    locked = query.with_for_update().execution_options(populate_existing=True)
    return list((await session.exec(locked)).all())
