"""Extending a trial: a later end, more executions, or both."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.quantities import counted
from billing_app.billing.staff.access.permissions import (
    MAX_EXECUTIONS,
    Action,
    require_within_limit,
)
from billing_app.billing.staff.repairs.drivers import InSession
from billing_app.billing.staff.repairs.fields import (
    Control,
    Input,
    RepairForm,
    check_end,
    check_executions,
    last_day,
    restored,
    stored,
)
from billing_app.billing.staff.repairs.plan_rows import plan_id_of, plans_of
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    ChangedSinceError,
    Figures,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    Shown,
    account_of,
)
from billing_app.db.enums import EndReason, PlanType
from billing_app.db.tables import AuditEntry, Plan


class NoTrialError(ConflictError):
    code = "no_trial"
    title = "This account has no trial"


class TrialEndError(ConflictError):
    """An extension only adds: an end moves to later, and a trial without one keeps none."""

    code = "trial_end"
    title = "Invalid end of the trial"


class TrialUsedError(ConflictError):
    code = "trial_used"
    title = "Executions of the extension are in use"


@dataclass(frozen=True)
class Extension(RepairForm):
    """How many more executions, and a later end, within the next 3,660 days; one of them is
    needed."""

    executions: Annotated[
        int, Field(ge=0, le=MAX_EXECUTIONS), Input("More executions", Control.NUMBER)
    ] = 0
    ends_at: Annotated[
        datetime | None,
        Input("Valid through", Control.LAST_DAY, absent="This trial has no end date."),
    ] = None

    def check(self, staff: StaffActor, now: datetime) -> None:
        check_executions(self.executions, least=0)
        require_within_limit(staff, self.executions)
        if not self.executions and self.ends_at is None:
            raise InvalidInputError(
                "Enter executions, a new end date, or both.", field="executions"
            )
        check_end(self.ends_at, now)


@dataclass(frozen=True, slots=True)
class ExtensionPreview:
    """`ends_after` None: the end stays."""

    executions_before: int
    executions_after: int
    executions_used: int
    ends_before: datetime | None
    ends_after: datetime | None


async def preview(services: RepairServices, request: RepairRequest[Extension]) -> ExtensionPreview:
    """Raises NoTrialError, TrialEndError."""
    trial = next((p for p in await plans_of(services, request) if p.type is PlanType.TRIAL), None)
    if trial is None:
        raise NoTrialError
    form = request.form
    _require_later(trial.ends_at, form.ends_at, request.now)
    total = trial.executions
    return ExtensionPreview(total, total + form.executions, trial.used, trial.ends_at, form.ends_at)


async def extend(session: AsyncSession, request: RepairRequest[Extension]) -> RepairResult:
    """Add executions and move the end; a trial that had ended goes on.

    Raises NoTrialError, TrialEndError.
    """
    trial, form = await _lock_trial(session, request.account_id), request.form
    _require_later(trial.ends_at, form.ends_at, request.now)
    before = _figures(trial)
    trial.executions += form.executions
    trial.ends_at = form.ends_at or trial.ends_at
    _go_on(trial)
    session.add(trial)
    return RepairResult(plan_id_of(trial), before, _figures(trial))


async def undo(session: AsyncSession, request: RepairRequest[Any]) -> RepairResult:
    """The executions and the end from before. Raises TrialUsedError, ChangedSinceError."""
    trial, entry = await _lock_trial(session, request.account_id), request.entry_undone()
    current = _figures(trial)
    for name in ("executions", "ends_at"):
        if current[name] != entry.after[name]:
            raise ChangedSinceError(
                "The trial was extended again. Undo that extension first.", **current
            )
    executions: int = entry.before["executions"]
    if trial.used + trial.held > executions:
        raise TrialUsedError(
            f"{trial.used:,} used and {trial.held:,} reserved exceed the original {executions:,}.",
            executions_before=executions,
            executions_used=trial.used,
            executions_held=trial.held,
        )
    trial.executions = executions
    trial.ends_at = restored(entry.before["ends_at"])
    _end_again(trial, entry.before, request.now)
    session.add(trial)
    return RepairResult(plan_id_of(trial), current, _figures(trial))


def again(entry: AuditEntry) -> tuple[str, Extension]:
    before, after = entry.before, entry.after
    is_longer = after["ends_at"] != before["ends_at"]
    ends_at = restored(after["ends_at"]) if is_longer else None
    return account_of(entry), Extension(after["executions"] - before["executions"], ends_at)


def wording(before: Figures, after: Figures) -> str:
    more = after["executions"] - before["executions"]
    by = f" by {counted(more, 'execution')}" if more else ""
    is_longer = after["ends_at"] != before["ends_at"]
    end = f", valid through {last_day(after['ends_at'])}" if is_longer else ""
    return f"Trial extended{by}{end}"


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


def _require_later(current: datetime | None, ends_at: datetime | None, now: datetime) -> None:
    if current is None:
        if ends_at is not None:
            raise TrialEndError("The trial has no end date. Add executions only.")
        return
    last = last_day(current.isoformat())
    if ends_at is None:
        if current <= now:
            raise TrialEndError(f"The trial ended on {last}. Enter a new end date.")
    elif ends_at <= current:
        raise TrialEndError(
            f"The trial is already valid through {last}. Enter a later date.", ends_at=current
        )


def _go_on(trial: Plan) -> None:
    if trial.used < trial.executions:
        trial.ended_at = trial.ended_because = None
    elif trial.ended_at is not None:
        trial.ended_because = EndReason.DEPLETED


def _end_again(trial: Plan, before: Figures, now: datetime) -> None:
    """As it had ended before; a trial whose end has passed ends with the next decision."""
    if trial.used == trial.executions:
        was_depleted = before["ended_because"] == EndReason.DEPLETED
        trial.ended_at = (restored(before["ended_at"]) if was_depleted else trial.ended_at) or now
        trial.ended_because = EndReason.DEPLETED
    elif before["ended_because"] == EndReason.PERIOD_ENDED and not trial.held:
        trial.ended_at = restored(before["ended_at"])
        trial.ended_because = EndReason.PERIOD_ENDED


def _figures(trial: Plan) -> Figures:
    return {
        "executions": trial.executions,
        "ends_at": stored(trial.ends_at),
        "ended_at": stored(trial.ended_at),
        "ended_because": trial.ended_because,
    }


EXTEND_TRIAL: Final = Repair(
    name="extend_trial",
    action=Action.EXTEND_TRIAL,
    target=ACCOUNT,
    path="trial",
    title="Extend trial",
    explanation="Adds executions to the trial, moves its end date, or both.",
    form=Extension,
    preview=preview,
    apply=InSession(extend),
    undo=InSession(undo),
    wording=wording,
    shown=Shown.ON_TRIAL,
    again=again,
)
