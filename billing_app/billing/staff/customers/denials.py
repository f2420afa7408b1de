"""Denied requests of an account, by day."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlmodel import col, select

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.usage.service import Days
from billing_app.db.engine import Database
from billing_app.db.enums import DenialReason
from billing_app.db.tables import DailyDenial

MAX_DENIALS: Final = 50


@dataclass(frozen=True, slots=True)
class Denial:
    """Requests denied on a UTC day for one reason; `workflow` and `user_id` are "" when not
    named."""

    day: date
    reason: DenialReason
    workflow: str
    user_id: str
    denied: int


async def list_denials(
    database: Database, actor: Actor, account_id: str, days: Days
) -> list[Denial]:
    """At most MAX_DENIALS, by newest day, then by number. Raises ForbiddenError,
    AccountNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(DailyDenial)
            .where(DailyDenial.account_id == account.id)
            .where(col(DailyDenial.day).between(days.first, days.last))
            .order_by(
                col(DailyDenial.day).desc(),
                col(DailyDenial.denied).desc(),
                col(DailyDenial.reason),
                col(DailyDenial.workflow),
                col(DailyDenial.user_id),
            )
            .limit(MAX_DENIALS)
        )
        rows = (await session.exec(query)).all()
    return [
        Denial(row.day, DenialReason(row.reason), row.workflow, row.user_id, row.denied)
        for row in rows
    ]
