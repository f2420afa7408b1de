"""Who acts. Every service function that touches an account takes an actor and authorizes it."""

from dataclasses import dataclass
from datetime import datetime

from billing_app.billing.errors import ForbiddenError, ScopeMissingError
from billing_app.db.enums import AccountKind, Role, Scope, StaffRole


@dataclass(frozen=True, slots=True)
class UserActor:
    """A signed-in person, from a session row that was checked for this request."""

    user_id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class ServiceActor:
    """A service key. `organization_id` None means the platform: every organization.

    `staff_role` is the role of a key with the scope `staff`. A key of a person's account, number
    `account_number`, acts for that one account of the public organization only. With `workflow`,
    it counts for that workflow only.
    """

    key_id: int
    scopes: frozenset[str]
    organization_id: str | None
    name: str = ""
    staff_role: StaffRole | None = None
    account_number: int | None = None
    user_id: str | None = None
    workflow: str = ""


@dataclass(frozen=True, slots=True)
class OperatorActor:
    """Runs commands on the server itself; may do everything."""


@dataclass(frozen=True, slots=True)
class StaffActor:
    """A staff member with their role, or a service key with the scope `staff`.

    From a row that was checked for this request. `actor_id` is a user id, or `key:` and the key's
    number. `is_viewing`: their session views an account as its holder, and so changes nothing.
    """

    actor_id: str
    name: str
    role: StaffRole
    is_viewing: bool = False


@dataclass(frozen=True, slots=True)
class ViewingActor:
    """Staff who view one account as its holder sees it: they can read it and change nothing.

    From a row that was checked for this request. `holder` is the account's name.
    """

    staff: StaffActor
    account_number: int
    kind: AccountKind
    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class PortalActor:
    """A person of a service who came through a portal link: one account, in one role.

    From a session row that was checked for this request. `person_id` is the service's id; nobody
    here need have it.
    """

    person_id: str
    name: str
    email: str
    account_number: int
    role: Role
    return_url: str


PersonActor = UserActor | ViewingActor | PortalActor
Actor = UserActor | ServiceActor | OperatorActor | StaffActor | ViewingActor | PortalActor


def require_scope(actor: ServiceActor, scope: Scope) -> None:
    """Raise ScopeMissingError unless the key carries the scope."""
    if scope not in actor.scopes:
        raise ScopeMissingError(scope=scope)


def require_operator(actor: Actor) -> None:
    if not isinstance(actor, OperatorActor):
        raise ForbiddenError
