"""Auto top-up over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import OfferCode
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.billing.subscriptions.top_ups import MAX_CAP_MINOR, MAX_THRESHOLD, TopUpView

router = APIRouter(route_class=JsonRoute, prefix="/billing/top-up", tags=["top-up"])


class SwitchOn(JsonBody):
    """Buy `offer`, which is a pack, when fewer than `threshold_executions` are left, for at most
    `monthly_cap_minor` in a calendar month (UTC), at least the price of the pack. `currency` is the
    cap's: a pack in another one is refused."""

    offer: OfferCode
    threshold_executions: Annotated[int, Field(ge=1, le=MAX_THRESHOLD)]
    monthly_cap_minor: Annotated[int, Field(ge=1, le=MAX_CAP_MINOR)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None


@router.get("")
async def read(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> dict[str, TopUpView | None]:
    """The account's automatic top-up, or null when it is off."""
    return {"top_up": await services.top_ups.read(actor, account_id, now)}


@router.put("", responses=problems(409, 502))
async def switch_on(
    body: SwitchOn, services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> TopUpView:
    """Turn on the automatic top-up, change it, or restart it after it was stopped."""
    return await services.top_ups.switch_on(
        actor,
        account_id,
        offer_code=body.offer,
        threshold_executions=body.threshold_executions,
        monthly_cap_minor=body.monthly_cap_minor,
        currency=body.currency,
        now=now,
    )


@router.delete("", status_code=204)
async def switch_off(services: ServicesNow, actor: ActorNow, account_id: AccountNow) -> Response:
    """Turn off the automatic top-up. A purchase in progress still completes."""
    await services.top_ups.switch_off(actor, account_id)
    return Response(status_code=204)
