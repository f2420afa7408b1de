"""What Stripe sent, dead letters, and comparisons with Stripe, for staff over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, Because, StaffNow
from billing_app.billing.paging import DEFAULT_LIMIT
from billing_app.billing.staff import events, reconciliations
from billing_app.billing.staff.events import EventDetail, EventQuery
from billing_app.billing.staff.jobs import BackgroundJobs
from billing_app.db.words import WebhookState
from billing_app.jobs.staff import get_jobs

UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "No worker has run on this database yet; nothing was changed",
        "content": {"application/problem+json": {}},
    }
}
router = APIRouter(prefix=ADMIN_PREFIX, tags=["staff: webhooks"], responses=PROBLEMS)

JobsNow = Annotated[BackgroundJobs, Depends(get_jobs)]
Limit = Annotated[int, Query()]
Cursor = Annotated[str | None, Query(max_length=1_000)]
Text = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00-\x1f]*$")]


class Reconcile(Because):
    """`dry_run`: tell the differences and heal none."""

    dry_run: Annotated[bool, Field()] = False


@router.get("/webhooks")
async def list_events(
    services: ServicesNow,
    actor: StaffNow,
    state: WebhookState | None = None,
    event_type: Annotated[Text, Query(alias="type")] = None,
    account_id: Text = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Received events, newest first; `state=dead` are those that were set aside."""
    where = EventQuery(state=state, type=event_type, account_id=account_id)
    page = await events.list_received(
        services.database, services.links, actor, where, limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}


@router.get("/webhooks/{event_id}")
async def read_event(event_id: str, services: ServicesNow, actor: StaffNow) -> EventDetail:
    """An event with its payload as it was signed."""
    return await events.read_received(services.database, services.links, actor, event_id)


@router.post("/webhooks/{event_id}/replay", status_code=202, responses=UNAVAILABLE)
async def replay(
    event_id: str, body: Because, services: ServicesNow, jobs: JobsNow, actor: StaffNow, now: Now
) -> dict[str, str]:
    """Have a dead event processed anew."""
    job_id = await events.replay_event(
        services.database, jobs, actor, event_id, reason=body.reason, now=now
    )
    return {"job_id": job_id}


@router.get("/reconciliations")
async def list_reconciliations(
    services: ServicesNow, actor: StaffNow, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> dict[str, Any]:
    """The last comparisons with Stripe and what they found, newest first."""
    page = await reconciliations.list_reconciliations(
        services.database, actor, limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}


@router.post("/reconciliations", status_code=202, responses=UNAVAILABLE)
async def reconcile(
    body: Reconcile, services: ServicesNow, jobs: JobsNow, actor: StaffNow, now: Now
) -> dict[str, str]:
    """Compare with Stripe in the background."""
    job_id = await reconciliations.run_reconciliation(
        services.database, jobs, actor, dry_run=body.dry_run, reason=body.reason, now=now
    )
    return {"job_id": job_id}
