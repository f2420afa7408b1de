"""Invitations to an organization, by mailed links that work once and for a week.

Only the invited address can accept. An offer of ownership is an invitation, too: both have agreed
once it is accepted.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.members import (
    AS_ROLE,
    PersonalAccountError,
    lock_organization,
    require_may_set,
)
from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor, PersonActor, UserActor, ViewingActor
from billing_app.billing.errors import ConflictError, ForbiddenError, NotFoundError
from billing_app.billing.identity.email_links import MailNotSetUpError
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.identity.tokens import hash_token
from billing_app.billing.mail import Letter, Mailer, MailQueue, required_mail
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role
from billing_app.db.tables import Account, Invitation, Membership, Organization, User
from billing_app.routes import INVITATIONS

LASTS: Final = timedelta(days=7)
MAX_OPEN: Final = 100


class InvitationExpiredError(ConflictError):
    """It was accepted, declined, withdrawn or sent again, or is too old."""

    code = "invitation_expired"
    title = "This invitation has expired. Ask for a new one."


class InvitationNotFoundError(NotFoundError):
    code = "invitation_not_found"
    title = "Invitation not found"


class AlreadyMemberError(ConflictError):
    code = "already_member"
    title = "They are a member already"


class TooManyInvitationsError(ConflictError):
    code = "too_many_invitations"
    title = "Too many open invitations"


class OtherAddressError(ForbiddenError):
    code = "invited_other_address"
    title = "This invitation is for another email address"


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


@dataclass(frozen=True, slots=True)
class Invited:
    """What an invitation says to the one who opens its link."""

    organization: str
    role: Role
    hands_over: bool
    invited_by: str
    email: str


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
    database: Database, actor: Actor, account_id: str, invitation_id: str
) -> None:
    """Raises InvitationNotFoundError, and what `lock_organization` raises."""
    async with database.transaction() as session:
        account, _, own = await lock_organization(session, actor, account_id)
        row = await _of(session, account, invitation_id)
        require_may_set(own, Role(row.role), Role(row.role))
        await session.delete(row)


async def address_of(database: Database, actor: Actor, account_id: str, invitation_id: str) -> str:
    """Whom it is for. Raises InvitationNotFoundError, and what `authorize_managing` raises."""
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id)
        return (await _of(session, account, invitation_id)).email


async def find_invitation(database: Database, token: str, now: datetime) -> str | None:
    """The link's hash, for the page with the buttons; None: it has expired."""
    link = hash_token(token)
    async with database.reading() as session:
        return link.hex() if await _live(session, link, now) else None


async def invitation_of_link(database: Database, link: str, now: datetime) -> Invited | None:
    """What the invitation says."""
    try:
        token_hash = bytes.fromhex(link)
    except ValueError:
        return None
    async with database.reading() as session:
        row = await _live(session, token_hash, now)
        return await _invited(session, row) if row else None


async def accept(database: Database, actor: PersonActor, token: str, now: datetime) -> str:
    """Join the organization; returns the account's id. A member keeps a role that may do more.

    Raises InvitationExpiredError, OtherAddressError, AccountClosedError, ForbiddenError.
    """
    async with database.transaction() as session:
        row, account, person = await _open(session, actor, token, now)
        await require_not_closed(session, account.id)
        if row.hands_over:
            await _hand_over(session, account, row, person)
        else:
            await _join(session, account, person, Role(row.role), now)
        user = await session.get_one(User, person.user_id)
        user.email_confirmed_at = user.email_confirmed_at or now
        session.add(user)
        await session.delete(row)
        change = CustomerChange(CustomerAction.JOIN, "role", "", row.role)
        await record_own(session, person, account.id, change, now)
        return ids.encode_account(account.id)


async def decline(database: Database, token: str, now: datetime) -> None:
    """For whoever has the link. Raises InvitationExpiredError."""
    async with database.transaction() as session:
        row = await _live(session, hash_token(token), now, for_update=True)
        if row is None:
            raise InvitationExpiredError
        await session.delete(row)


async def mail_invitation(
    database: Database, mailer: Mailer, *, invitation_id: str, site: str, now: datetime
) -> None:
    """Mail the link, unless the invitation was withdrawn. Raises what `mailer` raises; then the
    link was not sent."""
    token = secrets.token_urlsafe(32)
    values = {"token_hash": hash_token(token)}
    made = update(Invitation).where(col(Invitation.id) == invitation_id)
    made = made.where(col(Invitation.expires_at) > now).values(values)
    async with database.transaction() as session:
        if not (await (await session.connection()).execute(made)).rowcount:
            return
        row = await session.get_one(Invitation, invitation_id)
        invited = await _invited(session, row)
    letter = invitation_letter(invited, f"{site}{INVITATIONS}/{token}", row.expires_at)
    await mailer.send(required_mail(row.email, letter.headline, letter, site=site))


def invitation_letter(invited: Invited, link: str, expires_at: datetime) -> Letter:
    until = f"{expires_at.day} {expires_at:%B %Y}"
    expiry = f"The link works once, until {until}. If you don't know them, ignore this email."
    if invited.hands_over:
        return Letter(
            headline=f"Take over {invited.organization}?",
            paragraphs=(
                (
                    f"{invited.invited_by} asks you to become the owner of"
                    f" {invited.organization} in their place."
                ),
                "Owners manage plans, payments and people. Nothing changes until you accept.",
            ),
            button="See the offer",
            url=link,
            notes=(expiry,),
        )
    return Letter(
        headline=f"{invited.invited_by} invited you to {invited.organization}",
        paragraphs=(
            (
                f"You are invited to join {invited.organization} as {AS_ROLE[invited.role]}. You"
                " will see its plans, usage and invoices."
            ),
        ),
        button="See the invitation",
        url=link,
        notes=(expiry,),
    )


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


async def _open(
    session: AsyncSession, actor: PersonActor, token: str, now: datetime
) -> tuple[Invitation, Account, UserActor]:
    """The invitation, once its organization is locked, for the one whom it is for."""
    found = await _live(session, hash_token(token), now)
    if found is None:
        raise InvitationExpiredError
    if not isinstance(actor, UserActor):
        raise ForbiddenError("Sign in to accept an invitation.")
    if found.email.lower() != actor.email.lower():
        raise OtherAddressError(f"It is for {found.email}; you are signed in as {actor.email}.")
    query = select(Account).where(
        Account.organization_id == found.organization_id,
        Account.kind == AccountKind.ORGANIZATION,
    )
    account = (await session.exec(query.with_for_update(key_share=True))).one()
    row = await _live(session, hash_token(token), now, for_update=True)
    if row is None:
        raise InvitationExpiredError
    return row, account, actor


async def _join(
    session: AsyncSession, account: Account, person: UserActor, role: Role, now: datetime
) -> None:
    member = await session.get(Membership, (account.organization_id, person.user_id))
    order = list(Role)
    if member is not None and order.index(Role(member.role)) <= order.index(role):
        return
    member = member or Membership(
        organization_id=account.organization_id,
        user_id=person.user_id,
        role=role,
        created_at=now,
    )
    member.role = role
    session.add(member)


async def _hand_over(
    session: AsyncSession, account: Account, row: Invitation, person: UserActor
) -> None:
    """Raises InvitationExpiredError when the one who offered it is no owner any more, or the other
    one left."""
    owner = await session.get(Membership, (account.organization_id, row.invited_by))
    member = await session.get(Membership, (account.organization_id, person.user_id))
    if owner is None or owner.role != Role.OWNER or member is None:
        raise InvitationExpiredError
    member.role, owner.role = Role.OWNER, Role.BILLING_ADMIN
    session.add(member)
    session.add(owner)


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


async def _live(
    session: AsyncSession, link: bytes, now: datetime, *, for_update: bool = False
) -> Invitation | None:
    query = select(Invitation).where(
        col(Invitation.token_hash) == link, col(Invitation.expires_at) > now
    )
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    return (await session.exec(query)).first()


async def _invited(session: AsyncSession, row: Invitation) -> Invited:
    organization = await session.get_one(Organization, row.organization_id)
    inviter = await session.get_one(User, row.invited_by)
    return Invited(
        organization=organization.name,
        role=Role(row.role),
        hands_over=row.hands_over,
        invited_by=inviter.name or inviter.email or "Somebody",
        email=row.email,
    )


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
