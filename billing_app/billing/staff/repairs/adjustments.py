"""Adjusting what a plan has used, up or down: a row of the ledger of its own."""

from datetime import datetime

from billing_app.billing.actors import Actor
from billing_app.billing.errors import AccountNotFoundError, InvalidInputError, PlanUnknownError
from billing_app.billing.executions.requests import Adjust
from billing_app.billing.executions.service import Executions, Ledger
from billing_app.billing.staff.access.permissions import (
    MAX_EXECUTIONS,
    Action,
    require,
    require_within_limit,
)
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.grants import require_not_taken_back
from billing_app.billing.staff.repairs.ledger_repairs import answer_of, event_number, repair_ledger
from billing_app.billing.staff.repairs.repairs import RepairRequest, RepairResult, plan_numbers
from billing_app.db.tables import AuditEntry


async def adjust_executions(
    executions: Executions,
    actor: Actor,
    plan_id: str,
    *,
    used: int,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Count `used` more executions on a plan, or fewer when it is negative.

    Raises ForbiddenError, OverLimitError, InvalidInputError, PlanUnknownError,
    AdjustmentExceedsError with the plan's figures, GrantTakenBackError.
    """
    staff = require(actor, Action.ADJUST)
    if not 1 <= abs(used) <= MAX_EXECUTIONS:
        raise InvalidInputError(
            f"executions must be from 1 to {MAX_EXECUTIONS:,}, or as many below 0.",
            field="executions",
        )
    require_within_limit(staff, abs(used))
    account_id, sequence = plan_numbers(plan_id)

    async def correct(ledger: Ledger) -> RepairResult:
        if used > 0:
            await require_not_taken_back(ledger, account_id, [sequence])
        request = Adjust(account_id, [(sequence, used)], reason.strip())
        answer = answer_of((await ledger.decide([request]))[0])
        after = {"executions": used, "event": event_number(answer["event_id"])}
        return RepairResult(plan_id, after=after)

    order = RepairRequest(staff, Action.ADJUST, account_id, reason, key, (plan_id, used))
    try:
        return await repair_ledger(executions, order, correct, now)
    except AccountNotFoundError:
        raise PlanUnknownError from None


async def take_adjustment_back(ledger: Ledger, account_id: int, entry: AuditEntry) -> RepairResult:
    """The other way round. Raises AdjustmentExceedsError or GrantTakenBackError when the plan moved
    on meanwhile."""
    used, sequence = entry.after["executions"], plan_numbers(entry.subject)[1]
    if used < 0:
        await require_not_taken_back(ledger, account_id, [sequence])
    request = Adjust(account_id, [(sequence, -used)], "Undone", refers_to=entry.after["event"])
    answer_of((await ledger.decide([request]))[0])
    return RepairResult(entry.subject, {"executions": used}, {"executions": -used})
