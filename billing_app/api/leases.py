"""Leases over HTTP: executions that a service decides about itself."""

from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Response
from pydantic import Field

from billing_app.api import bodies
from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import NO_CONTROL, Cursor, Limit
from billing_app.api.published_schemas import KEY_SCHEMA
from billing_app.api.routing import JsonRoute
from billing_app.billing import ids
from billing_app.billing.accounts.service_keys import require_service
from billing_app.billing.errors import (
    BillingError,
    IdempotencyKeyRequiredError,
    InvalidInputError,
    LeaseNotFoundError,
)
from billing_app.billing.executions import lease_tokens, lease_views
from billing_app.billing.executions.lease_answers import LeaseAnswer, LeaseSettlement
from billing_app.billing.executions.leases import MAX_SECONDS
from billing_app.billing.executions.requests import (
    MAX_EXECUTIONS,
    Accepted,
    Decision,
    LeaseRequest,
    LeaseTotal,
    Mode,
    Renewal,
    SettleLease,
)
from billing_app.billing.executions.service import caller_of
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.db.enums import Scope
from billing_app.routes import LEASES

router = APIRouter(route_class=JsonRoute, tags=["leases"])

MIN_SECONDS: Final = 10
DEFAULT_SECONDS: Final = 3_600
MAX_TOTALS: Final = 1_000
MAX_TOKEN: Final = 255

Identifier = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL)]
Label = Annotated[str, Field(max_length=255, pattern=NO_CONTROL)]
Executions = Annotated[int, Field(ge=1, le=MAX_EXECUTIONS)]
# A lease that is renewed for a day holds more in all than at any one time.
MAX_TOTAL: Final = 10**12
Seconds = Annotated[int, Field(ge=MIN_SECONDS, le=MAX_SECONDS)]
LeaseId = Annotated[str, Path(pattern=NO_CONTROL)]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        description="A retry with the same key and body gets the first response; the same key with"
        " another body gets 422",
        json_schema_extra={"maxLength": 255, **KEY_SCHEMA},
    ),
]


class OpenLease(JsonBody):
    organization_id: Identifier
    user_id: Annotated[
        Identifier | None, Field(description="Required for the public organization")
    ] = None
    executions: Executions
    at_least: Annotated[
        Executions | None,
        Field(description="Hold what is left if it is at least this; all or nothing if null"),
    ] = None
    workflow: Annotated[
        Label | None, Field(description="The only workflow that it decides for; any if null")
    ] = None
    seconds: Annotated[Seconds, Field(description="For how long it decides")] = DEFAULT_SECONDS


class Total(JsonBody):
    """`executions`: decided since the lease was opened, not since the last report."""

    workflow: Label | None = None
    user_id: Label | None = None
    day: Annotated[
        date, Field(strict=False, description="The UTC day, within the lease's life, not ahead")
    ]
    executions: Annotated[int, Field(ge=1, le=MAX_TOTAL)]


class Renew(JsonBody):
    executions: Annotated[Executions, Field(description="What should be left to decide")]
    seconds: Annotated[
        Seconds,
        Field(description=f"From now; a lease lives at most {MAX_SECONDS} seconds in all"),
    ] = DEFAULT_SECONDS


class Settle(JsonBody):
    """Lines that are left out stay as they are."""

    token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN, pattern=NO_CONTROL)]
    totals: Annotated[list[Total], Field(max_length=MAX_TOTALS, default_factory=list)]
    sequence: Annotated[
        int,
        Field(
            ge=0,
            le=2**63 - 1,
            description="Reports with a lower one than before neither renew nor close",
        ),
    ] = 0
    renew: Renew | None = None
    close: Annotated[bool, Field(description="Give back what is left")] = False


@router.post(LEASES, status_code=201, response_model=LeaseAnswer)
async def open_lease(
    body: OpenLease, services: ServicesNow, actor: ActorNow, key: Key = ""
) -> Response:
    """Hold executions that the caller then decides about itself. The key is required."""
    service = require_service(actor, Scope.EXECUTIONS)
    if not key:
        raise IdempotencyKeyRequiredError("Send an Idempotency-Key: a retry must hold nothing.")
    if body.user_id is None and body.organization_id == services.terms.public_organization_id:
        raise InvalidInputError("user_id is required for the public organization.", field="user_id")
    least = body.executions if body.at_least is None else body.at_least
    if least > body.executions:
        raise InvalidInputError("at_least must not exceed executions.", field="at_least")
    request = LeaseRequest(
        mode=Mode.RESERVE,
        organization_id=body.organization_id,
        user_id=body.user_id or "",
        executions=body.executions,
        workflow=body.workflow or "",
        hold_seconds=0,
        idempotency_key=bodies.check_key(key),
        caller=caller_of(service),
        at_least=least,
        seconds=body.seconds,
        settle_seconds=services.settings.lease_settle_seconds,
        secret=lease_tokens.new_key(),
    )
    return _response(await services.executions.decide(service, request), 201)


@router.post(LEASES + "/{lease_id}/settle", response_model=LeaseSettlement)
async def settle_lease(
    lease_id: LeaseId, body: Settle, services: ServicesNow, actor: ActorNow
) -> Response:
    """Count what the lease has decided, in all, by workflow, user and day; then renew or close it.

    Reports may be repeated, and come in any order: of each line the highest total counts. All of a
    report is counted, or nothing.
    """
    service = require_service(actor, Scope.EXECUTIONS)
    pair = ids.decode(ids.LEASE, lease_id)
    if pair is None:
        raise LeaseNotFoundError
    if body.renew is not None and body.close:
        raise InvalidInputError("Send renew or close, not both.", field="close")
    request = SettleLease(
        *pair,
        token=body.token,
        totals=[
            LeaseTotal(each.workflow or "", each.user_id or "", each.day, each.executions)
            for each in body.totals
        ],
        sequence=body.sequence,
        renewal=Renewal(body.renew.executions, body.renew.seconds) if body.renew else None,
        closes=body.close,
        settle_seconds=services.settings.lease_settle_seconds,
        caller=caller_of(service),
    )
    return _response(await services.executions.decide(service, request), 200)


@router.get(LEASES + "/{lease_id}")
async def read_lease(
    lease_id: LeaseId, services: ServicesNow, actor: ActorNow, now: Now
) -> lease_views.LeaseWithLines:
    """A lease, and what is counted of it."""
    return await lease_views.read_lease(services.database, actor, lease_id, now=now)


@router.get(LEASES)
async def list_leases(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    now: Now,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """The account's leases that still hold executions, newest first."""
    page = await lease_views.list_leases(
        services.database, actor, account_id, now=now, limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}


def _response(decision: Decision, status: int) -> Response:
    if isinstance(decision, BillingError):
        raise decision
    assert isinstance(decision, Accepted)
    headers = {"Idempotency-Replayed": "true"} if decision.replayed else None
    return Response(decision.answer, status, headers, "application/json")
