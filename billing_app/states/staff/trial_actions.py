"""Extending a trial: what it would change, and doing it."""

from datetime import datetime

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.plans.service import PlanView
from billing_app.billing.staff.access.permissions import require_within_limit
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.repairs import check_executions
from billing_app.billing.staff.repairs.trial_extensions import (
    NoTrialError,
    TrialEndError,
    extend_trial,
)
from billing_app.composition import get_services
from billing_app.db.enums import PlanType
from billing_app.states import formatting
from billing_app.states.staff.repair_form import (
    RepairForm,
    all_plans,
    coming_end,
    last_day,
    last_moment,
    optional_number,
)


async def foresee_extension(asked: RepairForm) -> list[str]:
    """Refuses what extend_trial would refuse, before anybody says yes."""
    trial = next((p for p in await all_plans(asked) if p.type is PlanType.TRIAL), None)
    if trial is None:
        raise NoTrialError
    more, ends_at = optional_number(asked, "executions"), coming_end(asked)
    if not more and ends_at is None:
        raise InvalidInputError("Give executions, a new end, or both.", field="executions")
    check_executions(more, least=0)
    require_within_limit(asked.staff, more)
    _require_later(trial, ends_at, asked.now)
    told: list[str] = []
    if more:
        total = trial.executions
        told.append(
            f"The trial has {formatting.number(total + more)} executions instead of"
            f" {formatting.number(total)}; {formatting.number(trial.used)} are used."
        )
    if ends_at is not None and trial.ends_at is not None:
        told.append(
            f"It is valid through {last_day(ends_at)} instead of {last_day(trial.ends_at)}."
        )
    return told


def _require_later(trial: PlanView, ends_at: datetime | None, now: datetime) -> None:
    if trial.ends_at is None:
        if ends_at is not None:
            raise TrialEndError("The trial has no end; add executions only.")
        return
    last = last_day(trial.ends_at)
    if ends_at is None:
        if trial.ends_at <= now:
            raise TrialEndError(f"The trial was valid through {last}; give it a new end.")
    elif ends_at <= trial.ends_at:
        raise TrialEndError(f"The trial is valid through {last} already; give it a later end.")


async def extend(asked: RepairForm, key: str) -> EntryView:
    return await extend_trial(
        get_services().database,
        asked.staff,
        asked.account_id,
        executions=optional_number(asked, "executions"),
        ends_at=last_moment(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )
