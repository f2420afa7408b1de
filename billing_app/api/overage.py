"""The spending limit for executions beyond the plan, over HTTP."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.routing import JsonRoute
from billing_app.billing.overage import limits
from billing_app.billing.overage.limits import MAX_LIMIT_MINOR, OverageLimitView

router = APIRouter(route_class=JsonRoute, prefix="/billing", tags=["overage"])


class SetLimit(JsonBody):
    """`limit_minor` null takes the limit away; 0 allows nothing beyond the plan."""

    limit_minor: Annotated[int, Field(ge=0, le=MAX_LIMIT_MINOR)] | None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


@router.get("/overage-limit")
async def read_limit(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow
) -> OverageLimitView:
    """What the account wants to spend beyond its plan in a period, at most."""
    return await limits.read_overage_limit(services.database, actor, account_id)


@router.put("/overage-limit")
async def set_limit(
    body: SetLimit, services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> OverageLimitView:
    """Set the limit; it holds at once, also for the running period."""
    return await limits.set_overage_limit(
        services.database,
        actor,
        account_id,
        limit_minor=body.limit_minor,
        currency=body.currency,
        now=now,
    )
