"""Who is mailed about an account."""

from dataclasses import dataclass

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import MANAGING_ROLES
from billing_app.billing.alerts.preferences import MailPreferences, preferences_of
from billing_app.db.tables import Account, AlertPreferences, Membership, User


@dataclass(frozen=True, slots=True)
class Recipient:
    user_id: str
    email: str | None
    preferences: MailPreferences


async def recipients_of(session: AsyncSession, account: Account | None) -> list[Recipient]:
    """The person whose account it is, or the owners and billing admins of the organization."""
    if account is None:
        return []
    query = select(User, AlertPreferences).outerjoin(
        AlertPreferences, col(AlertPreferences.user_id) == User.id
    )
    if account.user_id is not None:
        query = query.where(User.id == account.user_id)
    else:
        query = query.join(Membership, col(Membership.user_id) == User.id).where(
            Membership.organization_id == account.organization_id,
            col(Membership.role).in_(MANAGING_ROLES),
        )
    rows = (await session.exec(query.order_by(col(User.id)))).all()
    return [
        Recipient(user.id, user.email, preferences_of(preferences)) for user, preferences in rows
    ]
