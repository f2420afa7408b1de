"""Stopping and letting go on: one plan (pause, resume), or all of an account (block, unblock).

What runs already is honoured; nothing new is allowed while it is stopped. Time goes on.
"""

from datetime import datetime

from sqlmodel import col, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.errors import ConflictError
from billing_app.billing.overage.rules import reference_of
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.repairs import (
    AlreadySoError,
    RepairRequest,
    RepairResult,
    account_number,
    lock_plan,
    lock_plans,
    moment,
    moment_of,
    plan_id_of,
    plan_numbers,
    repair,
)
from billing_app.db.engine import Database
from billing_app.db.tables import Account, AuditEntry, Plan


class MovedOnError(ConflictError):
    code = "moved_on"
    title = "Somebody changed it again since"


async def pause_plan(
    database: Database,
    actor: Actor,
    plan_id: str,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Nothing new is taken from the plan. Raises ForbiddenError, PlanUnknownError,
    AlreadySoError, ConflictError when it has ended."""
    staff = require(actor, Action.PAUSE)
    account_id, sequence = plan_numbers(plan_id)

    async def change(session: AsyncSession, account: Account) -> RepairResult:
        plan = await lock_plan(session, account.id, sequence)
        if plan.ended_at is not None or (plan.ends_at is not None and plan.ends_at <= now):
            raise ConflictError("The plan has ended; there is nothing to pause.")
        return await _set_paused(session, plan, now)

    order = RepairRequest(staff, Action.PAUSE, account_id, reason, key, (plan_id,))
    return await repair(database, order, change, now)


async def resume_plan(
    database: Database,
    actor: Actor,
    plan_id: str,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """The plan may be used again. Raises as `pause_plan`."""
    staff = require(actor, Action.RESUME)
    account_id, sequence = plan_numbers(plan_id)

    async def change(session: AsyncSession, account: Account) -> RepairResult:
        plan = await lock_plan(session, account.id, sequence)
        return await _set_paused(session, plan, None)

    order = RepairRequest(staff, Action.RESUME, account_id, reason, key, (plan_id,))
    return await repair(database, order, change, now)


async def block_account(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Nothing new is allowed. Raises ForbiddenError, AccountNotFoundError, AlreadySoError."""
    staff = require(actor, Action.BLOCK)

    async def change(session: AsyncSession, account: Account) -> RepairResult:
        return await _set_blocked(session, account, now)

    order = RepairRequest(staff, Action.BLOCK, account_number(account_id), reason, key)
    return await repair(database, order, change, now)


async def unblock_account(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Plans count again. Raises as `block_account`."""
    staff = require(actor, Action.UNBLOCK)

    async def change(session: AsyncSession, account: Account) -> RepairResult:
        return await _set_blocked(session, account, None)

    order = RepairRequest(staff, Action.UNBLOCK, account_number(account_id), reason, key)
    return await repair(database, order, change, now)


async def put_pause_back(
    session: AsyncSession, account: Account, entry: AuditEntry, _: datetime
) -> RepairResult:
    """As it was before a pause or its end. Raises MovedOnError."""
    plan = await lock_plan(session, account.id, plan_numbers(entry.subject)[1])
    _require_same(entry, "paused_at", plan.paused_at)
    return await _set_paused(session, plan, moment_of(entry.before["paused_at"]))


async def put_block_back(
    session: AsyncSession, account: Account, entry: AuditEntry, _: datetime
) -> RepairResult:
    """As it was before a block or its end. Raises MovedOnError."""
    _require_same(entry, "blocked_at", account.blocked_at)
    return await _set_blocked(session, account, moment_of(entry.before["blocked_at"]))


async def _set_paused(session: AsyncSession, plan: Plan, at: datetime | None) -> RepairResult:
    """Also what may be used beyond it: or a pause would sell overage instead of what is paid."""
    if (plan.paused_at is None) is (at is None):
        raise AlreadySoError("The plan is paused." if at else "The plan is not paused.")
    before = {"paused_at": moment(plan.paused_at), "name": plan.name}
    plan.paused_at = at
    session.add(plan)
    if plan.source_reference:
        await session.exec(
            update(Plan)
            .where(col(Plan.account_id) == plan.account_id)
            .where(col(Plan.source_reference) == reference_of(plan.source_reference))
            .values(paused_at=at)
        )
    return RepairResult(plan_id_of(plan), before, {"paused_at": moment(at), "name": plan.name})


async def _set_blocked(
    session: AsyncSession, account: Account, at: datetime | None
) -> RepairResult:
    """The database copies it to the plans: they are locked first, by sequence."""
    if (account.blocked_at is None) is (at is None):
        raise AlreadySoError("The account is blocked." if at else "The account is not blocked.")
    await lock_plans(session, account.id)
    before = {"blocked_at": moment(account.blocked_at)}
    account.blocked_at = at
    session.add(account)
    await session.flush()
    return RepairResult(ids.encode_account(account.id), before, {"blocked_at": moment(at)})


def _require_same(entry: AuditEntry, name: str, found: datetime | None) -> None:
    if moment_of(entry.after[name]) != found:
        raise MovedOnError("Somebody changed it again since.", **{name: found})
