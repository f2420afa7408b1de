"""Rolls past days up and finds accounts near their limit, for the worker."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import col, delete
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.staff.customers.search import IS_USABLE
from billing_app.billing.staff.operations.metrics import (
    NEAR_LIMIT,
    DayFigures,
    count_days,
    last_rolled,
    plan_each,
)
from billing_app.billing.usage.service import MAX_DAYS, Days
from billing_app.db.engine import Database
from billing_app.db.tables import PlatformDay, PlatformDenial, PlatformRefresh

# A day is over when no decision of it can still be under way.
SETTLED_AFTER: Final = timedelta(minutes=30)
NEAR_PERCENT: Final = 80
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('platform_days'))"
PATIENCE: Final = "SET LOCAL statement_timeout = '10min'"
FIRST_DAY: Final = """
SELECT least((SELECT min(day) FROM daily_usage), (SELECT min(day) FROM daily_denials),
             (SELECT min(created_at AT TIME ZONE 'UTC')::date FROM plans))
"""
NEAR: Final = f"""
CREATE TEMPORARY TABLE near ON COMMIT DROP AS
SELECT plan.account_id, sum(plan.executions)::bigint AS executions,
       sum(plan.used)::bigint AS used, sum(plan.held)::bigint AS held
FROM plans AS plan
WHERE plan.source <> 'overage' AND {IS_USABLE}
GROUP BY plan.account_id
HAVING sum(plan.used + plan.held) * 100 >= sum(plan.executions) * {NEAR_PERCENT}
   AND sum(plan.executions) > 0
"""  # noqa: S608
FORGET: Final = """
DELETE FROM accounts_near_limit AS known
WHERE NOT EXISTS (SELECT FROM near WHERE near.account_id = known.account_id)
"""
KEEP: Final = """
INSERT INTO accounts_near_limit AS known (account_id, executions, used, held)
SELECT account_id, executions, used, held FROM near
ON CONFLICT (account_id) DO UPDATE
SET executions = excluded.executions, used = excluded.used, held = excluded.held
WHERE (known.executions, known.used, known.held)
      IS DISTINCT FROM (excluded.executions, excluded.used, excluded.held)
"""


async def roll_up(database: Database, now: datetime) -> int:
    """Add past days that are not rolled up yet; returns how many."""
    async with database.transaction() as session:
        await _begin(session)
        rolled_to = await last_rolled(session)
        first = await _first_day(session) if rolled_to is None else rolled_to + timedelta(days=1)
        return await _roll(session, first, now)


async def roll_up_again(database: Database, now: datetime, *, kept_from: date = date.min) -> int:
    """Count every day again, since past days can change; returns how many. Days before `kept_from`
    stay as they were counted: what they were counted from may be gone."""
    async with database.transaction() as session:
        await _begin(session)
        await session.exec(delete(PlatformDenial).where(col(PlatformDenial.day) >= kept_from))
        await session.exec(delete(PlatformDay).where(col(PlatformDay.day) >= kept_from))
        first = await _first_day(session)
        return await _roll(session, first and max(first, kept_from), now)


async def look_for_limits(database: Database, now: datetime) -> int:
    """Find accounts near their limit; returns how many."""
    async with database.transaction() as session:
        await _begin(session)
        connection = await session.connection()
        await connection.execute(text(NEAR), {"now": now})
        await connection.execute(text(FORGET))
        await connection.execute(text(KEEP))
        await session.merge(PlatformRefresh(what=NEAR_LIMIT, refreshed_at=now))
        return (await connection.execute(text("SELECT count(*) FROM near"))).scalar_one()


async def _begin(session: AsyncSession) -> None:
    """Several workers take turns."""
    connection = await session.connection()
    await connection.execute(text(PATIENCE))
    await connection.execute(text(LOCK))
    await plan_each(session)


async def _first_day(session: AsyncSession) -> date | None:
    return (await (await session.connection()).execute(text(FIRST_DAY))).scalar_one()


async def _roll(session: AsyncSession, first: date | None, now: datetime) -> int:
    last = (now.astimezone(UTC) - SETTLED_AFTER).date() - timedelta(days=1)
    if first is None or first > last:
        return 0
    counted = await count_days(session, Days(max(first, last - timedelta(days=MAX_DAYS - 1)), last))
    session.add_all(_row(day) for day in counted)
    session.add_all(
        PlatformDenial(day=day.day, reason=reason, denied=denied)
        for day in counted
        for reason, denied in day.denied.items()
    )
    await session.flush()
    return len(counted)


def _row(day: DayFigures) -> PlatformDay:
    return PlatformDay(
        day=day.day,
        used=day.used,
        refunded=day.refunded,
        trials_started=day.trials_started,
        trials_converted=day.trials_converted,
    )
