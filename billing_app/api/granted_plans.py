"""Plans that services add, over HTTP."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from pydantic import Field

from billing_app.api.callers import ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import NO_CONTROL, REASON, Moment
from billing_app.api.provisioned_accounts import NOT_BLANK
from billing_app.api.published_schemas import KEY_SCHEMA, number, text
from billing_app.api.routing import JsonRoute
from billing_app.billing.accounts.granted_plans import (
    DEFAULT_NAME,
    MAX_DAYS,
    GrantedPlanView,
    PlanGrant,
    grant_plan,
)
from billing_app.billing.accounts.names import MAX_LENGTH
from billing_app.billing.offers.catalogue import MAX_OFFER_EXECUTIONS, MAX_PRIORITY
from billing_app.billing.staff.audit.audit_writing import BY_SERVICE, MAX_REASON_LENGTH
from billing_app.routes import PLANS

router = APIRouter(route_class=JsonRoute, tags=["provisioning"])

STARTS: Final = f"Now if null. Within {MAX_DAYS:,} days"
ENDS: Final = "Never if null. In the future, after starts_at"
SEEN: Final = "Has a character that can be seen"
Identifier = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL)]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        description="A retry with the same key and body gets the first response, whenever it"
        " comes; the same key with another body gets 422",
        json_schema_extra={"maxLength": 255, **KEY_SCHEMA},
    ),
]


class GrantPlan(JsonBody):
    """`priority`: plans with a lower one are used first."""

    organization_id: Identifier
    user_id: Annotated[
        Identifier | None, Field(description="Required for the public organization")
    ] = None
    executions: Annotated[int, number(1, MAX_OFFER_EXECUTIONS)]
    name: Annotated[str, text(MAX_LENGTH, least=1, pattern=NOT_BLANK), Field(description=SEEN)] = (
        DEFAULT_NAME
    )
    starts_at: Annotated[Moment | None, Field(strict=False, description=STARTS)] = None
    ends_at: Annotated[Moment | None, Field(strict=False, description=ENDS)] = None
    priority: Annotated[int | None, number(1, MAX_PRIORITY)] = None
    reason: Annotated[str, text(MAX_REASON_LENGTH, least=1, pattern=REASON)] = BY_SERVICE


@router.post(
    PLANS,
    status_code=201,
    response_model=GrantedPlanView,
)
async def grant(
    body: GrantPlan, services: ServicesNow, actor: ActorNow, now: Now, key: Key = ""
) -> Response:
    """Add a plan: executions that were sold elsewhere. The key is required."""
    account_id = await services.accounts.find(
        actor, organization_id=body.organization_id, user_id=body.user_id or ""
    )
    fields = body.model_dump(exclude={"organization_id", "user_id"})
    answer, is_replayed = await grant_plan(
        services.database, actor, account_id, PlanGrant(**fields), key=key, now=now
    )
    headers = {"Idempotency-Replayed": "true"} if is_replayed else None
    return Response(answer, 201, headers, "application/json")
