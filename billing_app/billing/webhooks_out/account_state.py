"""The whole state of an account, as every webhook carries it: receivers keep the highest version,
so that the order of deliveries does not matter."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import OperatorActor
from billing_app.billing.subscriptions.account_summary import AccountSummary, read_summary
from billing_app.db.engine import Database
from billing_app.db.tables import Account, AccountProfile

# States of an account are read one after another, so that a higher version is a later state.
LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('account state', :account_id))")
NEXT_VERSION: Final = text("SELECT nextval('account_state_versions')")


async def next_version(session: AsyncSession, account_id: int) -> int:
    """The version of what is read from now on, until the caller's transaction ends."""
    connection = await session.connection()
    await connection.execute(LOCK, {"account_id": account_id})
    return (await connection.execute(NEXT_VERSION)).scalar_one()


async def read_state(
    database: Database, account: Account, version: int, now: datetime
) -> dict[str, Any]:
    """What GET /billing/plans/current and /billing/subscriptions/current answer, and whether the
    account is blocked or closed; for msgspec to encode."""
    account_id = ids.encode_account(account.id)
    summary = await read_summary(database, OperatorActor(), account_id, now)
    async with database.reading() as session:
        profile = await session.get(AccountProfile, account.id)
        blocked_at = (await session.get_one(Account, account.id)).blocked_at
    return {
        "version": version,
        "organization_id": account.organization_id,
        "user_id": account.user_id,
        **_current(summary),
        "subscription": summary.subscription,
        "blocked_at": blocked_at,
        "closed_at": profile.closed_at if profile else None,
    }


def _current(summary: AccountSummary) -> dict[str, Any]:
    current = summary.current
    return {
        "account_id": current.account_id,
        "plan": current.plan,
        "executions_total": current.executions_total,
        "executions_used": current.executions_used,
        "executions_held": current.executions_held,
        "executions_remaining": current.executions_remaining,
        "period_end": current.period_end,
        "upcoming": current.upcoming,
        "overage": current.overage,
        "next_executions": summary.next_executions,
    }
