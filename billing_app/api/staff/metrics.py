"""The figures of all accounts over HTTP; each is defined in docs/reference/metrics.md."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, StaffCall
from billing_app.api.staff.page_params import PageParams, page_body, sorted_by
from billing_app.api.usage import DayParameter, days_of
from billing_app.billing.lists.sorting import Order
from billing_app.billing.staff.operations import metrics
from billing_app.billing.staff.operations.metrics import NearSort, PlatformOverview

router = APIRouter(
    route_class=JsonRoute,
    prefix=f"{ADMIN_PREFIX}/metrics",
    tags=["staff: metrics"],
    responses=PROBLEMS,
)


@router.get("")
async def overview(
    call: StaffCall,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
) -> PlatformOverview:
    """Daily figures, the last 30 days by default, and current totals."""
    days = days_of(first, last, call.now.date())
    return await metrics.read_overview(call.database, call.actor, days, call.now)


@router.get("/near-limit")
async def near_limit(
    call: StaffCall,
    page: Annotated[PageParams[NearSort], sorted_by(NearSort.LEFT, Order.ASCENDING)],
) -> dict[str, Any]:
    """Accounts near their limit, fewest executions remaining first by default."""
    return page_body(await metrics.list_near_limit(call.database, call.actor, now=call.now, **page))
