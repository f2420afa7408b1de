"""What reservations hold beyond their time, until the next decision on the account frees it."""

from datetime import datetime

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.enums import ReservationStatus
from billing_app.db.tables import Plan, Reservation, ReservationHold


async def expired_holds(session: AsyncSession, account_id: int, now: datetime) -> dict[int, int]:
    """Executions by the sequence of the plan."""
    query = (
        select(ReservationHold.plan_sequence, func.sum(ReservationHold.executions))
        .join(
            Reservation,
            (col(Reservation.account_id) == ReservationHold.account_id)
            & (col(Reservation.number) == ReservationHold.reservation_number),
        )
        .where(Reservation.account_id == account_id)
        .where(Reservation.status == ReservationStatus.HELD)
        .where(Reservation.expires_at <= now)
        .group_by(col(ReservationHold.plan_sequence))
    )
    return {sequence: int(held) for sequence, held in (await session.exec(query)).all()}


async def unused_of(session: AsyncSession, plan: Plan, now: datetime) -> int:
    """What is neither used nor held; what expired reservations still hold is unused."""
    overdue = await expired_holds(session, plan.account_id, now) if plan.held else {}
    return plan.executions - plan.used - plan.held + overdue.get(plan.sequence, 0)
