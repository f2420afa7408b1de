"""Webhook events, dead letters and reconciliations with Stripe, for staff over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from billing_app.api.parameters import IN_RANGE, Moment, PathName
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.api.staff.page_params import DaysNow, PageParams, Text, page_body, sorted_by
from billing_app.billing.lists.sorting import Order
from billing_app.billing.staff.operations import provider_events, reconciliations
from billing_app.billing.staff.operations.jobs import BackgroundJobs
from billing_app.billing.staff.operations.provider_events import EventDetail, EventQuery, EventSort
from billing_app.billing.staff.operations.reconciliations import (
    DifferenceQuery,
    DifferenceSort,
    ReconciliationSort,
)
from billing_app.db.enums import WebhookState
from billing_app.jobs.staff import get_jobs

UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "No worker has run on this database yet; nothing was changed",
        "content": {"application/problem+json": {}},
    }
}
router = APIRouter(
    route_class=JsonRoute, prefix=ADMIN_PREFIX, tags=["staff: webhooks"], responses=PROBLEMS
)

JobsNow = Annotated[BackgroundJobs, Depends(get_jobs)]


class Reconcile(ReasonBody):
    """`dry_run`: report differences without repairing them."""

    dry_run: Annotated[bool, Field()] = False


@router.get("/webhooks")
async def list_events(
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[EventSort], sorted_by(EventSort.RECEIVED)],
    state: WebhookState | None = None,
    event_type: Annotated[Text, Query(alias="type")] = None,
    account_id: Text = None,
) -> dict[str, Any]:
    """Received events, newest first by default. `state=dead`: dead letters; `type`: a prefix of
    the event type."""
    where = EventQuery(state=state, type=event_type, account_id=account_id, days=days)
    return page_body(
        await provider_events.list_received(
            call.database, call.services.links, call.actor, where, **page
        )
    )


@router.get("/webhooks/{event_id}")
async def read_event(event_id: PathName, call: StaffCall) -> EventDetail:
    """An event with its signed payload."""
    return await provider_events.read_received(
        call.database, call.services.links, call.actor, event_id
    )


@router.post("/webhooks/{event_id}/replay", status_code=202, responses=UNAVAILABLE)
async def replay(
    event_id: PathName,
    body: ReasonBody,
    jobs: JobsNow,
    call: StaffCall,
) -> dict[str, str]:
    """Replay a dead letter."""
    job_id = await provider_events.replay_event(
        call.database, jobs, call.actor, event_id, reason=body.reason, now=call.now
    )
    return {"job_id": job_id}


@router.get("/reconciliations")
async def list_reconciliations(
    call: StaffCall,
    page: Annotated[PageParams[ReconciliationSort], sorted_by(ReconciliationSort.BEGAN)],
    dry_run: bool | None = None,
    differs: bool | None = None,
) -> dict[str, Any]:
    """Reconciliations with Stripe and their results, newest first by default."""
    return page_body(
        await reconciliations.list_reconciliations(
            call.database, call.actor, dry_run=dry_run, differs=differs, **page
        )
    )


@router.get("/reconciliations/differences")
async def list_differences(
    call: StaffCall,
    page: Annotated[PageParams[DifferenceSort], sorted_by(DifferenceSort.FOUND, Order.ASCENDING)],
    began_at: Annotated[Moment | None, Query(description=IN_RANGE)] = None,
    healed: bool | None = None,
    what: Text = None,
) -> dict[str, Any]:
    """The differences that a reconciliation found, by default the last one."""
    return page_body(
        await reconciliations.list_differences(
            call.database,
            call.actor,
            DifferenceQuery(began_at=began_at, healed=healed, what=what),
            **page,
        )
    )


@router.post("/reconciliations", status_code=202, responses=UNAVAILABLE)
async def reconcile(body: Reconcile, jobs: JobsNow, call: StaffCall) -> dict[str, str]:
    """Start a reconciliation with Stripe in the background."""
    job_id = await reconciliations.run_reconciliation(
        call.database, jobs, call.actor, dry_run=body.dry_run, reason=body.reason, now=call.now
    )
    return {"job_id": job_id}
