"""What each staff role may do, and how much: docs/reference/roles-and-repairs.md."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing_app.billing.actors import Actor, OperatorActor, StaffActor
from billing_app.billing.errors import ForbiddenError
from billing_app.db.enums import StaffRole

RANKS: Final = {role: rank for rank, role in enumerate(StaffRole)}


class Action(StrEnum):
    """What staff can do; the audit log's word for it."""

    READ = "read"
    VIEW_AS_CUSTOMER = "view_as_customer"
    END_VIEW = "end_view_as_customer"
    GRANT = "grant_executions"
    REFUND = "refund_executions"
    ADJUST = "adjust_executions"
    EXTEND_TRIAL = "extend_trial"
    MOVE_OFFER = "move_offer"
    PAUSE = "pause_plan"
    RESUME = "resume_plan"
    BLOCK = "block_account"
    UNBLOCK = "unblock_account"
    UNDO = "undo"
    SIGN_OUT = "sign_out_everywhere"
    REPLAY_EVENT = "replay_event"
    RECONCILE = "reconcile"
    RETRY_JOB = "retry_job"
    EDIT_OFFER = "edit_offer"
    PUBLISH_OFFER = "publish_offer"
    ARCHIVE_OFFER = "archive_offer"
    UNARCHIVE_OFFER = "unarchive_offer"
    ADD_STAFF = "add_staff"
    CHANGE_ROLE = "change_role"
    REMOVE_STAFF = "remove_staff"


# The lowest role that may. Undoing also takes the role, and the limit, of what is undone.
LEAST: Final[dict[Action, StaffRole]] = {
    Action.READ: StaffRole.SUPPORT,
    Action.VIEW_AS_CUSTOMER: StaffRole.SUPPORT,
    Action.END_VIEW: StaffRole.SUPPORT,
    Action.GRANT: StaffRole.SUPPORT,
    Action.REFUND: StaffRole.BILLING,
    Action.ADJUST: StaffRole.BILLING,
    Action.EXTEND_TRIAL: StaffRole.BILLING,
    Action.MOVE_OFFER: StaffRole.BILLING,
    Action.PAUSE: StaffRole.BILLING,
    Action.RESUME: StaffRole.BILLING,
    Action.BLOCK: StaffRole.BILLING,
    Action.UNBLOCK: StaffRole.BILLING,
    Action.UNDO: StaffRole.SUPPORT,
    Action.SIGN_OUT: StaffRole.SUPPORT,
    Action.REPLAY_EVENT: StaffRole.BILLING,
    Action.RECONCILE: StaffRole.BILLING,
    Action.RETRY_JOB: StaffRole.BILLING,
    Action.EDIT_OFFER: StaffRole.ADMIN,
    Action.PUBLISH_OFFER: StaffRole.ADMIN,
    Action.ARCHIVE_OFFER: StaffRole.ADMIN,
    Action.UNARCHIVE_OFFER: StaffRole.ADMIN,
    Action.ADD_STAFF: StaffRole.ADMIN,
    Action.CHANGE_ROLE: StaffRole.ADMIN,
    Action.REMOVE_STAFF: StaffRole.ADMIN,
}

REPAIRS: Final = (
    Action.GRANT,
    Action.REFUND,
    Action.ADJUST,
    Action.EXTEND_TRIAL,
    Action.MOVE_OFFER,
    Action.PAUSE,
    Action.RESUME,
    Action.BLOCK,
    Action.UNBLOCK,
)
UNDOABLE: Final = frozenset(REPAIRS)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many executions somebody may move; `None`: no limit but MAX_EXECUTIONS at a time.

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
    title = "Somebody else must do this to your own account"


class OverLimitError(ForbiddenError):
    code = "over_role_limit"
    title = "This is over the limit of your role"


def may(role: StaffRole, action: Action) -> bool:
    return RANKS[role] >= RANKS[LEAST[action]]


def require(actor: Actor, action: Action) -> StaffActor:
    """The actor, when it is staff whose role may do this. Raises as `require_staff`."""
    return require_staff(actor, LEAST[action])


def require_staff(actor: Actor, least: StaffRole = StaffRole.SUPPORT) -> StaffActor:
    """The actor, when it is staff with this role or a higher one; whoever runs commands on the
    server is an admin.

    Raises ForbiddenError for others, StaffRoleMissingError for a lower role.
    """
    if isinstance(actor, OperatorActor):
        return StaffActor("operator", "Command line", StaffRole.ADMIN)
    if not isinstance(actor, StaffActor):
        raise ForbiddenError("Only staff can do this.")
    if RANKS[actor.role] < RANKS[least]:
        raise StaffRoleMissingError(
            f"This takes the role {least}; yours is {actor.role}.", role_needed=least
        )
    return actor


def may_repair_own(role: StaffRole) -> bool:
    """Whether somebody may repair an account that they hold, or are a member of."""
    return role is StaffRole.ADMIN


def require_within_limit(actor: StaffActor, executions: int, *, done_today: int = 0) -> None:
    """Raises OverLimitError with the limit."""
    limits = LIMITS[actor.role]
    if limits.each is not None and executions > limits.each:
        raise OverLimitError(
            f"The role {actor.role} moves at most {limits.each:,} executions at a time.",
            executions_requested=executions,
            limit_executions=limits.each,
        )
    if limits.per_day is not None and done_today + executions > limits.per_day:
        raise OverLimitError(
            f"The role {actor.role} grants at most {limits.per_day:,} executions a day;"
            f" {done_today:,} are granted today.",
            executions_requested=executions,
            executions_today=done_today,
            limit_executions_per_day=limits.per_day,
        )
