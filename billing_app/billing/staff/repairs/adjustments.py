"""Adjusting what a plan has used, up or down: a row of the ledger of its own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.executions.requests import Adjust
from billing_app.billing.executions.service import Ledger
from billing_app.billing.quantities import counted
from billing_app.billing.staff.access.permissions import (
    MAX_EXECUTIONS,
    Action,
    require_within_limit,
)
from billing_app.billing.staff.audit.audit_writing import one_line
from billing_app.billing.staff.repairs.drivers import InLedger, answer_of, event_number
from billing_app.billing.staff.repairs.fields import Control, Input, RepairForm
from billing_app.billing.staff.repairs.grants import GrantTakenBackError, require_not_taken_back
from billing_app.billing.staff.repairs.plan_rows import plan_of, sequence_of
from billing_app.billing.staff.repairs.repair import (
    PLAN,
    Figures,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
)
from billing_app.db.enums import EndReason, PlanSource

DIRECTIONS: Final = (("fewer", "Decrease used executions"), ("more", "Increase used executions"))


@dataclass(frozen=True)
class Adjustment(RepairForm):
    """How many more executions the plan has used; fewer when negative."""

    executions: Annotated[
        int,
        Field(ge=-MAX_EXECUTIONS, le=MAX_EXECUTIONS, json_schema_extra={"not": {"const": 0}}),
        Input("Executions", Control.CHANGE, choices=DIRECTIONS),
    ]

    def check(self, staff: StaffActor, now: datetime) -> None:
        if not 1 <= abs(self.executions) <= MAX_EXECUTIONS:
            raise InvalidInputError(
                f"Enter 1 to {MAX_EXECUTIONS:,} executions, more or fewer.",
                field="executions",
            )
        require_within_limit(staff, abs(self.executions))


@dataclass(frozen=True, slots=True)
class AdjustmentPreview:
    plan_name: str
    used_before: int
    used_after: int
    remaining_before: int
    remaining_after: int


async def preview(
    services: RepairServices, request: RepairRequest[Adjustment]
) -> AdjustmentPreview:
    """Raises PlanUnknownError, GrantTakenBackError, ConflictError when the plan does not have that
    many."""
    plan, change = await plan_of(services, request), request.form.executions
    is_revoked = (plan.source, plan.ended_because) == (PlanSource.STAFF_GRANT, EndReason.CANCELLED)
    if change > 0 and is_revoked:
        raise GrantTakenBackError(
            f"The grant of {counted(plan.executions, 'execution')} was revoked unused.",
            executions_total=plan.executions,
        )
    left = plan.executions - plan.held - plan.used
    found = AdjustmentPreview(plan.name, plan.used, plan.used + change, left, left - change)
    if found.used_after < 0 or found.remaining_after < 0:
        raise ConflictError(
            f"{plan.name} has {plan.used:,} of {plan.executions:,} used and {plan.held:,} reserved."
        )
    return found


async def adjust(ledger: Ledger, request: RepairRequest[Adjustment]) -> RepairResult:
    """Raises PlanUnknownError, AdjustmentExceedsError with the figures, GrantTakenBackError."""
    used = request.form.executions
    if used > 0:
        await require_not_taken_back(ledger, request.account_id, [request.number])
    part = (request.number, used)
    decided = await ledger.decide([Adjust(request.account_id, [part], one_line(request.reason))])
    event = event_number(answer_of(decided[0])["event_id"])
    return RepairResult(request.target_id, after={"executions": used, "event": event})


async def undo(ledger: Ledger, request: RepairRequest[Any]) -> RepairResult:
    """The opposite adjustment. Raises AdjustmentExceedsError or GrantTakenBackError when the plan
    has changed since."""
    entry, account_id = request.entry_undone(), request.account_id
    used, sequence = entry.after["executions"], sequence_of(entry.subject)
    if used < 0:
        await require_not_taken_back(ledger, account_id, [sequence])
    opposite = Adjust(account_id, [(sequence, -used)], "Undone", refers_to=entry.after["event"])
    answer_of((await ledger.decide([opposite]))[0])
    return RepairResult(entry.subject, {"executions": used}, {"executions": -used})


def wording(_: Figures, after: Figures) -> str:
    return f"Used executions corrected by {after['executions']:+,}"


ADJUST: Final = Repair(
    name="adjust",
    action=Action.ADJUST,
    target=PLAN,
    path="adjustments",
    title="Adjust used executions",
    explanation="Corrects a plan's used executions with a separate ledger row.",
    form=Adjustment,
    preview=preview,
    apply=InLedger(adjust),
    undo=InLedger(undo),
    wording=wording,
    counts_executions=True,
    target_input=Input("Plan", Control.CHOICE, source="plans"),
    again=lambda entry: (entry.subject, Adjustment(entry.after["executions"])),
)
