"""Organizations, users and their accounts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.names import checked_name
from billing_app.billing.actors import (
    Actor,
    OperatorActor,
    PersonActor,
    PortalActor,
    ServiceActor,
    StaffActor,
    UserActor,
    ViewingActor,
    require_operator,
    require_scope,
)
from billing_app.billing.errors import (
    AccountNotFoundError,
    ForbiddenError,
    InvalidInputError,
    OrganizationNotFoundError,
    ScopeMissingError,
    UserNotFoundError,
)
from billing_app.billing.plans import inserting
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, PlanSource, PlanType, Role, Scope
from billing_app.db.tables import Account, Membership, Organization, Plan, User

MANAGING_ROLES = frozenset({Role.OWNER, Role.BILLING_ADMIN})
READING_SCOPES = frozenset({Scope.PLANS_READ, Scope.EXECUTIONS})
FINDING_SCOPES = READING_SCOPES | {
    Scope.SUBSCRIPTIONS,
    Scope.ACCOUNTS,
    Scope.PLANS_WRITE,
    Scope.ALERTS,
}
MAX_KEPT = 100_000
PUBLIC_NAME = "Public"

# Built once: building one takes as long as running it.
_OF_ORGANIZATION = select(Account).where(
    col(Account.organization_id) == bindparam("organization_id")
)
_ACCOUNT_OF_ORGANIZATION = _OF_ORGANIZATION.where(Account.kind == AccountKind.ORGANIZATION)
_ACCOUNT_OF_USER = _OF_ORGANIZATION.where(col(Account.user_id) == bindparam("user_id"))


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as its holder sees it; `role` is the viewer's, None for a service."""

    account_id: str
    organization_id: str
    user_id: str | None
    name: str
    kind: AccountKind
    role: Role | None

    @property
    def may_manage(self) -> bool:
        """Whether the viewer may buy, change and cancel. Each such call authorizes itself."""
        return self.user_id is not None or self.role in MANAGING_ROLES


class ReadOnlyError(ForbiddenError):
    code = "read_only"
    title = "You are viewing this account read-only"


async def list_accounts(database: Database, actor: PersonActor) -> list[AccountView]:
    """The accounts a person may see: their own trial first, then organizations by name.

    Staff who view an account as its holder sees it get that account only.
    """
    if isinstance(actor, ViewingActor):
        async with database.reading() as session:
            account = await session.get_one(Account, actor.account_number)
        return [_view(account, actor.holder, Role.OWNER)]
    if isinstance(actor, PortalActor):
        async with database.reading() as session:
            account = await session.get_one(Account, actor.account_number)
            organization = await session.get_one(Organization, account.organization_id)
        name = actor.name or actor.email or actor.person_id
        return [_view(account, name if account.user_id else organization.name, actor.role)]
    query = (
        select(Account, Organization, Membership)
        .join(Organization, col(Organization.id) == Account.organization_id)
        .join(Membership, col(Membership.organization_id) == Account.organization_id)
        .where(Membership.user_id == actor.user_id)
        .where(
            or_(
                Account.kind == AccountKind.ORGANIZATION,
                Account.user_id == actor.user_id,
            )
        )
        .order_by(col(Account.kind).desc(), col(Organization.name))
    )
    async with database.reading() as session:
        rows = (await session.exec(query)).all()
    own_name = actor.name or actor.email
    return [
        _view(account, own_name if account.user_id else organization.name, membership.role)
        for account, organization, membership in rows
    ]


async def list_managers(database: Database, actor: Actor, account_id: str) -> list[str]:
    """Names of the people who may buy, change and cancel for an account, sorted.

    Raises AccountNotFoundError.
    """
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(User)
            .join(Membership, col(Membership.user_id) == User.id)
            .where(Membership.organization_id == account.organization_id)
            .order_by(col(User.name), col(User.id))
        )
        if account.user_id is not None:
            query = query.where(User.id == account.user_id)
        else:
            query = query.where(col(Membership.role).in_(MANAGING_ROLES))
        users = (await session.exec(query)).all()
    return [user.name or user.email or user.id for user in users]


async def authorize_reading(session: AsyncSession, actor: Actor, account_id: str) -> Account:
    """The account, when the actor may see it.

    Otherwise raises AccountNotFoundError, which does not reveal whether the account exists.
    """
    require_reading(actor)
    number = ids.decode_account(account_id)
    account = await session.get(Account, number) if number is not None else None
    if account is None or not await _may_read(session, actor, account):
        raise AccountNotFoundError
    return account


async def authorize_managing(
    session: AsyncSession, actor: Actor, account_id: str, *, reading: bool = False
) -> Account:
    """The account, when the actor may buy, change and cancel for it.

    That is the person whose trial it is, an owner or billing admin of the organization, or a key
    with the scope `subscriptions`; with `reading`, members may look too. Raises
    AccountNotFoundError when the actor may not see the account, otherwise ForbiddenError or
    ScopeMissingError.
    """
    number = ids.decode_account(account_id)
    account = await session.get(Account, number) if number is not None else None
    if account is None or not await _may_read(session, actor, account):
        raise AccountNotFoundError
    if isinstance(actor, ServiceActor):
        require_scope(actor, Scope.SUBSCRIPTIONS)
    elif isinstance(actor, ViewingActor) and not reading:
        raise ReadOnlyError
    elif isinstance(actor, PortalActor) and not reading and actor.role not in MANAGING_ROLES:
        raise ForbiddenError("Only owners and billing admins can do this.")
    elif isinstance(actor, StaffActor) and not reading:
        raise ForbiddenError("Staff can change an account only through the staff console.")
    elif isinstance(actor, UserActor) and account.kind == AccountKind.ORGANIZATION and not reading:
        membership = await session.get(Membership, (account.organization_id, actor.user_id))
        if membership is None or membership.role not in MANAGING_ROLES:
            raise ForbiddenError("Only owners and billing admins can do this.")
    return account


class AccountFinder:
    """Finds the account of an organization or a public user. Creates nothing.

    An account never changes its owner, so results are cached for services, whose rights are in
    their key.
    """

    def __init__(self, database: Database, terms: TrialTerms) -> None:
        self._database = database
        self._public = terms.public_organization_id
        self._kept: dict[tuple[str, str], str] = {}

    def known(self, actor: ServiceActor, *, organization_id: str, user_id: str) -> str | None:
        """What `find` returns, when it needs no look-up and refuses nothing."""
        is_public = organization_id == self._public
        may_find = actor.scopes & FINDING_SCOPES and key_may_name(actor, organization_id, user_id)
        if not may_find or (is_public and not user_id):
            return None
        return self._kept.get((organization_id, user_id if is_public else ""))

    async def find(self, actor: Actor, *, organization_id: str, user_id: str) -> str:
        """The id of an organization's account, or of a public user's.

        Raises OrganizationNotFoundError, UserNotFoundError, ForbiddenError, InvalidInputError.
        """
        if isinstance(actor, ServiceActor) and not actor.scopes & FINDING_SCOPES:
            raise ScopeMissingError(scope=Scope.PLANS_READ)
        is_public = organization_id == self._public
        if is_public and not user_id:
            raise InvalidInputError(
                "user_id is required for the public organization.", field="user_id"
            )
        _refuse_other(actor, organization_id, user_id)
        name = (organization_id, user_id if is_public else "")
        if isinstance(actor, ServiceActor) and name in self._kept:
            return self._kept[name]
        query = _ACCOUNT_OF_USER if is_public else _ACCOUNT_OF_ORGANIZATION
        values = {"organization_id": organization_id, "user_id": user_id}
        async with self._database.reading() as session:
            account = (await session.exec(query, params=values)).first()
            if account is None or not await _may_read(session, actor, account):
                raise UserNotFoundError if is_public else OrganizationNotFoundError
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        account_id = self._kept[name] = ids.encode_account(account.id)
        return account_id


async def ensure_public_organization(database: Database, organization_id: str) -> None:
    """Create the organization whose users get trials, unless it exists."""
    statement = text(
        "INSERT INTO organizations (id, name, created_at) VALUES (:id, :name, now())"
        " ON CONFLICT DO NOTHING"
    )
    async with database.transaction() as session:
        await session.exec(statement, params={"id": organization_id, "name": PUBLIC_NAME})  # pyright: ignore[reportCallIssue, reportArgumentType]


async def create_organization(
    database: Database, actor: OperatorActor, *, name: str, executions: int, now: datetime
) -> str:
    """Create an organization with one paid plan of that many executions; returns its id."""
    require_operator(actor)
    name = checked_name(name)
    organization_id = ids.new_id("org_")
    account = Account(
        id=ids.new_account_number(),
        kind=AccountKind.ORGANIZATION,
        organization_id=organization_id,
        created_at=now,
    )
    async with database.transaction() as session:
        session.add(Organization(id=organization_id, name=name, created_at=now))
        await session.flush()
        session.add(account)
        await session.flush()
        plan = _contract_plan(account.id, sequence=1, executions=executions, now=now)
        await inserting.add_plan(session, plan)
    return organization_id


async def add_plan(
    database: Database,
    actor: OperatorActor,
    *,
    organization_id: str,
    executions: int,
    now: datetime,
    name: str = "Contract",
    ends_at: datetime | None = None,
) -> int:
    """Add a paid plan to an organization's queue; returns its sequence."""
    require_operator(actor)
    async with database.transaction() as session:
        query = (
            select(Account)
            .where(Account.organization_id == organization_id)
            .where(Account.kind == AccountKind.ORGANIZATION)
            .with_for_update()
        )
        account = (await session.exec(query)).first()
        if account is None:
            raise OrganizationNotFoundError(organization_id=organization_id)
        sequences = select(Plan.sequence).where(Plan.account_id == account.id)
        sequence = max((await session.exec(sequences)).all(), default=0) + 1
        plan = _contract_plan(account.id, sequence=sequence, executions=executions, now=now)
        plan.name = checked_name(name)
        plan.ends_at = ends_at
        await inserting.add_plan(session, plan)
    return sequence


async def add_member(
    session: AsyncSession, *, organization_id: str, user: User, role: Role, now: datetime
) -> None:
    """Make the user a member; the caller owns the transaction."""
    session.add(
        Membership(organization_id=organization_id, user_id=user.id, role=role, created_at=now)
    )


def _contract_plan(account_id: int, *, sequence: int, executions: int, now: datetime) -> Plan:
    if not 0 < executions <= 10**15:
        raise InvalidInputError(
            "The number of executions must be between 1 and 10^15.", field="executions"
        )
    return Plan(
        account_id=account_id,
        sequence=sequence,
        type=PlanType.PAID,
        name="Contract",
        source=PlanSource.CONTRACT,
        executions=executions,
        starts_at=now,
        created_at=now,
    )


def _view(account: Account, name: str, role: str) -> AccountView:
    return AccountView(
        account_id=ids.encode_account(account.id),
        organization_id=account.organization_id,
        user_id=account.user_id,
        name=name,
        kind=AccountKind(account.kind),
        role=Role(role),
    )


def require_reading(actor: Actor) -> None:
    """Raise ScopeMissingError for a key that may not read accounts."""
    if not isinstance(actor, ServiceActor) or actor.scopes & READING_SCOPES:
        return
    raise ScopeMissingError(scope=Scope.PLANS_READ)


def refusal_of_name(actor: ServiceActor, organization_id: str, user_id: str) -> str:
    """Why a key cannot name an account, whether it exists or not; "" when it can."""
    if key_may_name(actor, organization_id, user_id):
        return ""
    if actor.organization_id == organization_id:
        return "This API key belongs to another user."
    return "This API key belongs to another organization."


def _refuse_other(actor: Actor, organization_id: str, user_id: str) -> None:
    if isinstance(actor, ServiceActor):
        reason = refusal_of_name(actor, organization_id, user_id)
        if reason:
            raise ForbiddenError(reason)


async def _may_read(session: AsyncSession, actor: Actor, account: Account) -> bool:
    is_member = False
    if isinstance(actor, UserActor) and account.kind != AccountKind.USER:
        key = (account.organization_id, actor.user_id)
        is_member = await session.get(Membership, key) is not None
    return may_read(actor, account, is_member=is_member)


def may_read(actor: Actor, account: Account, *, is_member: bool) -> bool:
    """`is_member`: a person belongs to the account's organization."""
    if isinstance(actor, (OperatorActor, StaffActor)):
        return True
    if isinstance(actor, (ViewingActor, PortalActor)):
        return account.id == actor.account_number
    if isinstance(actor, ServiceActor):
        return key_may_read(actor, account.organization_id, account.id)
    if account.kind == AccountKind.USER:
        return account.user_id == actor.user_id
    return is_member


def key_may_read(actor: ServiceActor, organization_id: str, account_number: int) -> bool:
    """Whether it is the platform's key, the organization's, or that of the person's account."""
    return actor.organization_id in (None, organization_id) and actor.account_number in (
        None,
        account_number,
    )


def key_may_name(actor: ServiceActor, organization_id: str, user_id: str) -> bool:
    """As key_may_read, for an account that is named by its owner."""
    return actor.organization_id in (None, organization_id) and actor.user_id in (None, user_id)
