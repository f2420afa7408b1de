"""Plans that services add: executions that were sold elsewhere.

A retry with the same key gets the first answer byte for byte, whenever it comes: keys are kept as
long as their plans.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.names import checked_name
from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.accounts.service import key_may_read
from billing_app.billing.accounts.service_keys import require_service
from billing_app.billing.actors import Actor
from billing_app.billing.errors import (
    AccountNotFoundError,
    IdempotencyKeyRequiredError,
    IdempotencyKeyReusedError,
    InvalidInputError,
)
from billing_app.billing.offers.catalogue import MAX_OFFER_EXECUTIONS, MAX_PRIORITY
from billing_app.billing.plans.inserting import add_plan
from billing_app.billing.staff.audit.audit_writing import (
    BY_SERVICE,
    ServiceAction,
    clean_reason,
    service_entry,
)
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource, PlanType, Scope
from billing_app.db.tables import Account, GrantedPlan, Plan
from billing_app.db.tables.plans import PACK_PRIORITY, QUEUE_PRIORITY

DEFAULT_NAME: Final = "Executions"
MAX_KEY_LENGTH: Final = 255
MAX_DAYS: Final = 3_660


@dataclass(frozen=True, slots=True)
class PlanGrant:
    """`starts_at` None: now; `ends_at` None: never. `priority` None: beside subscriptions with an
    end, after them without one."""

    executions: int
    name: str = DEFAULT_NAME
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    priority: int | None = None
    reason: str = BY_SERVICE

    def fingerprint(self) -> bytes:
        """Stored ones are compared with it: keep it."""
        return blake2b(msgspec.json.encode(asdict(self)), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class GrantedPlanView:
    """The plan as it was added."""

    id: str
    account_id: str
    type: PlanType
    name: str
    executions: int
    starts_at: datetime
    ends_at: datetime | None
    priority: int
    reason: str
    created_at: datetime


async def grant_plan(
    database: Database, actor: Actor, account_id: str, grant: PlanGrant, *, key: str, now: datetime
) -> tuple[bytes, bool]:
    """The answer (a GrantedPlanView as JSON), and whether it is the first one again.

    Raises InvalidInputError, IdempotencyKeyRequiredError, IdempotencyKeyReusedError,
    AccountNotFoundError, ForbiddenError, ScopeMissingError, AccountClosedError.
    """
    service = require_service(actor, Scope.PLANS_WRITE)
    _check_key(key)
    grant = _checked(grant, now)
    number = ids.decode_account(account_id)
    async with database.transaction() as session:
        account = await session.get(Account, number or 0, with_for_update=True)
        if account is None or not key_may_read(service, account.organization_id, account.id):
            raise AccountNotFoundError
        known = await session.get(GrantedPlan, (account.id, key))
        if known is not None:
            if known.request_hash != grant.fingerprint():
                raise IdempotencyKeyReusedError
            return known.answer, True
        await require_not_closed(session, account.id)
        plan = await _add(session, account.id, grant, now)
        view = _view(plan, grant.reason)
        answer = msgspec.json.encode(view)
        after = {"plan_id": view.id, "executions": plan.executions}
        session.add(
            service_entry(
                service,
                account.id,
                ServiceAction.ADD_PLAN,
                now,
                subject=view.id,
                reason=grant.reason,
                after=after,
            )
        )
        session.add(
            GrantedPlan(
                account_id=account.id,
                key=key,
                request_hash=grant.fingerprint(),
                answer=answer,
                created_at=now,
            )
        )
    return answer, False


def _check_key(key: str) -> None:
    if not key:
        raise IdempotencyKeyRequiredError("Send an Idempotency-Key: a retry must not add a plan.")
    if len(key) > MAX_KEY_LENGTH or not key.isprintable():
        raise InvalidInputError(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable characters.",
            field="idempotency_key",
        )


def _checked(grant: PlanGrant, now: datetime) -> PlanGrant:
    """Raises InvalidInputError."""
    if not 1 <= grant.executions <= MAX_OFFER_EXECUTIONS:
        raise InvalidInputError(
            f"executions must be from 1 to {MAX_OFFER_EXECUTIONS}.", field="executions"
        )
    if grant.priority is not None and not 1 <= grant.priority <= MAX_PRIORITY:
        raise InvalidInputError(f"priority must be from 1 to {MAX_PRIORITY}.", field="priority")
    latest = timedelta(days=MAX_DAYS)
    if grant.starts_at is not None and abs(grant.starts_at - now) > latest:
        raise InvalidInputError(f"starts_at must be within {MAX_DAYS:,} days.", field="starts_at")
    if grant.ends_at is not None:
        first = max(now, grant.starts_at or now)
        if not first < grant.ends_at <= now + 2 * latest:
            raise InvalidInputError(
                "ends_at must be in the future, after starts_at, and at most"
                f" {2 * MAX_DAYS:,} days away.",
                field="ends_at",
            )
    return PlanGrant(
        executions=grant.executions,
        name=checked_name(grant.name),
        starts_at=grant.starts_at,
        ends_at=grant.ends_at,
        priority=grant.priority,
        reason=clean_reason(grant.reason),
    )


async def _add(session: AsyncSession, account_id: int, grant: PlanGrant, now: datetime) -> Plan:
    last = select(func.max(col(Plan.sequence))).where(Plan.account_id == account_id)
    usual = QUEUE_PRIORITY if grant.ends_at else PACK_PRIORITY
    plan = Plan(
        account_id=account_id,
        sequence=((await session.exec(last)).one() or 0) + 1,
        type=PlanType.PAID,
        name=grant.name,
        source=PlanSource.CONTRACT,
        priority=usual if grant.priority is None else grant.priority,
        executions=grant.executions,
        starts_at=grant.starts_at or now,
        ends_at=grant.ends_at,
        created_at=now,
    )
    await add_plan(session, plan)
    return plan


def _view(plan: Plan, reason: str) -> GrantedPlanView:
    return GrantedPlanView(
        id=ids.encode(ids.PLAN, plan.account_id, plan.sequence),
        account_id=ids.encode_account(plan.account_id),
        type=PlanType(plan.type),
        name=plan.name,
        executions=plan.executions,
        starts_at=plan.starts_at,
        ends_at=plan.ends_at,
        priority=plan.priority,
        reason=reason,
        created_at=plan.created_at,
    )
