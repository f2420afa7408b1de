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
    found = await plans.read_current(services.database, actor, account_id, now)
    if found.plan is None and not found.upcoming:
        raise NoPlanError
    return {
        "account_id": found.account_id,
        "plan": found.plan,
        "executions_total": found.executions_total,
        "executions_used": found.executions_used,
        "executions_held": found.executions_held,
        "executions_remaining": found.executions_remaining,
        "period_end": found.period_end,
        "upcoming": found.upcoming,
        "overage": found.overage,
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
