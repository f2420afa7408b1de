"""The balance outside decisions: alerts that are cleared because it has risen."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.alerts.rules import BALANCE_KINDS, Level, Rule, is_met
from billing_app.billing.plans.usable import is_usable
from billing_app.db.enums import AlertKind
from billing_app.db.tables import Alert, Plan
from billing_app.db.tables.plans import OVERAGE_PRIORITY

LEVEL_COLUMNS: Final = f"""
coalesce(sum(p.executions - p.used) FILTER (WHERE p.priority <> {OVERAGE_PRIORITY}), 0)::bigint,
coalesce(sum(p.executions) FILTER (WHERE p.priority <> {OVERAGE_PRIORITY}), 0)::bigint,
coalesce(sum(p.used) FILTER (WHERE p.priority = {OVERAGE_PRIORITY}), 0)::bigint"""
LEVEL: Final = text(f"""
SELECT {LEVEL_COLUMNS} FROM plans AS p WHERE p.account_id = :account AND {is_usable("p")}
""")  # noqa: S608


async def read_level(session: AsyncSession, account_id: int, now: datetime) -> Level:
    """As crossings.level_of, in SQL."""
    values = {"account": account_id, "now": now}
    row = (await (await session.connection()).execute(LEVEL, values)).one()
    return Level(*row)


async def plan_added(session: AsyncSession, plan: Plan, now: datetime) -> None:
    """Clear what the new plan has lifted the balance above."""
    if plan.starts_at > now or plan.priority == OVERAGE_PRIORITY or plan.sequence == 1:
        return
    level = await read_level(session, plan.account_id, now)
    was_empty = level.left == plan.executions - plan.used
    if await clear_risen(session, plan.account_id, level, now) or not was_empty:
        return
    await append(session, plan.account_id, _recovered(level), now)


async def clear_risen(session: AsyncSession, account_id: int, level: Level, now: datetime) -> bool:
    """Clear alerts about a balance that is above their thresholds; whether there were any."""
    query = (
        select(Alert)
        .where(Alert.account_id == account_id)
        .where(col(Alert.kind).in_({*BALANCE_KINDS, AlertKind.OVERAGE_SPENT}))
        .where(col(Alert.cleared_at).is_(None))
        .order_by(col(Alert.number))
    )
    risen = [alert for alert in (await session.exec(query)).all() if _has_risen(alert, level)]
    for alert in risen:
        alert.cleared_at = now
        session.add(alert)
    if any(alert.kind in BALANCE_KINDS for alert in risen):
        await append(session, account_id, _recovered(level), now)
    return bool(risen)


def _has_risen(alert: Alert, level: Level) -> bool:
    if alert.kind == AlertKind.OVERAGE_SPENT:
        return level.overage == 0
    return not is_met(Rule(AlertKind(alert.kind), alert.figures["threshold"]), level)


def _recovered(level: Level) -> NewEvent:
    data = {"executions_left": level.left, "executions_total": level.total}
    return NewEvent(EventType.BALANCE_RECOVERED, data)
