"""Staff members and their roles. The last admin cannot be removed."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import case, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor, StaffActor, UserActor
from billing_app.billing.errors import (
    ConflictError,
    EmailTakenError,
    InvalidInputError,
    NotFoundError,
)
from billing_app.billing.identity.password_hashing import hash_password
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting
from billing_app.billing.staff.access.permissions import RANKS, Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.db.engine import Database
from billing_app.db.enums import StaffRole
from billing_app.db.tables import StaffMember, User


class StaffMemberNotFoundError(NotFoundError):
    code = "staff_member_not_found"
    title = "Staff member not found"


class LastAdminError(ConflictError):
    code = "last_admin"
    title = "The last admin cannot be removed"


@dataclass(frozen=True, slots=True)
class MemberView:
    user_id: str
    name: str
    email: str
    role: StaffRole
    added_at: datetime


@dataclass(frozen=True, slots=True)
class AddedMember:
    """`password` is shown only once, and None for a user who had one."""

    user_id: str
    password: str | None


class MemberSort(StrEnum):
    """`ROLE` sorts from the lowest to the highest."""

    NAME = "name"
    EMAIL = "email"
    ROLE = "role"
    SINCE = "since"


SORTING: Final = Sorting(
    {
        MemberSort.NAME: Key(func.lower(User.name), TEXT),
        MemberSort.EMAIL: Key(func.lower(func.coalesce(User.email, "")), TEXT),
        MemberSort.ROLE: Key(case(RANKS, value=col(StaffMember.role), else_=-1), NUMBER),
        MemberSort.SINCE: Key(col(StaffMember.added_at), INSTANT),
    },
    ties=(Key(col(StaffMember.user_id), TEXT),),
    usual=By(MemberSort.NAME),
)


async def staff_actor(database: Database, person: UserActor) -> StaffActor | None:
    """The person with their current role; None for somebody who is not staff."""
    async with database.reading() as session:
        member = await session.get(StaffMember, person.user_id)
    if member is None or member.removed_at is not None:
        return None
    return StaffActor(person.user_id, person.name or person.email, StaffRole(member.role))


async def list_members(database: Database, actor: Actor) -> list[MemberView]:
    """All members, by name and address. Raises ForbiddenError."""
    require(actor, Action.READ)
    query = (
        select(StaffMember, User)
        .join(User, col(User.id) == StaffMember.user_id)
        .where(col(StaffMember.removed_at).is_(None))
        .order_by(col(User.name), col(User.email))
    )
    async with database.reading() as session:
        return [_view(member, user) for member, user in (await session.exec(query)).all()]


async def search_members(
    database: Database,
    actor: Actor,
    *,
    query: str = "",
    role: StaffRole | None = None,
    by: By[MemberSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[MemberView]:
    """Members whose name or address contains `query`. Raises ForbiddenError, InvalidInputError."""
    require(actor, Action.READ)
    span = SORTING.span(by, limit=limit, cursor=cursor)
    wanted = (
        select(StaffMember, User)
        .join(User, col(User.id) == StaffMember.user_id)
        .where(col(StaffMember.removed_at).is_(None))
    )
    letters = query.strip().lower()
    if "\0" in letters:
        raise InvalidInputError("The search must not contain NUL.", field="query")
    if letters:
        has_letters = (
            func.lower(each).contains(letters, autoescape=True) for each in (User.name, User.email)
        )
        wanted = wanted.where(or_(*has_letters))
    if role is not None:
        wanted = wanted.where(StaffMember.role == role)
    async with database.reading() as session:
        rows, following = await span.fetch(session, wanted)
    return Page([_view(row[0], row[1]) for row in rows], following)


async def add_member(
    database: Database, actor: Actor, *, email: str, role: StaffRole, reason: str, now: datetime
) -> AddedMember:
    """Give somebody a role, or change it; an unknown address becomes a user with a password.

    Raises ForbiddenError, InvalidInputError, LastAdminError.
    """
    staff, reason = require(actor, Action.ADD_STAFF), clean_reason(reason)
    email = clean_email(email)
    password = secrets.token_urlsafe(12)
    new_user = User(
        id=ids.new_id("usr_"),
        email=email,
        password_hash=await hash_password(password),
        created_at=now,
    )
    try:
        async with database.transaction() as session:
            admins = await _lock_admins(session)
            known = select(User).where(func.lower(User.email) == email.lower())
            user = (await session.exec(known)).first()
            if user is None:
                session.add(new_user)
                await session.flush()
            user_id = (user or new_user).id
            before = await _set_role(session, user_id, role, admins, now)
            audit_record = AuditRecord(Action.ADD_STAFF, reason, subject=email, before=before)
            audit_record.after.update(user_id=user_id, role=role)
            await record(session, staff, audit_record, now)
    except IntegrityError:
        raise EmailTakenError("An account with this address was just created. Try again.") from None
    return AddedMember(user_id, None if user else password)


async def change_role(
    database: Database, actor: Actor, *, user_id: str, role: StaffRole, reason: str, now: datetime
) -> None:
    """Raises ForbiddenError, StaffMemberNotFoundError, LastAdminError, InvalidInputError."""
    staff, reason = require(actor, Action.CHANGE_ROLE), clean_reason(reason)
    async with database.transaction() as session:
        admins = await _lock_admins(session)
        user = await _member_user(session, user_id)
        before = await _set_role(session, user_id, role, admins, now)
        audit_record = AuditRecord(
            Action.CHANGE_ROLE, reason, subject=user.email or user_id, before=before
        )
        audit_record.after.update(user_id=user_id, role=role)
        await record(session, staff, audit_record, now)


async def remove_member(
    database: Database, actor: Actor, *, user_id: str, reason: str, now: datetime
) -> None:
    """Remove a member immediately. Raises the errors of `change_role`."""
    staff, reason = require(actor, Action.REMOVE_STAFF), clean_reason(reason)
    async with database.transaction() as session:
        admins = await _lock_admins(session)
        user = await _member_user(session, user_id)
        _require_other_admin(admins, user_id)
        member = await _lock_member(session, user_id)
        assert member is not None
        member.removed_at = now
        session.add(member)
        before = {"user_id": user_id, "role": member.role}
        audit_record = AuditRecord(
            Action.REMOVE_STAFF, reason, subject=user.email or user_id, before=before
        )
        await record(session, staff, audit_record, now)


async def find_member(database: Database, actor: Actor, *, email: str) -> MemberView:
    """By address. Raises ForbiddenError, StaffMemberNotFoundError."""
    for member in await list_members(database, actor):
        if member.email.lower() == email.strip().lower():
            return member
    raise StaffMemberNotFoundError(f"{email} is not a staff member.")


async def _set_role(
    session: AsyncSession, user_id: str, role: StaffRole, admins: set[str], now: datetime
) -> dict[str, str]:
    """Returns the role before."""
    if role is not StaffRole.ADMIN:
        _require_other_admin(admins, user_id)
    member = await _lock_member(session, user_id)
    if member is None:
        session.add(StaffMember(user_id=user_id, role=role, added_at=now))
        return {}
    before = {} if member.removed_at else {"user_id": user_id, "role": member.role}
    member.added_at = now if member.removed_at else member.added_at
    member.role, member.removed_at = role, None
    session.add(member)
    return before


async def _lock_admins(session: AsyncSession) -> set[str]:
    """All admins, locked, so that two of them cannot remove each other at once."""
    query = (
        select(StaffMember)
        .where(StaffMember.role == StaffRole.ADMIN)
        .where(col(StaffMember.removed_at).is_(None))
        .order_by(col(StaffMember.user_id))
        .with_for_update()
    )
    return {member.user_id for member in (await session.exec(query)).all()}


async def _lock_member(session: AsyncSession, user_id: str) -> StaffMember | None:
    return await session.get(StaffMember, user_id, with_for_update=True)


async def _member_user(session: AsyncSession, user_id: str) -> User:
    member = await session.get(StaffMember, user_id)
    user = await session.get(User, user_id)
    if member is None or member.removed_at is not None or user is None:
        raise StaffMemberNotFoundError
    return user


def _require_other_admin(admins: set[str], user_id: str) -> None:
    if admins == {user_id}:
        raise LastAdminError("Make someone else an admin first.")


def _view(member: StaffMember, user: User) -> MemberView:
    return MemberView(user.id, user.name, user.email or "", StaffRole(member.role), member.added_at)
