"""The spending limit for overage, over HTTP."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.published_schemas import CURRENCY
from billing_app.api.routing import JsonRoute
from billing_app.billing.overage import limits
from billing_app.billing.overage.limits import MAX_LIMIT_MINOR, OverageLimitView

router = APIRouter(route_class=JsonRoute, prefix="/billing", tags=["overage"])


class SetLimit(JsonBody):
    """`limit_minor`: null removes the limit; 0 allows no overage."""

    limit_minor: Annotated[int, Field(ge=0, le=MAX_LIMIT_MINOR)] | None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$"), CURRENCY]


@router.get("/overage-limit")
async def read_limit(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow
) -> OverageLimitView:
    """The most that the account spends on overage in a period."""
    return await limits.read_overage_limit(services.database, actor, account_id)


@router.put("/overage-limit")
async def set_limit(
    body: SetLimit, services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> OverageLimitView:
    """Set the limit. It applies immediately, including to the current period."""
    return await limits.set_overage_limit(
        services.database,
        actor,
        account_id,
        limit_minor=body.limit_minor,
        currency=body.currency,
        now=now,
    )
