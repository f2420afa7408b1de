"""Plans over HTTP: current plan and history."""

from typing import Any

from fastapi import APIRouter

from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.parameters import Cursor, Limit
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.plans import service as plans

router = APIRouter(prefix="/billing/plans", tags=["plans"])


class NoPlanError(NotFoundError):
    code = "plan_not_found"
    title = "This account has no plan"


@router.get("/current")
async def current(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> dict[str, Any]:
    """The current plan, the account's numbers, and its upcoming plans in the order of use."""
    current_plan = await plans.read_current(services.database, actor, account_id, now)
    if current_plan.plan is None and not current_plan.upcoming:
        raise NoPlanError
    return {
        "account_id": current_plan.account_id,
        "plan": current_plan.plan,
        "executions_total": current_plan.executions_total,
        "executions_used": current_plan.executions_used,
        "executions_held": current_plan.executions_held,
        "executions_remaining": current_plan.executions_remaining,
        "period_end": current_plan.period_end,
        "upcoming": current_plan.upcoming,
        "overage": current_plan.overage,
    }


@router.get("/history")
async def history(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    now: Now,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """All plans of the account, newest first, with start, end and reason."""
    page = await plans.read_history(
        services.database, actor, account_id, now=now, limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}
