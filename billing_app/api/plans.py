"""Plans over HTTP: current plan and history."""

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.parameters import Cursor, Limit
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.plans import service as plans
from billing_app.billing.plans.service import CurrentPlan
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.next_executions import NextExecutions

router = APIRouter(prefix="/billing/plans", tags=["plans"])


class NoPlanError(NotFoundError):
    code = "plan_not_found"
    title = "This account has no plan"


@router.get("/current", response_model=dict[str, Any])
async def current(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> Response:
    """The current plan, the account's numbers, its upcoming plans in the order of use, and what
    comes next by itself."""
    summary = await read_summary(services.database, actor, account_id, now)
    body = encode_current(summary.current, summary.next_executions)
    if body is None:
        raise NoPlanError
    return Response(body, media_type="application/json")


def encode_current(
    current_plan: CurrentPlan, next_executions: NextExecutions | None
) -> bytes | None:
    """The answer; None: the account has no plan."""
    if current_plan.plan is None and not current_plan.upcoming:
        return None
    answer = {
        "account_id": current_plan.account_id,
        "plan": current_plan.plan,
        "executions_total": current_plan.executions_total,
        "executions_used": current_plan.executions_used,
        "executions_held": current_plan.executions_held,
        "executions_remaining": current_plan.executions_remaining,
        "period_end": current_plan.period_end,
        "upcoming": current_plan.upcoming,
        "overage": current_plan.overage,
        "next_executions": next_executions,
    }
    return msgspec.json.encode(answer)


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
