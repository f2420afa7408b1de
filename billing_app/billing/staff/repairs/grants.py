"""Granting executions: a plan of their own, and taking it back while it is whole."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.executions.service import Ledger
from billing_app.billing.staff.access.permissions import (
    LIMITS,
    Action,
    require,
    require_within_limit,
)
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.repairs import (
    RepairRequest,
    RepairResult,
    account_number,
    check_executions,
    lock_person,
    lock_plan,
    moment,
    plan_id_of,
    plan_numbers,
    repair,
)
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, PlanSource, PlanType
from billing_app.db.tables import Account, AuditEntry, Plan
from billing_app.db.tables.plans import PACK_PRIORITY

GRANT_NAME: Final = "Granted by support"
# One that ends is used before what was bought, one that does not after.
ENDING_PRIORITY: Final = 50
LASTING_PRIORITY: Final = PACK_PRIORITY
MAX_DAYS: Final = 3_660

GRANTED_SINCE: Final = text("""
SELECT coalesce(sum((e.after ->> 'executions')::bigint), 0)::bigint FROM audit_entries AS e
WHERE e.actor_id = :actor AND e.action = :action AND e.at >= :since
  AND NOT EXISTS (SELECT FROM audit_entries AS u WHERE u.undoes = e.id)
""")


TAKEN_BACK: Final = f"""
SELECT executions FROM plans
WHERE account_id = $1 AND sequence = ANY($2::int[])
  AND source = '{PlanSource.STAFF_GRANT}' AND ended_because = '{EndReason.CANCELLED}'
"""  # noqa: S608


class GrantUsedError(ConflictError):
    code = "grant_used"
    title = "Executions of this grant were used meanwhile"


class GrantTakenBackError(ConflictError):
    code = "grant_taken_back"
    title = "The grant that this would use was taken back"


async def grant_executions(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    executions: int,
    reason: str,
    now: datetime,
    ends_at: datetime | None = None,
    key: str | None = None,
) -> EntryView:
    """Queue a plan of so many executions, valid from now to `ends_at`.

    Raises ForbiddenError, OverLimitError, InvalidInputError, AccountNotFoundError.
    """
    staff = require(actor, Action.GRANT)
    check_executions(executions)
    require_within_limit(staff, executions)
    if ends_at is not None and not now < ends_at <= now + timedelta(days=MAX_DAYS):
        raise InvalidInputError(f"ends_at must be within {MAX_DAYS} days.", field="ends_at")

    async def change(session: AsyncSession, account: Account) -> RepairResult:
        await _require_within_day(session, staff, executions, now)
        plan = await _queue(session, account, executions, ends_at, now)
        after = {"plan_id": plan_id_of(plan), "executions": executions, "ends_at": moment(ends_at)}
        return RepairResult(plan_id_of(plan), after=after)

    order = RepairRequest(
        staff, Action.GRANT, account_number(account_id), reason, key, (executions, moment(ends_at))
    )
    return await repair(database, order, change, now)


async def take_grant_back(
    session: AsyncSession, account: Account, entry: AuditEntry, now: datetime
) -> RepairResult:
    """End the plan that a grant made. Raises GrantUsedError, ConflictError when it has ended."""
    plan = await lock_plan(session, account.id, plan_numbers(entry.subject)[1])
    if plan.used or plan.held:
        raise GrantUsedError(
            f"Of {plan.executions:,} executions {plan.used:,} are used and {plan.held:,} held.",
            executions_total=plan.executions,
            executions_used=plan.used,
            executions_held=plan.held,
        )
    if plan.ended_at is not None:
        raise ConflictError(f"The grant has ended already: {plan.ended_because}.")
    plan.ended_at, plan.ended_because = now, EndReason.CANCELLED
    session.add(plan)
    return RepairResult(plan_id_of(plan), before=entry.after)


async def require_not_taken_back(ledger: Ledger, account_id: int, sequences: Sequence[int]) -> None:
    """A grant is taken back only unused, so it must stay unused. Raises GrantTakenBackError."""
    rows = await ledger.connection.fetch(TAKEN_BACK, account_id, sequences)
    if rows:
        raise GrantTakenBackError(
            f"The {rows[0]['executions']:,} executions granted were taken back unused.",
            executions_total=rows[0]["executions"],
        )


async def _queue(
    session: AsyncSession,
    account: Account,
    executions: int,
    ends_at: datetime | None,
    now: datetime,
) -> Plan:
    last = select(func.max(col(Plan.sequence))).where(Plan.account_id == account.id)
    plan = Plan(
        account_id=account.id,
        sequence=((await session.exec(last)).one() or 0) + 1,
        type=PlanType.PAID,
        name=GRANT_NAME,
        source=PlanSource.STAFF_GRANT,
        priority=ENDING_PRIORITY if ends_at else LASTING_PRIORITY,
        executions=executions,
        starts_at=now,
        ends_at=ends_at,
        created_at=now,
    )
    session.add(plan)
    await session.flush()
    return plan


async def _require_within_day(
    session: AsyncSession, staff: StaffActor, executions: int, now: datetime
) -> None:
    if LIMITS[staff.role].per_day is None:
        return
    await lock_person(session, staff)
    since = now.replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"actor": staff.actor_id, "action": Action.GRANT, "since": since}
    connection = await session.connection()
    done_today = (await connection.execute(GRANTED_SINCE, values)).scalar_one()
    require_within_limit(staff, executions, done_today=int(done_today))
