"""Extending a trial: a later end, more executions, or both."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.staff.access.permissions import Action, require, require_within_limit
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.repairs import (
    RepairRequest,
    RepairResult,
    account_number,
    check_executions,
    moment,
    moment_of,
    plan_id_of,
    repair,
)
from billing_app.billing.staff.repairs.stops import MovedOnError
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, PlanType
from billing_app.db.tables import Account, AuditEntry, Plan

MAX_DAYS: Final = 3_660


class NoTrialError(ConflictError):
    code = "no_trial"
    title = "This account has no trial"


class TrialEndError(ConflictError):
    """An extension only adds: an end moves to later, and a trial without one keeps none."""

    code = "trial_end"
    title = "The trial's end cannot become this"


class TrialUsedError(ConflictError):
    code = "trial_used"
    title = "Executions of the extension were used meanwhile"


async def extend_trial(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    reason: str,
    now: datetime,
    executions: int = 0,
    ends_at: datetime | None = None,
    key: str | None = None,
) -> EntryView:
    """Add executions, and move the end to `ends_at`; a trial that had ended goes on.

    Raises ForbiddenError, OverLimitError, InvalidInputError, AccountNotFoundError, NoTrialError,
    TrialEndError.
    """
    staff = require(actor, Action.EXTEND_TRIAL)
    check_executions(executions, least=0)
    require_within_limit(staff, executions)
    if not executions and ends_at is None:
        raise InvalidInputError("Give executions, a new end, or both.", field="executions")
    if ends_at is not None and not now < ends_at <= now + timedelta(days=MAX_DAYS):
        raise InvalidInputError(f"ends_at must be within {MAX_DAYS} days.", field="ends_at")

    async def change(session: AsyncSession, account: Account) -> RepairResult:
        trial = await _lock_trial(session, account.id)
        _require_later(trial, ends_at, now)
        before = _figures(trial)
        trial.executions += executions
        trial.ends_at = ends_at or trial.ends_at
        _go_on(trial)
        session.add(trial)
        return RepairResult(plan_id_of(trial), before, _figures(trial))

    order = RepairRequest(
        staff,
        Action.EXTEND_TRIAL,
        account_number(account_id),
        reason,
        key,
        (executions, moment(ends_at)),
    )
    return await repair(database, order, change, now)


async def take_extension_back(
    session: AsyncSession, account: Account, entry: AuditEntry, now: datetime
) -> RepairResult:
    """The executions and the end from before. Raises TrialUsedError, MovedOnError."""
    trial = await _lock_trial(session, account.id)
    found = _figures(trial)
    for name in ("executions", "ends_at"):
        if found[name] != entry.after[name]:
            raise MovedOnError("The trial was extended again since; undo that first.", **found)
    executions: int = entry.before["executions"]
    if trial.used + trial.held > executions:
        raise TrialUsedError(
            f"{trial.used:,} are used and {trial.held:,} held; before there were {executions:,}.",
            executions_before=executions,
            executions_used=trial.used,
            executions_held=trial.held,
        )
    trial.executions = executions
    trial.ends_at = moment_of(entry.before["ends_at"])
    _end_again(trial, entry.before, now)
    session.add(trial)
    return RepairResult(plan_id_of(trial), found, _figures(trial))


async def _lock_trial(session: AsyncSession, account_id: int) -> Plan:
    query = (
        select(Plan)
        .where(Plan.account_id == account_id)
        .where(Plan.type == PlanType.TRIAL)
        .with_for_update()
    )
    trial = (await session.exec(query)).first()
    if trial is None:
        raise NoTrialError
    return trial


def _require_later(trial: Plan, ends_at: datetime | None, now: datetime) -> None:
    if ends_at is None:
        if trial.ends_at is not None and trial.ends_at <= now:
            raise TrialEndError(f"The trial ended at {trial.ends_at}; give it a new end.")
    elif trial.ends_at is None:
        raise TrialEndError("The trial has no end; add executions only.")
    elif ends_at <= trial.ends_at:
        raise TrialEndError(f"The trial ends at {trial.ends_at} already.", ends_at=trial.ends_at)


def _go_on(trial: Plan) -> None:
    if trial.used < trial.executions:
        trial.ended_at = trial.ended_because = None
    elif trial.ended_at is not None:
        trial.ended_because = EndReason.DEPLETED


def _end_again(trial: Plan, before: dict[str, Any], now: datetime) -> None:
    """As it had ended before; one whose end has passed ends with the next decision."""
    if trial.used == trial.executions:
        was_so = before["ended_because"] == EndReason.DEPLETED
        trial.ended_at = (moment_of(before["ended_at"]) if was_so else trial.ended_at) or now
        trial.ended_because = EndReason.DEPLETED
    elif before["ended_because"] == EndReason.PERIOD_ENDED and not trial.held:
        trial.ended_at = moment_of(before["ended_at"])
        trial.ended_because = EndReason.PERIOD_ENDED


def _figures(trial: Plan) -> dict[str, Any]:
    return {
        "executions": trial.executions,
        "ends_at": moment(trial.ends_at),
        "ended_at": moment(trial.ended_at),
        "ended_because": trial.ended_because,
    }
