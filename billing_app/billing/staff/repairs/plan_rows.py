"""Plans as repairs read and lock them."""

from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import PlanUnknownError
from billing_app.billing.plans.locking import lock_plans
from billing_app.billing.plans.service import CurrentPlan, PlanView, read_current, read_history
from billing_app.billing.staff.repairs.repair import RepairRequest, RepairServices
from billing_app.db.tables import Plan

MAX_PLANS: Final = 100


async def balance_of(services: RepairServices, request: RepairRequest[Any]) -> CurrentPlan:
    """What the account can use now."""
    return await read_current(services.database, request.staff, request.account, request.now)


async def plans_of(services: RepairServices, request: RepairRequest[Any]) -> list[PlanView]:
    """The newest MAX_PLANS of the account."""
    page = await read_history(
        services.database, request.staff, request.account, now=request.now, limit=MAX_PLANS
    )
    return page.items


async def plan_of(services: RepairServices, request: RepairRequest[Any]) -> PlanView:
    """The plan that the request is about. Raises PlanUnknownError."""
    for plan in await plans_of(services, request):
        if plan.sequence == request.number:
            return plan
    raise PlanUnknownError


async def lock_plan(session: AsyncSession, account_id: int, sequence: int) -> Plan:
    """The plan, and with it all others of the account. Raises PlanUnknownError."""
    for plan in await lock_plans(session, account_id):
        if plan.sequence == sequence:
            return plan
    raise PlanUnknownError


def plan_id_of(plan: Plan) -> str:
    return ids.encode(ids.PLAN, plan.account_id, plan.sequence)


def sequence_of(plan_id: str) -> int:
    """Of an id that we made."""
    pair = ids.decode(ids.PLAN, plan_id)
    assert pair is not None
    return pair[1]
