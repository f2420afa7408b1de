"""Adding a person to an organization, or changing their role in it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field
from sqlmodel import func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.alerts.delivery import withdraw
from billing_app.billing.errors import (
    AccountNotFoundError,
    ConflictError,
    UserNotFoundError,
)
from billing_app.billing.identity.sessions import MAX_EMAIL_LENGTH, PUBLISHED_EMAIL, clean_email
from billing_app.billing.staff.access.permissions import Action, OwnAccountError, may_repair_own
from billing_app.billing.staff.repairs.drivers import InSession
from billing_app.billing.staff.repairs.fields import Control, Input, RepairForm
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    AlreadyInStateError,
    ChangedSinceError,
    Figures,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    Shown,
    account_of,
)
from billing_app.db.enums import AccountKind, Role
from billing_app.db.tables import Account, AuditEntry, Membership, Organization, User

ROLES: Final = {
    Role.OWNER: "owner",
    Role.BILLING_ADMIN: "billing admin",
    Role.MEMBER: "member",
}
CHOICES: Final = (
    (Role.MEMBER.value, "Member: reads"),
    (Role.BILLING_ADMIN.value, "Billing admin: buys, changes and cancels"),
    (Role.OWNER.value, "Owner: also the billing contact by default"),
)


@dataclass(frozen=True)
class NewMember(RepairForm):
    """Somebody who has signed up, by their email address."""

    email: Annotated[
        str,
        Field(
            min_length=3,
            max_length=MAX_EMAIL_LENGTH,
            json_schema_extra={"pattern": PUBLISHED_EMAIL},
        ),
        Input("Email", Control.TEXT, "They must have signed up"),
    ]
    role: Annotated[Role, Input("Role", Control.CHOICE, choices=CHOICES)] = Role.MEMBER

    def check(self, staff: StaffActor, now: datetime) -> None:
        clean_email(self.email)


@dataclass(frozen=True, slots=True)
class MemberPreview:
    """`role_before` is None for a person who is not a member."""

    name: str
    email: str
    organization: str
    role_before: Role | None
    role_after: Role


@dataclass(frozen=True, slots=True)
class _Found:
    user: User
    organization: Organization
    membership: Membership | None

    @property
    def role(self) -> Role | None:
        return Role(self.membership.role) if self.membership else None


async def preview(services: RepairServices, request: RepairRequest[NewMember]) -> MemberPreview:
    """Raises what `add` raises."""
    async with services.database.reading() as session:
        found = await _find(session, request)
    user, role = found.user, request.form.role
    return MemberPreview(
        user.name or user.email or "", user.email or "", found.organization.name, found.role, role
    )


async def add(session: AsyncSession, request: RepairRequest[NewMember]) -> RepairResult:
    """Raises UserNotFoundError, AlreadyInStateError, ConflictError for a personal account, and
    OwnAccountError for staff below admin who add themselves."""
    found, role = await _find(session, request), request.form.role
    member = found.membership or Membership(
        organization_id=found.organization.id,
        user_id=found.user.id,
        role=role,
        created_at=request.now,
    )
    before = {"role": found.role}
    member.role = role
    session.add(member)
    name = found.user.name or found.user.email
    return RepairResult(
        found.user.id, before, {"role": role, "name": name, "email": found.user.email}
    )


async def undo(session: AsyncSession, request: RepairRequest[Any]) -> RepairResult:
    """Raises ChangedSinceError."""
    entry = request.entry_undone()
    account = await session.get_one(Account, request.account_id)
    member = await session.get(Membership, (account.organization_id, entry.subject))
    if member is None or member.role != entry.after["role"]:
        raise ChangedSinceError("Someone has changed this since.")
    role = entry.before["role"]
    if role is None:
        await session.delete(member)
        await withdraw(session, account.id, entry.subject)
    else:
        member.role = role
        session.add(member)
    return RepairResult(entry.subject, entry.after, {**entry.after, "role": role})


def again(entry: AuditEntry) -> tuple[str, NewMember] | None:
    email = entry.after.get("email")
    return (account_of(entry), NewMember(email, Role(entry.after["role"]))) if email else None


def wording(before: Figures, after: Figures) -> str:
    role = ROLES[Role(after["role"])]
    if before["role"] is None:
        return f"{after['name']} added as {role}"
    return f"{after['name']} is now {role}, was {ROLES[Role(before['role'])]}"


async def _find(session: AsyncSession, request: RepairRequest[NewMember]) -> _Found:
    account = await session.get(Account, request.account_id)
    if account is None:
        raise AccountNotFoundError
    if account.kind != AccountKind.ORGANIZATION:
        raise ConflictError("This is a personal account. Only organizations have members.")
    email = request.form.email.strip()
    person = select(User).where(func.lower(User.email) == email.lower())
    user = (await session.exec(person)).first()
    if user is None:
        raise UserNotFoundError(f"Nobody has signed up as {email}.")
    if user.id == request.staff.actor_id and not may_repair_own(request.staff.role):
        raise OwnAccountError("You cannot add yourself. Ask a colleague")
    membership = await session.get(Membership, (account.organization_id, user.id))
    if membership is not None and membership.role == request.form.role:
        raise AlreadyInStateError(f"{email} is already {ROLES[request.form.role]}.")
    organization = await session.get_one(Organization, account.organization_id)
    return _Found(user, organization, membership)


ADD_MEMBER: Final = Repair(
    name="add_member",
    action=Action.ADD_MEMBER,
    target=ACCOUNT,
    path="members",
    title="Add a member",
    explanation="Adds a person to the organization, or changes their role in it.",
    form=NewMember,
    preview=preview,
    apply=InSession(add),
    undo=InSession(undo),
    wording=wording,
    worded=frozenset({"role", "name", "email"}),
    again=again,
    shown=Shown.OF_ORGANIZATION,
)
