"""Granting executions: a plan of their own, which can be taken back while it is unused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from sqlalchemy import text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import ConflictError
from billing_app.billing.executions.service import Ledger
from billing_app.billing.plans.inserting import insert_plan
from billing_app.billing.quantities import counted
from billing_app.billing.staff.access.permissions import LIMITS, Action, require_within_limit
from billing_app.billing.staff.repairs.drivers import InSession
from billing_app.billing.staff.repairs.fields import (
    Control,
    Executions,
    Input,
    RepairForm,
    check_end,
    check_executions,
    last_day,
    restored,
    stored,
)
from billing_app.billing.staff.repairs.plan_rows import (
    balance_of,
    lock_plan,
    plan_id_of,
    sequence_of,
)
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    Figures,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    account_of,
)
from billing_app.db.enums import EndReason, PlanSource, PlanType
from billing_app.db.tables import Account, AuditEntry, Plan
from billing_app.db.tables.plans import PACK_PRIORITY, QUEUE_PRIORITY

GRANT_NAME: Final = "Granted by support"
# A grant with an end takes its turn among subscriptions by that end, so that no paid period expires
# behind it; one without an end is used after them, like a pack.
ENDING_PRIORITY: Final = QUEUE_PRIORITY
LASTING_PRIORITY: Final = PACK_PRIORITY

GRANTED_SINCE: Final = text("""
SELECT coalesce(sum((e.after ->> 'executions')::bigint), 0)::bigint FROM audit_entries AS e
WHERE e.actor_id = :actor AND e.action = :action AND e.at >= :since
  AND NOT EXISTS (SELECT FROM audit_entries AS u WHERE u.undoes = e.id)
""")
ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('staff ' || :id, 0))")
REVOKED_GRANTS: Final = f"""
SELECT executions FROM plans
WHERE account_id = $1 AND sequence = ANY($2::int[])
  AND source = '{PlanSource.STAFF_GRANT}' AND ended_because = '{EndReason.CANCELLED}'
"""  # noqa: S608


class GrantUsedError(ConflictError):
    code = "grant_used"
    title = "Executions of this grant are in use"


class GrantTakenBackError(ConflictError):
    code = "grant_taken_back"
    title = "The grant was revoked"


@dataclass(frozen=True)
class Grant(RepairForm):
    """`ends_at` null: until they are used up; else within the next 3,660 days."""

    executions: Annotated[Executions, Input("Executions", Control.NUMBER)]
    ends_at: Annotated[
        datetime | None, Input("Valid through", Control.LAST_DAY, "Leave empty for no end date")
    ] = None

    def check(self, staff: StaffActor, now: datetime) -> None:
        check_executions(self.executions)
        require_within_limit(staff, self.executions)
        check_end(self.ends_at, now)


@dataclass(frozen=True, slots=True)
class GrantPreview:
    """`is_blocked`: nothing of it can be used before somebody unblocks the account."""

    executions: int
    ends_at: datetime | None
    executions_remaining: int
    is_blocked: bool = False


async def preview(services: RepairServices, request: RepairRequest[Grant]) -> GrantPreview:
    """Raises AccountNotFoundError, OverLimitError."""
    balance, form = await balance_of(services, request), request.form
    async with services.database.reading() as session:
        await _require_within_day(session, request)
        account = await session.get_one(Account, request.account_id)
    is_blocked = account.blocked_at is not None
    return GrantPreview(form.executions, form.ends_at, balance.executions_remaining, is_blocked)


async def grant(session: AsyncSession, request: RepairRequest[Grant]) -> RepairResult:
    """Queue a plan that is valid from now to `ends_at`. Raises OverLimitError."""
    if LIMITS[request.staff.role].per_day is not None:
        await (await session.connection()).execute(ONE_AT_A_TIME, {"id": request.staff.actor_id})
    await _require_within_day(session, request)
    plan = await _queue(session, request)
    plan_id, form = plan_id_of(plan), request.form
    after = {"plan_id": plan_id, "executions": form.executions, "ends_at": stored(form.ends_at)}
    return RepairResult(plan_id, after=after)


async def take_back(session: AsyncSession, request: RepairRequest[Any]) -> RepairResult:
    """End the granted plan. Raises GrantUsedError, ConflictError when it has ended."""
    entry = request.entry_undone()
    plan = await lock_plan(session, request.account_id, sequence_of(entry.subject))
    if plan.used or plan.held:
        raise GrantUsedError(
            f"Of {counted(plan.executions, 'execution')}, {plan.used:,} used,"
            f" {plan.held:,} reserved.",
            executions_total=plan.executions,
            executions_used=plan.used,
            executions_held=plan.held,
        )
    if plan.ended_at is not None:
        raise ConflictError(f"The grant has already ended: {plan.ended_because}.")
    plan.ended_at, plan.ended_because = request.now, EndReason.CANCELLED
    session.add(plan)
    return RepairResult(entry.subject, before=entry.after)


async def require_not_taken_back(ledger: Ledger, account_id: int, sequences: Sequence[int]) -> None:
    """Only an unused grant is taken back, so it must stay unused. Raises GrantTakenBackError."""
    rows = await ledger.connection.fetch(REVOKED_GRANTS, account_id, sequences)
    if rows:
        raise GrantTakenBackError(
            f"The grant of {counted(rows[0]['executions'], 'execution')} was revoked unused.",
            executions_total=rows[0]["executions"],
        )


def again(entry: AuditEntry) -> tuple[str, Grant]:
    form = Grant(entry.after["executions"], restored(entry.after["ends_at"]))
    return account_of(entry), form


def wording(_: Figures, after: Figures) -> str:
    end = f", valid through {last_day(after['ends_at'])}" if after["ends_at"] else ""
    return f"{counted(after['executions'], 'execution')} granted{end}"


async def _queue(session: AsyncSession, request: RepairRequest[Grant]) -> Plan:
    account_id, now, ends_at = request.account_id, request.now, request.form.ends_at
    last = select(func.max(col(Plan.sequence))).where(Plan.account_id == account_id)
    plan = Plan(
        account_id=account_id,
        sequence=((await session.exec(last)).one() or 0) + 1,
        type=PlanType.PAID,
        name=GRANT_NAME,
        source=PlanSource.STAFF_GRANT,
        priority=ENDING_PRIORITY if ends_at else LASTING_PRIORITY,
        executions=request.form.executions,
        starts_at=now,
        ends_at=ends_at,
        created_at=now,
    )
    await insert_plan(session, plan)
    return plan


async def _require_within_day(session: AsyncSession, request: RepairRequest[Grant]) -> None:
    staff = request.staff
    if LIMITS[staff.role].per_day is None:
        return
    connection = await session.connection()
    since = request.now.replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"actor": staff.actor_id, "action": Action.GRANT, "since": since}
    done_today = int((await connection.execute(GRANTED_SINCE, values)).scalar_one())
    require_within_limit(staff, request.form.executions, done_today=done_today)


GRANT: Final = Repair(
    name="grant",
    action=Action.GRANT,
    target=ACCOUNT,
    path="grants",
    title="Grant executions",
    explanation="Adds a separate plan that lasts until its end date or until it is used up.",
    form=Grant,
    preview=preview,
    apply=InSession(grant),
    undo=InSession(take_back),
    wording=wording,
    worded=frozenset({"executions", "ends_at"}),
    counts_executions=True,
    again=again,
)
