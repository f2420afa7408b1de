"""What expired reservations still hold, until the next decision on the account releases it."""

from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.enums import ReservationStatus
from billing_app.db.tables import Plan


def expired_held(plan: str) -> str:
    """SQL: what expired reservations hold of a row of `plans`; `:now` is the time."""
    return f"""
        SELECT coalesce(sum(part.executions), 0)::bigint AS executions
        FROM reservations AS reservation
        JOIN reservation_holds AS part ON part.account_id = reservation.account_id
             AND part.reservation_number = reservation.number
        WHERE reservation.account_id = {plan}.account_id AND part.plan_sequence = {plan}.sequence
          AND reservation.status = '{ReservationStatus.HELD}'
          AND reservation.expires_at <= :now"""  # noqa: S608


BY_PLAN = text(f"""
    SELECT plan.sequence, expired.executions
    FROM plans AS plan CROSS JOIN LATERAL ({expired_held("plan")}) AS expired
    WHERE plan.account_id = :account AND plan.held > 0
""")  # noqa: S608


async def expired_holds(session: AsyncSession, account_id: int, now: datetime) -> dict[int, int]:
    """Executions by plan sequence."""
    connection = await session.connection()
    rows = await connection.execute(BY_PLAN, {"account": account_id, "now": now})
    return {row[0]: row[1] for row in rows}


async def unused_of(session: AsyncSession, plan: Plan, now: datetime) -> int:
    """What is neither used nor held; executions of expired reservations count as unused."""
    expired = await expired_holds(session, plan.account_id, now) if plan.held else {}
    return plan.executions - plan.used - plan.held + expired.get(plan.sequence, 0)
