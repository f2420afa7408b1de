"""Repairs of accounts: preview, carry out, undo. Who may and how much is checked here."""

from datetime import datetime
from typing import Any

from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.errors import AccountNotFoundError, ConflictError, InvalidInputError
from billing_app.billing.staff.access.permissions import Action, require, require_within_limit
from billing_app.billing.staff.audit.audit_reading import (
    EntryNotFoundError,
    EntryView,
    decode_entry,
)
from billing_app.billing.staff.repairs.drivers import (
    SessionTransaction,
    check_request,
    require_not_own,
)
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.registry import BY_ACTION
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    F,
    Repair,
    RepairRequest,
    RepairServices,
)
from billing_app.db.engine import Database
from billing_app.db.tables import AuditEntry


class NotUndoableError(ConflictError):
    code = "not_undoable"
    title = "This cannot be undone"


async def carry_out(  # noqa: PLR0913 - what, on what, why, when, and after which preview
    services: RepairServices,
    actor: Actor,
    repair: Repair[F],
    target_id: str,
    form: F,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
    agreed: Any = None,
) -> EntryView:
    """Do it, with an entry in the audit log. `agreed` is the preview that was confirmed.

    Raises ForbiddenError, OverLimitError, InvalidInputError, the target's "not found", and what the
    repair's `apply` raises.
    """
    request = _request(
        actor, repair, target_id, form, reason=reason, now=now, key=key, agreed=agreed
    )
    check_request(request)
    try:
        return await repair.apply.run(services, request)
    except AccountNotFoundError:
        raise repair.target.unknown from None


async def preview(
    services: RepairServices,
    actor: Actor,
    repair: Repair[F],
    target_id: str,
    form: F,
    now: datetime,
) -> Any:
    """The preview that the API offers of it. Raises as `carry_out`; changes nothing."""
    assert repair.preview_route is not None
    request = _request(actor, repair, target_id, form, now=now)
    return await repair.preview_route.preview(services, request)


async def review(
    services: RepairServices,
    actor: Actor,
    repair: Repair[F],
    target_id: str,
    form: F,
    *,
    account_id: str,
    now: datetime,
) -> Any:
    """What it would change, before somebody confirms it on the page of `account_id`.

    Raises as `carry_out`; changes nothing.
    """
    request = _request(actor, repair, target_id, form, now=now)
    if request.account != account_id:
        noun = repair.target.noun
        raise InvalidInputError(f"This {noun} belongs to another account.", field=noun)
    async with services.database.reading() as session:
        await require_not_own(SessionTransaction(session), request)
    return await repair.preview(services, request)


async def undo(
    services: RepairServices,
    actor: Actor,
    entry_id: str,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Undo a repair by one that compensates it, once. Takes the role, and the limit, of the repair.

    Raises EntryNotFoundError, ForbiddenError, OverLimitError, NotUndoableError,
    AlreadyUndoneError, and a ConflictError with the figures when the state has changed since.
    """
    staff = require(actor, Action.UNDO)
    entry = await _find(services.database, entry_id)
    repair = _undoable_by(staff, entry)
    assert entry.account_id is not None
    request = RepairRequest(
        staff,
        Action.UNDO,
        entry.account_id,
        NoFields(),
        now,
        target_id=entry_id,
        reason=reason,
        key=key,
        undone=entry,
    )
    check_request(request)
    assert repair.undo is not None
    return await repair.undo.run(services, request)


def _request(
    actor: Actor, repair: Repair[F], target_id: str, form: F, *, now: datetime, **more: Any
) -> RepairRequest[F]:
    """Raises ForbiddenError, OverLimitError, InvalidInputError, the target's "not found"."""
    staff = require(actor, repair.action)
    form.check(staff, now)
    account_id, number = repair.target.numbers(target_id)
    named = "" if repair.target is ACCOUNT else target_id
    return RepairRequest(
        staff, repair.action, account_id, form, now, target_id=named, number=number, **more
    )


async def _find(database: Database, entry_id: str) -> AuditEntry:
    number = decode_entry(entry_id)
    async with database.reading() as session:
        entry = await session.get(AuditEntry, number) if number is not None else None
    if entry is None:
        raise EntryNotFoundError
    return entry


def _undoable_by(staff: StaffActor, entry: AuditEntry) -> Repair[Any]:
    repair = BY_ACTION.get(entry.action)
    if repair is None or repair.undo is None:
        raise NotUndoableError(f"The action {entry.action} cannot be undone.")
    require(staff, repair.action)
    if repair.counts_executions:
        require_within_limit(staff, abs(entry.after.get("executions", 0)))
    return repair
