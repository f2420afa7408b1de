"""Stopping one plan (pause) or a whole account (block), and letting it go on.

Runs that have begun may finish; nothing new is allowed meanwhile. The period goes on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import AccountNotFoundError, ConflictError
from billing_app.billing.overage.rules import reference_of
from billing_app.billing.plans.locking import lock_plans
from billing_app.billing.plans.service import PlanState, PlanView
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.repairs.drivers import InSession
from billing_app.billing.staff.repairs.fields import NoFields, restored, stored
from billing_app.billing.staff.repairs.plan_rows import (
    balance_of,
    lock_plan,
    plan_id_of,
    plan_of,
    plans_of,
    sequence_of,
)
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    PLAN,
    AlreadyInStateError,
    ChangedSinceError,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    Shown,
    account_of,
)
from billing_app.db.enums import PlanSource
from billing_app.db.tables import Account, Plan

Request = RepairRequest[Any]


@dataclass(frozen=True, slots=True)
class PausePreview:
    """`plan_remaining` cannot be used until the plan is resumed; `plan_held` may still be. The
    account can use `executions_before` now, and `executions_after` then."""

    plan_name: str
    plan_remaining: int
    plan_held: int
    executions_before: int
    executions_after: int


@dataclass(frozen=True, slots=True)
class BlockPreview:
    executions_remaining: int
    executions_held: int


@dataclass(frozen=True, slots=True)
class ResumePreview:
    """`plan_name` is "" for all plans of the account."""

    plan_name: str
    executions_remaining: int


async def preview_pause(services: RepairServices, request: Request) -> PausePreview:
    """Raises PlanUnknownError, AlreadyInStateError, ConflictError for a plan that has ended."""
    plan, balance = await plan_of(services, request), await balance_of(services, request)
    _require_open(plan.ended_at, plan.ends_at, request.now)
    _require_other(plan.paused_at, request.now, "plan", "paused")
    before = balance.executions_remaining
    after = before - plan.remaining if plan.remaining <= before else before
    return PausePreview(plan.name, plan.remaining, plan.held, before, after)


async def preview_resume(services: RepairServices, request: Request) -> ResumePreview:
    """Raises PlanUnknownError, AlreadyInStateError."""
    plan = await plan_of(services, request)
    _require_other(plan.paused_at, None, "plan", "paused")
    return ResumePreview(plan.name, left_of([plan]))


async def preview_block(services: RepairServices, request: Request) -> BlockPreview:
    """Raises AccountNotFoundError, AlreadyInStateError."""
    await _require_block(services, request, request.now)
    balance = await balance_of(services, request)
    return BlockPreview(balance.executions_remaining, balance.executions_held)


async def preview_unblock(services: RepairServices, request: Request) -> ResumePreview:
    """Raises AccountNotFoundError, AlreadyInStateError."""
    await _require_block(services, request, None)
    return ResumePreview(
        "", left_of(plans_in_force(await plans_of(services, request), request.now))
    )


def plans_in_force(plans: list[PlanView], now: datetime) -> list[PlanView]:
    """Plans that could be used now if the account were not blocked, without overage."""
    return [
        plan
        for plan in plans
        if plan.state is not PlanState.ENDED
        and plan.source is not PlanSource.OVERAGE
        and plan.paused_at is None
        and plan.starts_at <= now
    ]


def left_of(plans: list[PlanView]) -> int:
    return sum(plan.executions - plan.used - plan.held for plan in plans)


async def pause(session: AsyncSession, request: Request) -> RepairResult:
    """Raises PlanUnknownError, AlreadyInStateError, ConflictError for a plan that has ended."""
    plan = await lock_plan(session, request.account_id, request.number)
    _require_open(plan.ended_at, plan.ends_at, request.now)
    return await _set_paused(session, plan, request.now)


async def resume(session: AsyncSession, request: Request) -> RepairResult:
    """Raises PlanUnknownError, AlreadyInStateError."""
    plan = await lock_plan(session, request.account_id, request.number)
    return await _set_paused(session, plan, None)


async def block(session: AsyncSession, request: Request) -> RepairResult:
    """Raises AlreadyInStateError."""
    return await _set_blocked(session, request, request.now)


async def unblock(session: AsyncSession, request: Request) -> RepairResult:
    """Raises AlreadyInStateError."""
    return await _set_blocked(session, request, None)


async def undo_pause(session: AsyncSession, request: Request) -> RepairResult:
    """Also of a resume. Raises ChangedSinceError."""
    entry = request.entry_undone()
    plan = await lock_plan(session, request.account_id, sequence_of(entry.subject))
    _require_unchanged(request, "paused_at", plan.paused_at)
    return await _set_paused(session, plan, restored(entry.before["paused_at"]))


async def undo_block(session: AsyncSession, request: Request) -> RepairResult:
    """Also of an unblock. Raises ChangedSinceError."""
    account = await session.get_one(Account, request.account_id)
    _require_unchanged(request, "blocked_at", account.blocked_at)
    return await _set_blocked(
        session, request, restored(request.entry_undone().before["blocked_at"])
    )


async def _set_paused(session: AsyncSession, plan: Plan, at: datetime | None) -> RepairResult:
    """Its overage too: else a pause would sell overage instead of what is paid."""
    _require_other(plan.paused_at, at, "plan", "paused")
    before = {"paused_at": stored(plan.paused_at), "name": plan.name}
    plan.paused_at = at
    session.add(plan)
    if plan.source_reference:
        await session.exec(
            update(Plan)
            .where(col(Plan.account_id) == plan.account_id)
            .where(col(Plan.source_reference) == reference_of(plan.source_reference))
            .values(paused_at=at)
        )
    return RepairResult(plan_id_of(plan), before, {"paused_at": stored(at), "name": plan.name})


async def _set_blocked(
    session: AsyncSession, request: Request, at: datetime | None
) -> RepairResult:
    """The account's plans are locked first, by sequence. The new block of the account then makes
    new plans wait (plans/inserting.py), so that it is copied to all there are."""
    account = await session.get_one(Account, request.account_id)
    _require_other(account.blocked_at, at, "account", "blocked")
    await lock_plans(session, account.id)
    before = {"blocked_at": stored(account.blocked_at)}
    account.blocked_at = at
    session.add(account)
    await session.flush()
    plans = update(Plan).where(col(Plan.account_id) == account.id)
    await session.exec(plans.values(blocked_at=at))
    return RepairResult(ids.encode_account(account.id), before, {"blocked_at": stored(at)})


async def _require_block(services: RepairServices, request: Request, at: datetime | None) -> None:
    async with services.database.reading() as session:
        account = await session.get(Account, request.account_id)
    if account is None:
        raise AccountNotFoundError
    _require_other(account.blocked_at, at, "account", "blocked")


def _require_open(ended_at: datetime | None, ends_at: datetime | None, now: datetime) -> None:
    if ended_at is not None or (ends_at is not None and ends_at <= now):
        raise ConflictError("The plan has already ended.")


def _require_other(current: datetime | None, at: datetime | None, noun: str, state: str) -> None:
    if (current is None) is (at is None):
        raise AlreadyInStateError(f"The {noun} is {'' if at else 'not '}{state}.")


def _require_unchanged(request: Request, name: str, current: datetime | None) -> None:
    if restored(request.entry_undone().after[name]) != current:
        raise ChangedSinceError("Someone has changed this since.", **{name: current})


PAUSE: Final = Repair(
    name="pause",
    action=Action.PAUSE,
    target=PLAN,
    title="Pause plan",
    explanation="Stops new executions on the plan. Executions already running can finish.",
    form=NoFields,
    preview=preview_pause,
    apply=InSession(pause),
    undo=InSession(undo_pause),
    wording=lambda _, after: f"{after['name']} paused",
    shown=Shown.IN_ROW,
    is_harsh=True,
    gives=False,
    again=lambda entry: (entry.subject, NoFields()),
)
RESUME: Final = Repair(
    name="resume",
    action=Action.RESUME,
    target=PLAN,
    title="Resume plan",
    explanation="Allows new executions on the plan again.",
    form=NoFields,
    preview=preview_resume,
    apply=InSession(resume),
    undo=InSession(undo_pause),
    wording=lambda _, after: f"{after['name']} resumed",
    shown=Shown.IN_ROW,
    again=lambda entry: (entry.subject, NoFields()),
)
BLOCK: Final = Repair(
    name="block",
    action=Action.BLOCK,
    target=ACCOUNT,
    title="Block account",
    explanation="Stops new executions on every plan of the account. Executions already running can"
    " finish.",
    form=NoFields,
    preview=preview_block,
    apply=InSession(block),
    undo=InSession(undo_block),
    wording=lambda _, __: "Account blocked",
    shown=Shown.WHILE_OPEN,
    is_harsh=True,
    gives=False,
    again=lambda entry: (account_of(entry), NoFields()),
)
UNBLOCK: Final = Repair(
    name="unblock",
    action=Action.UNBLOCK,
    target=ACCOUNT,
    title="Unblock account",
    explanation="Allows new executions on the account's plans again.",
    form=NoFields,
    preview=preview_unblock,
    apply=InSession(unblock),
    undo=InSession(undo_block),
    wording=lambda _, __: "Account unblocked",
    shown=Shown.WHILE_BLOCKED,
    gives=False,
    again=lambda entry: (account_of(entry), NoFields()),
)
