"""Background jobs for staff over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, Because, StaffNow
from billing_app.api.staff.webhooks import UNAVAILABLE, JobsNow
from billing_app.billing.paging import DEFAULT_LIMIT
from billing_app.billing.staff import jobs as background
from billing_app.billing.staff.jobs import JobState, JobView

router = APIRouter(
    prefix=f"{ADMIN_PREFIX}/jobs", tags=["staff: jobs"], responses=PROBLEMS | UNAVAILABLE
)


@router.get("")
async def list_jobs(
    jobs: JobsNow,
    actor: StaffNow,
    state: JobState | None = None,
    name: Annotated[str | None, Query(max_length=255)] = None,
    limit: Annotated[int, Query()] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """Newest first."""
    page = await background.list_jobs(
        jobs, actor, state=state, name=name, limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}


@router.get("/{job_id}")
async def read_job(job_id: str, jobs: JobsNow, actor: StaffNow) -> JobView:
    """One job, and why it failed."""
    return await background.read_job(jobs, actor, job_id)


@router.post("/{job_id}/retry", status_code=202)
async def retry(
    job_id: str, body: Because, services: ServicesNow, jobs: JobsNow, actor: StaffNow, now: Now
) -> dict[str, str]:
    """Run a failed job anew, once."""
    new_id = await background.retry_job(
        services.database, jobs, actor, job_id, reason=body.reason, now=now
    )
    return {"job_id": new_id}
