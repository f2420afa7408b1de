"""Adds plans: the one place that does, because a plan of a blocked account is blocked, and because
alerts about the balance are cleared."""

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.changes import telling
from billing_app.billing.alerts.balance import plan_added
from billing_app.db.tables import Account, Plan


async def add_plan(session: AsyncSession, plan: Plan) -> None:
    """Insert a plan that is the whole change of its account, and append the events of that."""
    async with telling(session, plan.account_id, plan.created_at):
        await insert_plan(session, plan)


async def insert_plan(session: AsyncSession, plan: Plan) -> None:
    """Add the plan with its account's block.

    The account's row stays locked until the transaction ends: a block that comes meanwhile waits,
    and then finds the plan (staff/repairs/stops.py).
    """
    blocked_at = select(Account.blocked_at).where(col(Account.id) == plan.account_id)
    plan.blocked_at = (await session.exec(blocked_at.with_for_update(read=True))).one()
    session.add(plan)
    await session.flush()
    await plan_added(session, plan, plan.created_at)
