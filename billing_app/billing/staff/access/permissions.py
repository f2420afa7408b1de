"""What each staff role may do, and how much: docs/reference/roles-and-repairs.md."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import Actor, OperatorActor, StaffActor
from billing_app.billing.errors import ForbiddenError
from billing_app.db.enums import StaffRole

RANKS: Final = {role: rank for rank, role in enumerate(StaffRole)}


def _action(name: str, least: StaffRole, *, is_repair: bool = False, is_final: bool = False) -> Any:
    return name, least, is_repair, is_final


class Action(StrEnum):
    """What staff can do, as the audit log names it, and the least role that may.

    Undoing also takes the role, and the limit, of what is undone. Repairs can be undone, unless
    they are final.
    """

    _value_: str
    least: StaffRole
    is_repair: bool
    is_final: bool

    def __new__(cls, name: str, least: StaffRole, is_repair: bool, is_final: bool) -> Self:
        action = str.__new__(cls, name)
        action._value_, action.least = name, least
        action.is_repair, action.is_final = is_repair, is_final
        return action

    READ = _action("read", StaffRole.SUPPORT)
    VIEW_AS_CUSTOMER = _action("view_as_customer", StaffRole.SUPPORT)
    END_VIEW = _action("end_view_as_customer", StaffRole.SUPPORT)
    GRANT = _action("grant_executions", StaffRole.SUPPORT, is_repair=True)
    REFUND = _action("refund_executions", StaffRole.BILLING, is_repair=True)
    ADJUST = _action("adjust_executions", StaffRole.BILLING, is_repair=True)
    EXTEND_TRIAL = _action("extend_trial", StaffRole.BILLING, is_repair=True)
    MOVE_OFFER = _action("move_offer", StaffRole.BILLING, is_repair=True)
    CANCEL_SUBSCRIPTION = _action(
        "cancel_subscription", StaffRole.BILLING, is_repair=True, is_final=True
    )
    TRUST_INVOICE = _action("trust_invoice", StaffRole.SUPPORT, is_repair=True, is_final=True)
    PAUSE = _action("pause_plan", StaffRole.BILLING, is_repair=True)
    RESUME = _action("resume_plan", StaffRole.BILLING, is_repair=True)
    BLOCK = _action("block_account", StaffRole.BILLING, is_repair=True)
    UNBLOCK = _action("unblock_account", StaffRole.BILLING, is_repair=True)
    ADD_MEMBER = _action("add_member", StaffRole.BILLING, is_repair=True)
    UNDO = _action("undo", StaffRole.SUPPORT)
    SIGN_OUT = _action("sign_out_everywhere", StaffRole.SUPPORT)
    REPLAY_EVENT = _action("replay_event", StaffRole.BILLING)
    RECONCILE = _action("reconcile", StaffRole.BILLING)
    RETRY_JOB = _action("retry_job", StaffRole.BILLING)
    EDIT_OFFER = _action("edit_offer", StaffRole.ADMIN)
    PUBLISH_OFFER = _action("publish_offer", StaffRole.ADMIN)
    ARCHIVE_OFFER = _action("archive_offer", StaffRole.ADMIN)
    UNARCHIVE_OFFER = _action("unarchive_offer", StaffRole.ADMIN)
    EDIT_ALERT_RULES = _action("edit_alert_rules", StaffRole.ADMIN)
    MANAGE_WEBHOOKS = _action("manage_webhooks", StaffRole.ADMIN)
    ADD_STAFF = _action("add_staff", StaffRole.ADMIN)
    CHANGE_ROLE = _action("change_role", StaffRole.ADMIN)
    REMOVE_STAFF = _action("remove_staff", StaffRole.ADMIN)


REPAIRS: Final = frozenset(action for action in Action if action.is_repair)
WHILE_VIEWING: Final = frozenset({Action.READ, Action.VIEW_AS_CUSTOMER, Action.END_VIEW})
UNDOABLE: Final = frozenset(action for action in REPAIRS if not action.is_final)


@dataclass(frozen=True, slots=True)
class Limits:
    """Executions that a role may move; `None`: only MAX_EXECUTIONS at a time limits it.

    A day is a UTC day; what was undone does not count.
    """

    each: int | None
    per_day: int | None


MAX_EXECUTIONS: Final = 1_000_000_000
LIMITS: Final[dict[StaffRole, Limits]] = {
    StaffRole.SUPPORT: Limits(each=1_000, per_day=5_000),
    StaffRole.BILLING: Limits(each=1_000_000, per_day=None),
    StaffRole.ADMIN: Limits(each=None, per_day=None),
}


class StaffRoleMissingError(ForbiddenError):
    code = "staff_role_missing"
    title = "Your role does not allow this"


class OwnAccountError(ForbiddenError):
    code = "own_account"
    title = "You cannot repair your own account. Ask a colleague"


class OverLimitError(ForbiddenError):
    code = "over_role_limit"
    title = "This exceeds the limit of your role"


def may(role: StaffRole, action: Action) -> bool:
    return RANKS[role] >= RANKS[action.least]


def actions_of(staff: StaffActor) -> list[Action]:
    """What the staff member may do right now."""
    allowed = (action for action in Action if may(staff.role, action))
    return [action for action in allowed if not staff.is_viewing or action in WHILE_VIEWING]


def require(actor: Actor, action: Action) -> StaffActor:
    """The staff member who asks, when their role may do this. Commands on the server run as admin.

    Raises ForbiddenError for others, StaffRoleMissingError for a lower role, ReadOnlyError for a
    change by staff who view an account as its holder.
    """
    if isinstance(actor, OperatorActor):
        return StaffActor("operator", "Command line", StaffRole.ADMIN)
    if not isinstance(actor, StaffActor):
        raise ForbiddenError("Only staff can do this.")
    if actor.is_viewing and action not in WHILE_VIEWING:
        raise ReadOnlyError("You are viewing an account as its customer. End the view first.")
    if not may(actor.role, action):
        raise StaffRoleMissingError(
            f"This requires the role {action.least}; yours is {actor.role}.",
            role_needed=action.least,
        )
    return actor


def may_repair_own(role: StaffRole) -> bool:
    """Whether this role may repair an account that the person holds or is a member of."""
    return role is StaffRole.ADMIN


def require_within_limit(actor: StaffActor, executions: int, *, done_today: int = 0) -> None:
    """Raises OverLimitError with the limit."""
    limits = LIMITS[actor.role]
    if limits.each is not None and executions > limits.each:
        raise OverLimitError(
            f"The role {actor.role} may move at most {limits.each:,} executions at a time.",
            executions_requested=executions,
            limit_executions=limits.each,
        )
    if limits.per_day is not None and done_today + executions > limits.per_day:
        raise OverLimitError(
            f"The role {actor.role} may grant at most {limits.per_day:,} executions a day;"
            f" {done_today:,} were granted today.",
            executions_requested=executions,
            executions_today=done_today,
            limit_executions_per_day=limits.per_day,
        )
