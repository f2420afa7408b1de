"""View as customer: staff see an account as its holder does, read only, for half an hour.

A view belongs to a session, so every page and request of that browser sees the same. Its start and
end are audit entries of the account, which its holder can read.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.portal_sessions import authenticate_portal, is_portal_token
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import (
    Actor,
    PersonActor,
    PortalActor,
    StaffActor,
    UserActor,
    ViewingActor,
)
from billing_app.billing.errors import ForbiddenError
from billing_app.billing.identity.session_expiry import is_live
from billing_app.billing.identity.sessions import hash_token
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, record
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, StaffRole
from billing_app.db.tables import (
    Account,
    AuditEntry,
    Organization,
    Session,
    StaffMember,
    StaffView,
    User,
)

VIEW_MINUTES: Final = 30
MAX_ENDED: Final = 500


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person of a session, their staff role, and their open view, during which they change
    nothing anywhere. Whoever came through a portal link is no staff."""

    person: UserActor | PortalActor
    staff: StaffActor | None
    view: ViewingActor | None

    @property
    def actor(self) -> PersonActor:
        """The actor who reads customers' pages."""
        return self.view or self.person


async def visit(database: Database, token: str, now: datetime) -> Visitor | None:
    """The visitor of a live session, or None. An expired view, or one whose viewer has left the
    staff, does not count."""
    if is_portal_token(token):
        portal = await authenticate_portal(database, token, now)
        return Visitor(portal, None, None) if portal else None
    is_member = and_(col(StaffMember.user_id) == User.id, col(StaffMember.removed_at).is_(None))
    is_open = and_(col(StaffView.token_hash) == Session.token_hash, col(StaffView.until) > now)
    query = (
        select(User, StaffMember, StaffView)
        .join(Session, col(Session.user_id) == User.id)
        .outerjoin(StaffMember, is_member)
        .outerjoin(StaffView, is_open)
        .where(Session.token_hash == hash_token(token), is_live(now))
    )
    async with database.asking() as session:
        row = (await session.exec(query)).first()
        return await _visitor(session, *row) if row else None


async def begin_view(
    database: Database, actor: Actor, token: str, account_id: str, *, reason: str, now: datetime
) -> datetime:
    """Let the actor's own session view the account; returns when the view expires. Another view of
    the session ends.

    Raises ForbiddenError unless signed-in staff ask, InvalidInputError without a reason,
    AccountNotFoundError.
    """
    staff = require(actor, Action.VIEW_AS_CUSTOMER)
    async with database.transaction() as session:
        await _lock_session(session, staff, token, now)
        account = await authorize_reading(session, staff, account_id)
        before = await session.get(StaffView, hash_token(token))
        if before is not None:
            await _end(session, before, "Replaced by another view.", now)
        until = now + timedelta(minutes=VIEW_MINUTES)
        audit_record = AuditRecord(
            Action.VIEW_AS_CUSTOMER, reason, account.id, after={"until": until.isoformat()}
        )
        entry = await record(session, staff, audit_record, now)
        assert entry.id is not None
        session.add(
            StaffView(
                token_hash=hash_token(token), account_id=account.id, entry_id=entry.id, until=until
            )
        )
    return until


async def end_view(database: Database, actor: Actor, token: str, now: datetime) -> str | None:
    """End the session's view; returns the id of the viewed account, None without a view."""
    staff = actor.staff if isinstance(actor, ViewingActor) else require(actor, Action.END_VIEW)
    async with database.transaction() as session:
        await _lock_session(session, staff, token, now)
        view = await session.get(StaffView, hash_token(token))
        if view is None:
            return None
        account_id = ids.encode_account(view.account_id)
        await _end(session, view, "Ended by the staff member.", now)
    return account_id


async def end_old_views(database: Database, now: datetime) -> int:
    """Record the end of views that expired or whose session ended; returns how many."""
    query = (
        select(StaffView)
        .join(Session, col(Session.token_hash) == StaffView.token_hash)
        .where(or_(col(StaffView.until) <= now, col(Session.revoked_at).is_not(None)))
        .order_by(col(StaffView.token_hash))
        .limit(MAX_ENDED)
        .with_for_update(of=StaffView, skip_locked=True)
    )
    async with database.transaction() as session:
        found = (await session.exec(query)).all()
        for view in found:
            is_over = view.until <= now
            await _end(session, view, "The view expired." if is_over else "Signed out.", now)
    return len(found)


async def _lock_session(
    session: AsyncSession, staff: StaffActor, token: str, now: datetime
) -> None:
    query = (
        select(Session)
        .where(Session.token_hash == hash_token(token))
        .where(Session.user_id == staff.actor_id, is_live(now))
        .with_for_update()
    )
    if (await session.exec(query)).first() is None:
        raise ForbiddenError("Sign in to view an account as a customer.")


async def _end(session: AsyncSession, view: StaffView, reason: str, now: datetime) -> None:
    begun = await session.get_one(AuditEntry, view.entry_id)
    staff = StaffActor(begun.actor_id, begun.actor_name, StaffRole(begun.role))
    at = min(now, view.until)
    after = {"begun": begun.id, "until": at.isoformat()}
    await record(
        session, staff, AuditRecord(Action.END_VIEW, reason, view.account_id, after=after), at
    )
    await session.delete(view)
    await session.flush()


async def _visitor(
    session: AsyncSession, user: User, member: StaffMember | None, view: StaffView | None
) -> Visitor:
    person = UserActor(user.id, user.name, user.email or "")
    if member is None:
        return Visitor(person, None, None)
    staff = StaffActor(user.id, user.name or user.email or "", StaffRole(member.role))
    if view is None:
        return Visitor(person, staff, None)
    viewing = await _viewing(session, staff, view)
    return Visitor(person, replace(staff, is_viewing=True), viewing)


async def _viewing(session: AsyncSession, staff: StaffActor, view: StaffView) -> ViewingActor:
    account = await session.get_one(Account, view.account_id)
    if account.user_id is None:
        holder = (await session.get_one(Organization, account.organization_id)).name
    else:
        user = await session.get_one(User, account.user_id)
        holder = user.name or user.email or user.id
    return ViewingActor(staff, account.id, AccountKind(account.kind), holder, view.until)
