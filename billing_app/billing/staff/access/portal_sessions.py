"""Lists and ends the sessions that portal links of services opened for an account."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import and_, literal, update
from sqlalchemy import select as select_rows
from sqlmodel import col, func

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, TEXT, By, Key, Sorting
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.db.engine import Database
from billing_app.db.enums import Role
from billing_app.db.tables import PortalSession


class PortalPersonNotFoundError(NotFoundError):
    code = "portal_person_not_found"
    title = "Nobody with this ID came through a portal link"


class PortalSessionSort(StrEnum):
    SINCE = "since"
    ENDS = "ends"
    PERSON = "person"


SORTING: Final = Sorting(
    {
        PortalSessionSort.SINCE: Key(col(PortalSession.created_at), INSTANT),
        PortalSessionSort.ENDS: Key(col(PortalSession.expires_at), INSTANT),
        PortalSessionSort.PERSON: Key(func.lower(col(PortalSession.person_name)), TEXT),
    },
    ties=(Key(func.encode(col(PortalSession.token_hash), "hex"), TEXT),),
    usual=By(PortalSessionSort.SINCE, descending=True),
)


@dataclass(frozen=True, slots=True)
class PortalSessionView:
    """A session that was not ended; `person_id` is the product's, `is_live` False: it has
    expired."""

    person_id: str
    name: str
    email: str
    role: Role
    user_agent: str
    created_at: datetime
    expires_at: datetime
    is_live: bool


async def list_portal_sessions(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    now: datetime,
    live: bool | None = None,
    by: By[PortalSessionSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[PortalSessionView]:
    """Newest first by default, without ended ones. `live` keeps those that are valid, or those that
    have expired.

    Raises ForbiddenError, AccountNotFoundError, InvalidInputError.
    """
    require(actor, Action.READ)
    span = SORTING.span(by, limit=limit, cursor=cursor)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = select_rows(PortalSession).where(col(PortalSession.account_id) == account.id)
        query = query.where(_is_open())
        if live is not None:
            ends = col(PortalSession.expires_at)
            query = query.where(ends > now if live else ends <= now)
        rows, following = await span.fetch(session, query)
    return Page([_view(row[0], now) for row in rows], following)


async def end_portal_sessions(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    person_id: str,
    reason: str,
    now: datetime,
) -> int:
    """End every portal session of a person for the account; returns how many. Audited.

    Raises ForbiddenError, AccountNotFoundError, PortalPersonNotFoundError, InvalidInputError.
    """
    staff, reason = require(actor, Action.END_PORTAL_SESSIONS), clean_reason(reason)
    async with database.transaction() as session:
        account = await authorize_reading(session, actor, account_id)
        is_theirs = and_(
            col(PortalSession.account_id) == account.id, col(PortalSession.person_id) == person_id
        )
        connection = await session.connection()
        known = select_rows(literal(1)).where(is_theirs).limit(1)
        if (await connection.execute(known)).first() is None:
            raise PortalPersonNotFoundError
        statement = update(PortalSession).where(is_theirs, _is_open()).values(revoked_at=now)
        ended = (await connection.execute(statement)).rowcount
        audit_record = AuditRecord(
            action=Action.END_PORTAL_SESSIONS,
            reason=reason,
            account_id=account.id,
            subject=person_id,
            before={"sessions": ended},
            after={"sessions": 0},
        )
        await record(session, staff, audit_record, now)
    return ended


def _is_open():  # noqa: ANN202 - SQLAlchemy's condition
    return col(PortalSession.revoked_at).is_(None)


def _view(row: PortalSession, now: datetime) -> PortalSessionView:
    return PortalSessionView(
        person_id=row.person_id,
        name=row.person_name,
        email=row.person_email,
        role=Role(row.role),
        user_agent=row.user_agent,
        created_at=row.created_at,
        expires_at=row.expires_at,
        is_live=row.expires_at > now,
    )
