"""Lists an account's signed-in browsers and signs a member out everywhere."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import UserNotFoundError
from billing_app.billing.identity.session_expiry import revoke_sessions
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, TEXT, By, Key, Sorting
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.db.engine import Database
from billing_app.db.tables import Account, Membership, Session, User


class SessionSort(StrEnum):
    SINCE = "since"
    ENDS = "ends"
    PERSON = "person"


SORTING: Final = Sorting(
    {
        SessionSort.SINCE: Key(col(Session.created_at), INSTANT),
        SessionSort.ENDS: Key(col(Session.expires_at), INSTANT),
        SessionSort.PERSON: Key(func.lower(col(User.name)), TEXT),
    },
    ties=(Key(func.encode(col(Session.token_hash), "hex"), TEXT),),
    usual=By(SessionSort.SINCE, descending=True),
)


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session that was not signed out; `is_live` False: it has expired."""

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
    live: bool | None = None,
    by: By[SessionSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[SessionView]:
    """Sessions of the account's members, newest first by default, without revoked ones. `live`
    keeps those that are valid, or those that have expired.

    Raises ForbiddenError, AccountNotFoundError, InvalidInputError.
    """
    require(actor, Action.READ)
    span = SORTING.span(by, limit=limit, cursor=cursor)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(Session, User)
            .join(User, col(User.id) == col(Session.user_id))
            .where(col(Session.user_id).in_(_user_ids(account)))
            .where(col(Session.revoked_at).is_(None))
        )
        if live is not None:
            ends = col(Session.expires_at)
            query = query.where(ends > now if live else ends <= now)
        rows, following = await span.fetch(session, query)
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
        for row, user, *_ in rows
    ]
    return Page(views, following)


async def sign_out_person(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    user_id: str,
    reason: str,
    now: datetime,
) -> int:
    """End every session of a member of the account; returns how many. Audited.

    Raises ForbiddenError, AccountNotFoundError, UserNotFoundError, InvalidInputError.
    """
    staff, reason = require(actor, Action.SIGN_OUT), clean_reason(reason)
    async with database.transaction() as session:
        account = await authorize_reading(session, actor, account_id)
        await _require_person(session, account, user_id)
        ended = await revoke_sessions(session, col(Session.user_id) == user_id, now)
        audit_record = AuditRecord(
            action=Action.SIGN_OUT,
            reason=reason,
            account_id=account.id,
            subject=user_id,
            before={"sessions": ended},
            after={"sessions": 0},
        )
        await record(session, staff, audit_record, now)
    return ended


async def _require_person(session: AsyncSession, account: Account, user_id: str) -> None:
    membership = await session.get(Membership, (account.organization_id, user_id))
    if membership is None or account.user_id not in (None, user_id):
        raise UserNotFoundError


def _user_ids(account: Account):  # noqa: ANN202 - SQLAlchemy's select of one column
    if account.user_id is not None:
        return [account.user_id]
    return select(Membership.user_id).where(Membership.organization_id == account.organization_id)
