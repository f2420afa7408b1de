"""Invitations to an organization: sending, sending again and withdrawing them.

An offer of ownership is an invitation, too: both have agreed once it is accepted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.members import (
    PersonalAccountError,
    lock_organization,
    require_may_set,
)
from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor, UserActor, ViewingActor
from billing_app.billing.errors import ConflictError, NotFoundError
from billing_app.billing.identity.email_links import MailNotSetUpError
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.mail import MailQueue
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role
from billing_app.db.tables import Account, Invitation, Membership, User

LASTS: Final = timedelta(days=7)
MAX_OPEN: Final = 100


class InvitationNotFoundError(NotFoundError):
    code = "invitation_not_found"
    title = "Invitation not found"


class AlreadyMemberError(ConflictError):
    code = "already_member"
    title = "They are a member already"


class TooManyInvitationsError(ConflictError):
    code = "too_many_invitations"
    title = "Too many open invitations"


@dataclass(frozen=True, slots=True)
class InvitationView:
    """An open invitation as those who may withdraw it see it."""

    id: str
    email: str
    role: Role
    hands_over: bool
    invited_by: str
    expires_at: datetime
    has_expired: bool


async def list_invitations(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> list[InvitationView]:
    """The newest MAX_OPEN, newest first; for those who may manage the account, and staff who view
    it. Raises PersonalAccountError, and what `authorize_managing` raises."""
    is_looking = isinstance(actor, ViewingActor)
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id, reading=is_looking)
        if account.kind != AccountKind.ORGANIZATION:
            raise PersonalAccountError
        query = (
            select(Invitation, User)
            .join(User, col(User.id) == Invitation.invited_by)
            .where(Invitation.organization_id == account.organization_id)
            .order_by(col(Invitation.created_at).desc(), col(Invitation.id))
            .limit(MAX_OPEN)
        )
        rows = (await session.exec(query)).all()
    return [_view(row, user, now) for row, user in rows]


async def invite(
    database: Database,
    mail_queue: MailQueue | None,
    actor: Actor,
    account_id: str,
    *,
    email: str,
    role: Role,
    now: datetime,
) -> None:
    """Queue an invitation; one to the same address before is void.

    Raises InvalidInputError, MailNotSetUpError, AlreadyMemberError, TooManyInvitationsError,
    ForbiddenError for an owner who is invited by somebody else, and what `lock_organization`
    raises.
    """
    address = clean_email(email)
    async with database.transaction() as session:
        account, person, own = await lock_organization(session, actor, account_id)
        require_may_set(own, role, role)
        await require_not_closed(session, account.id)
        if await _role_of(session, account, address) is not None:
            raise AlreadyMemberError(f"{address} belongs to this organization already.")
        await _add(session, mail_queue, account, person, address, role, now)


async def offer_ownership(
    database: Database,
    mail_queue: MailQueue | None,
    actor: Actor,
    account_id: str,
    *,
    user_id: str,
    now: datetime,
) -> None:
    """Ask a member by mail to take over: once they accept, they are owner in place of the actor,
    who becomes billing admin. Raises as `invite`, and InvitationNotFoundError for who is no
    member, or has no address."""
    async with database.transaction() as session:
        account, person, own = await lock_organization(session, actor, account_id)
        require_may_set(own, Role.OWNER, Role.OWNER)
        user = await session.get(User, user_id)
        member = await session.get(Membership, (account.organization_id, user_id))
        if member is None or user is None or user.email is None or user_id == person.user_id:
            raise InvitationNotFoundError("They are not a member of this organization.")
        await _add(
            session, mail_queue, account, person, user.email, Role.OWNER, now, hands_over=True
        )


async def send_again(
    database: Database,
    mail_queue: MailQueue | None,
    actor: Actor,
    account_id: str,
    invitation_id: str,
    now: datetime,
) -> str:
    """A new link for another week; the one before is void. Returns the address.

    Raises InvitationNotFoundError, MailNotSetUpError, and what `lock_organization` raises.
    """
    if mail_queue is None:
        raise MailNotSetUpError
    async with database.transaction() as session:
        account, _, own = await lock_organization(session, actor, account_id)
        row = await _of(session, account, invitation_id)
        require_may_set(own, Role(row.role), Role(row.role))
        row.token_hash, row.expires_at = None, now + LASTS
        session.add(row)
        await mail_queue.invitation(session, row.id)
        return row.email


async def withdraw_invitation(
    database: Database, actor: Actor, account_id: str, invitation_id: str, now: datetime
) -> None:
    """Raises InvitationNotFoundError, and what `lock_organization` raises."""
    async with database.transaction() as session:
        account, person, own = await lock_organization(session, actor, account_id)
        row = await _of(session, account, invitation_id)
        require_may_set(own, Role(row.role), Role(row.role))
        await session.delete(row)
        change = CustomerChange(CustomerAction.WITHDRAW_INVITATION, "invited", row.email, "")
        await record_own(session, person, account.id, change, now)


async def address_of(database: Database, actor: Actor, account_id: str, invitation_id: str) -> str:
    """Whom it is for. Raises InvitationNotFoundError, and what `authorize_managing` raises."""
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id)
        return (await _of(session, account, invitation_id)).email


async def _add(
    session: AsyncSession,
    mail_queue: MailQueue | None,
    account: Account,
    person: UserActor,
    email: str,
    role: Role,
    now: datetime,
    *,
    hands_over: bool = False,
) -> None:
    if mail_queue is None:
        raise MailNotSetUpError
    is_its = col(Invitation.organization_id) == account.organization_id
    is_to = func.lower(Invitation.email) == email.lower()
    await session.exec(delete(Invitation).where(is_its, is_to))
    count = select(func.count()).select_from(Invitation).where(is_its)
    if (await session.exec(count)).one() >= MAX_OPEN:
        raise TooManyInvitationsError(f"{MAX_OPEN} are open. Withdraw some first.")
    row = Invitation(
        id=ids.new_id("inv_"),
        organization_id=account.organization_id,
        email=email,
        role=role,
        hands_over=hands_over,
        invited_by=person.user_id,
        created_at=now,
        expires_at=now + LASTS,
    )
    session.add(row)
    await session.flush()
    await mail_queue.invitation(session, row.id)
    change = CustomerChange(CustomerAction.INVITE, "invited", "", f"{email} ({role})")
    await record_own(session, person, account.id, change, now)


async def _role_of(session: AsyncSession, account: Account, email: str) -> str | None:
    query = (
        select(Membership.role)
        .join(User, col(User.id) == Membership.user_id)
        .where(Membership.organization_id == account.organization_id)
        .where(func.lower(User.email) == email.lower())
    )
    return (await session.exec(query)).first()


async def _of(session: AsyncSession, account: Account, invitation_id: str) -> Invitation:
    row = await session.get(Invitation, invitation_id)
    if row is None or row.organization_id != account.organization_id:
        raise InvitationNotFoundError
    return row


def _view(row: Invitation, inviter: User, now: datetime) -> InvitationView:
    return InvitationView(
        id=row.id,
        email=row.email,
        role=Role(row.role),
        hands_over=row.hands_over,
        invited_by=inviter.name or inviter.email or "",
        expires_at=row.expires_at,
        has_expired=row.expires_at <= now,
    )
