"""The people of an organization: who they are, their roles, leaving and being removed.

There is always an owner: what changes members locks the organization's account first.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import (
    MANAGING_ROLES,
    authorize_managing,
    authorize_reading,
)
from billing_app.billing.actors import Actor, UserActor
from billing_app.billing.alerts.delivery import withdraw
from billing_app.billing.errors import ConflictError, ForbiddenError, UserNotFoundError
from billing_app.billing.lists.paging import Page, decode_cursor, encode_cursor
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role
from billing_app.db.tables import Account, Invitation, Membership, User

SHOWN: Final = 50
ROLE_NAMES: Final = {
    Role.OWNER: "owner",
    Role.BILLING_ADMIN: "billing admin",
    Role.MEMBER: "member",
}
AS_ROLE: Final = {
    Role.OWNER: "an owner",
    Role.BILLING_ADMIN: "a billing admin",
    Role.MEMBER: "a member",
}


class LastOwnerError(ConflictError):
    code = "last_owner"
    title = "An organization needs an owner"

    def __init__(self) -> None:
        super().__init__("Make somebody else an owner first.")


class PersonalAccountError(ConflictError):
    code = "personal_account"
    title = "This is a personal account"

    def __init__(self) -> None:
        super().__init__("Only organizations have members.")


@dataclass(frozen=True, slots=True)
class MemberView:
    """`may_change`: the viewer may set another role, or remove them."""

    user_id: str
    name: str
    email: str
    role: Role
    since: datetime
    is_viewer: bool
    may_change: bool


async def list_members(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit: int = SHOWN,
    cursor: str | None = None,
) -> Page[MemberView]:
    """Who belongs to the organization, longest first; for whoever may see the account.

    Raises AccountNotFoundError, PersonalAccountError, and InvalidInputError for a cursor of another
    list.
    """
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        if account.kind != AccountKind.ORGANIZATION:
            raise PersonalAccountError
        query = (
            select(Membership, User)
            .join(User, col(User.id) == Membership.user_id)
            .where(Membership.organization_id == account.organization_id)
            .order_by(col(Membership.created_at), col(Membership.user_id))
            .limit(limit + 1)
        )
        if cursor is not None:
            at, user_id = decode_cursor(cursor, tuple[datetime, str])
            query = query.where(
                (col(Membership.created_at) > at)
                | ((col(Membership.created_at) == at) & (col(Membership.user_id) > user_id))
            )
        rows = (await session.exec(query)).all()
        own = await _own_role(session, actor, account)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1][0]
        following = encode_cursor((last.created_at, last.user_id))
    return Page([_view(actor, own, *row) for row in rows[:limit]], following)


async def change_role(
    database: Database, actor: Actor, account_id: str, user_id: str, role: Role, now: datetime
) -> None:
    """Withdraws invitations of theirs that they could no longer send.

    Raises UserNotFoundError for who is no member, ForbiddenError, LastOwnerError, and what
    `authorize_managing` raises.
    """
    async with database.transaction() as session:
        organization, person, own = await lock_organization(session, actor, account_id)
        member = await _member(session, organization, user_id)
        before = Role(member.role)
        require_may_set(own, before, role)
        if before is role:
            return
        if before is Role.OWNER:
            await _require_other_owner(session, organization, user_id)
        member.role = role
        session.add(member)
        if role is not Role.OWNER:
            beyond = {Role.OWNER} if role in MANAGING_ROLES else set(Role)
            await _withdraw_invitations(session, member, beyond)
        called = await _called(session, user_id)
        change = CustomerChange(
            CustomerAction.CHANGE_MEMBER_ROLE,
            "role",
            f"{called}: {ROLE_NAMES[before]}",
            f"{called}: {ROLE_NAMES[role]}",
        )
        await record_own(session, person, organization.id, change, now)


async def remove_member(
    database: Database, actor: Actor, account_id: str, user_id: str, now: datetime
) -> None:
    """Their open pages lose the account within seconds; invitations that they sent are withdrawn,
    so that nobody comes back by one of their own. Raises as `change_role`."""
    async with database.transaction() as session:
        organization, person, own = await lock_organization(session, actor, account_id)
        member = await _member(session, organization, user_id)
        require_may_set(own, Role(member.role), Role.MEMBER)
        await _withdraw_invitations(session, member, set(Role))
        await _end(session, organization, member)
        called = await _called(session, user_id)
        change = CustomerChange(CustomerAction.REMOVE_MEMBER, "member", called, "")
        await record_own(session, person, organization.id, change, now)


async def leave(database: Database, actor: Actor, account_id: str, now: datetime) -> None:
    """Raises LastOwnerError, ForbiddenError, PersonalAccountError, AccountNotFoundError."""
    async with database.transaction() as session:
        account = await authorize_reading(session, actor, account_id)
        if not isinstance(actor, UserActor):
            raise ForbiddenError("Only members can leave an organization.")
        organization = await _lock(session, account)
        member = await _member(session, organization, actor.user_id)
        await _end(session, organization, member)
        change = CustomerChange(CustomerAction.LEAVE, "member", actor.email or actor.name, "")
        await record_own(session, actor, organization.id, change, now)


async def lock_organization(
    session: AsyncSession, actor: Actor, account_id: str
) -> tuple[Account, UserActor, Role]:
    """The account, locked; who acts, and their role. Only people who sign in here manage members.

    Raises PersonalAccountError, and what `authorize_managing` raises.
    """
    account = await authorize_managing(session, actor, account_id)
    if not isinstance(actor, UserActor):
        raise ForbiddenError("Only people who sign in here can manage members.")
    await _lock(session, account)
    own = await _own_role(session, actor, account)
    if own is None or own not in MANAGING_ROLES:  # until a moment ago
        raise ForbiddenError("Only owners and billing admins can do this.")
    return account, actor, own


def require_may_set(own: Role, before: Role, after: Role) -> None:
    """Billing admins neither make owners nor change them. Raises ForbiddenError."""
    if own is not Role.OWNER and Role.OWNER in (before, after):
        raise ForbiddenError("Only an owner can do this.")


async def _lock(session: AsyncSession, account: Account) -> Account:
    if account.kind != AccountKind.ORGANIZATION:
        raise PersonalAccountError
    return await session.get_one(Account, account.id, with_for_update={"key_share": True})


async def _own_role(session: AsyncSession, actor: Actor, account: Account) -> Role | None:
    if not isinstance(actor, UserActor):
        return None
    key = (account.organization_id, actor.user_id)
    member = await session.get(Membership, key, populate_existing=True)
    return Role(member.role) if member else None


async def _member(session: AsyncSession, account: Account, user_id: str) -> Membership:
    key = (account.organization_id, user_id)
    member = await session.get(Membership, key, populate_existing=True)
    if member is None:
        raise UserNotFoundError("They are not a member of this organization.")
    return member


async def _end(session: AsyncSession, account: Account, member: Membership) -> None:
    if member.role == Role.OWNER:
        await _require_other_owner(session, account, member.user_id)
    await session.delete(member)
    await session.flush()
    await withdraw(session, account.id, member.user_id)


async def _withdraw_invitations(
    session: AsyncSession, member: Membership, roles: set[Role]
) -> None:
    """Those that the person sent for these roles."""
    sent = (
        delete(Invitation)
        .where(col(Invitation.organization_id) == member.organization_id)
        .where(col(Invitation.invited_by) == member.user_id)
        .where(col(Invitation.role).in_(roles))
    )
    await session.exec(sent)


async def _called(session: AsyncSession, user_id: str) -> str:
    user = await session.get_one(User, user_id)
    return user.email or user.name or user.id


async def _require_other_owner(session: AsyncSession, account: Account, user_id: str) -> None:
    """The account is locked."""
    query = (
        select(func.count())
        .select_from(Membership)
        .where(Membership.organization_id == account.organization_id)
        .where(Membership.role == Role.OWNER, Membership.user_id != user_id)
    )
    if not (await session.exec(query)).one():
        raise LastOwnerError


def _view(actor: Actor, own: Role | None, member: Membership, user: User) -> MemberView:
    role = Role(member.role)
    is_viewer = isinstance(actor, UserActor) and actor.user_id == user.id
    may = own is Role.OWNER or (own is Role.BILLING_ADMIN and role is not Role.OWNER)
    return MemberView(
        user_id=user.id,
        name=user.name,
        email=user.email or "",
        role=role,
        since=member.created_at,
        is_viewer=is_viewer,
        may_change=may and not is_viewer,
    )
