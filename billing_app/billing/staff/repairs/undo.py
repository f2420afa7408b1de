"""Undoing a repair by a compensating one that names it; each at most once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.errors import ConflictError
from billing_app.billing.executions.service import Executions, Ledger
from billing_app.billing.staff.access.permissions import (
    UNDOABLE,
    Action,
    require,
    require_within_limit,
)
from billing_app.billing.staff.audit.audit_reading import (
    EntryNotFoundError,
    EntryView,
    decode_entry,
)
from billing_app.billing.staff.repairs.adjustments import take_adjustment_back
from billing_app.billing.staff.repairs.grants import take_grant_back
from billing_app.billing.staff.repairs.ledger_repairs import repair_ledger
from billing_app.billing.staff.repairs.moves import Moves
from billing_app.billing.staff.repairs.refunds import take_refunds_back
from billing_app.billing.staff.repairs.repairs import RepairRequest, RepairResult, repair
from billing_app.billing.staff.repairs.stops import put_block_back, put_pause_back
from billing_app.billing.staff.repairs.trial_extensions import take_extension_back
from billing_app.db.engine import Database
from billing_app.db.tables import Account, AuditEntry

TakeBack = Callable[[AsyncSession, Account, AuditEntry, datetime], Awaitable[RepairResult]]
TakeBackOfLedger = Callable[[Ledger, int, AuditEntry], Awaitable[RepairResult]]

OF_PLANS: Final[dict[str, TakeBack]] = {
    Action.GRANT: take_grant_back,
    Action.EXTEND_TRIAL: take_extension_back,
    Action.PAUSE: put_pause_back,
    Action.RESUME: put_pause_back,
    Action.BLOCK: put_block_back,
    Action.UNBLOCK: put_block_back,
}
OF_LEDGER: Final[dict[str, TakeBackOfLedger]] = {
    Action.REFUND: take_refunds_back,
    Action.ADJUST: take_adjustment_back,
}


class NotUndoableError(ConflictError):
    code = "not_undoable"
    title = "This cannot be undone"


@dataclass(frozen=True, slots=True)
class Undoing:
    """What undoing may touch."""

    database: Database
    executions: Executions
    moves: Moves


async def undo(
    services: Undoing,
    actor: Actor,
    entry_id: str,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Takes the role, and the limit, of what is undone.

    Raises EntryNotFoundError, ForbiddenError, OverLimitError, NotUndoableError,
    AlreadyUndoneError, and a ConflictError with the figures when the state has moved on.
    """
    staff = require(actor, Action.UNDO)
    entry = await _find(services.database, entry_id)
    _require_as_for(staff, entry)
    assert entry.account_id is not None
    order = RepairRequest(
        staff, Action.UNDO, entry.account_id, reason, key, (entry_id,), undoes=entry.id
    )
    if entry.action in OF_PLANS:
        take_back = OF_PLANS[entry.action]

        async def change(session: AsyncSession, account: Account) -> RepairResult:
            return await take_back(session, account, entry, now)

        return await repair(services.database, order, change, now)
    if entry.action in OF_LEDGER:
        take_back_of_ledger = OF_LEDGER[entry.action]

        async def correct(ledger: Ledger) -> RepairResult:
            return await take_back_of_ledger(ledger, order.account_id, entry)

        return await repair_ledger(services.executions, order, correct, now)
    return await services.moves.take_back(order, entry, now)


async def _find(database: Database, entry_id: str) -> AuditEntry:
    number = decode_entry(entry_id)
    async with database.reading() as session:
        entry = await session.get(AuditEntry, number) if number is not None else None
    if entry is None:
        raise EntryNotFoundError
    return entry


def _require_as_for(staff: StaffActor, entry: AuditEntry) -> None:
    if entry.action not in UNDOABLE:
        raise NotUndoableError(f"An entry of {entry.action} cannot be undone.")
    require(staff, Action(entry.action))
    executions = entry.after.get("executions", 0)
    if entry.action in {Action.GRANT, Action.REFUND, Action.ADJUST}:
        require_within_limit(staff, abs(executions))
