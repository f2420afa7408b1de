"""The mailed links of invitations: what they say, accepting and declining.

Opening a link changes nothing. Only the invited address can accept.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.members import AS_ROLE
from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.actors import PersonActor, UserActor
from billing_app.billing.errors import ConflictError, ForbiddenError
from billing_app.billing.identity.tokens import hash_token
from billing_app.billing.mail import Letter, Mailer, required_mail
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role
from billing_app.db.tables import Account, Invitation, Membership, Organization, User
from billing_app.routes import INVITATIONS


class InvitationExpiredError(ConflictError):
    """It was accepted, declined, withdrawn or sent again, or is too old."""

    code = "invitation_expired"
    title = "This invitation has expired. Ask for a new one."


class OtherAddressError(ForbiddenError):
    code = "invited_other_address"
    title = "This invitation is for another email address"


@dataclass(frozen=True, slots=True)
class Invited:
    """What an invitation says to the one who opens its link."""

    organization: str
    role: Role
    hands_over: bool
    invited_by: str
    email: str


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
