"""The figures of all accounts over HTTP; each is defined in docs/reference/metrics.md."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, StaffNow
from billing_app.api.staff.page_params import PageParams, asked, listed
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
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
) -> PlatformOverview:
    """By day, of the last 30 days unless said otherwise; the other figures are as of now."""
    days = days_of(first, last, now.date())
    return await metrics.read_overview(services.database, actor, days, now)


@router.get("/near-limit")
async def near_limit(
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    page: Annotated[PageParams[NearSort], asked(NearSort.LEFT, Order.ASCENDING)],
) -> dict[str, Any]:
    """Accounts near their limit, those with the least left first unless told."""
    return listed(await metrics.list_near_limit(services.database, actor, now=now, **page))
