"""The browsers that are signed in for an account, and ending them all."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import UserNotFoundError
from billing_app.billing.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.billing.staff.audit import Deed, clean_reason, record
from billing_app.billing.staff.permissions import Action, require
from billing_app.db.engine import Database
from billing_app.db.tables import Account, Membership, Session, User


@dataclass(frozen=True, slots=True)
class SessionView:
    """A browser that signed in and has not been signed out; `is_live` False: it has run out."""

    user_id: str
    name: str
    email: str
    user_agent: str
    created_at: datetime
    expires_at: datetime
    is_live: bool


async def list_account_sessions(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[SessionView]:
    """Of all people of the account, newest first; revoked ones are left out. For staff.

    Raises ForbiddenError, AccountNotFoundError, InvalidInputError.
    """
    require(actor, Action.READ)
    check_limit(limit)
    offset = decode_cursor(cursor, int) if cursor else 0
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(Session, User)
            .join(User, col(User.id) == Session.user_id)
            .where(col(Session.user_id).in_(_user_ids(account)))
            .where(col(Session.revoked_at).is_(None))
            .order_by(col(Session.created_at).desc(), col(Session.token_hash))
            .offset(max(0, offset))
            .limit(limit + 1)
        )
        rows = list((await session.exec(query)).all())
    views = [
        SessionView(
            user_id=user.id,
            name=user.name,
            email=user.email or "",
            user_agent=row.user_agent,
            created_at=row.created_at,
            expires_at=row.expires_at,
            is_live=row.expires_at > now,
        )
        for row, user in rows[:limit]
    ]
    return Page(views, encode_cursor(offset + limit) if len(rows) > limit else None)


async def sign_out_person(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    user_id: str,
    reason: str,
    now: datetime,
) -> int:
    """End every session of somebody of the account; returns how many. Audited.

    Raises ForbiddenError, AccountNotFoundError, UserNotFoundError, InvalidInputError.
    """
    staff, reason = require(actor, Action.SIGN_OUT), clean_reason(reason)
    async with database.transaction() as session:
        account = await authorize_reading(session, actor, account_id)
        await _require_person(session, account, user_id)
        statement = (
            update(Session)
            .where(col(Session.user_id) == user_id)
            .where(col(Session.revoked_at).is_(None))
            .values(revoked_at=now)
        )
        ended = (await (await session.connection()).execute(statement)).rowcount
        deed = Deed(
            action=Action.SIGN_OUT,
            reason=reason,
            account_id=account.id,
            subject=user_id,
            before={"sessions": ended},
            after={"sessions": 0},
        )
        await record(session, staff, deed, now)
    return ended


async def _require_person(session: AsyncSession, account: Account, user_id: str) -> None:
    membership = await session.get(Membership, (account.organization_id, user_id))
    if membership is None or account.user_id not in (None, user_id):
        raise UserNotFoundError


def _user_ids(account: Account):  # noqa: ANN202 - SQLAlchemy's select of one column
    if account.user_id is not None:
        return [account.user_id]
    return select(Membership.user_id).where(Membership.organization_id == account.organization_id)
