"""Background jobs for staff over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter

from billing_app.api.parameters import PathName
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.api.staff.page_params import DaysNow, PageParams, Text, page_body, sorted_by
from billing_app.api.staff.webhooks import UNAVAILABLE, JobsNow
from billing_app.billing.staff.operations import jobs as background
from billing_app.billing.staff.operations.jobs import JobQuery, JobSort, JobState, JobView

router = APIRouter(
    route_class=JsonRoute,
    prefix=f"{ADMIN_PREFIX}/jobs",
    tags=["staff: jobs"],
    responses=PROBLEMS | UNAVAILABLE,
)


@router.get("")
async def list_jobs(
    jobs: JobsNow,
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[JobSort], sorted_by(JobSort.CREATED)],
    state: JobState | None = None,
    name: Text = None,
) -> dict[str, Any]:
    """Background jobs, newest first by default."""
    where = JobQuery(state=state, name=name, days=days)
    return page_body(await background.list_jobs(jobs, call.actor, where, **page))


@router.get("/{job_id}")
async def read_job(job_id: PathName, jobs: JobsNow, call: StaffCall) -> JobView:
    """A job, and why it failed."""
    return await background.read_job(jobs, call.actor, job_id)


@router.post("/{job_id}/retry", status_code=202)
async def retry(
    job_id: PathName,
    body: ReasonBody,
    jobs: JobsNow,
    call: StaffCall,
) -> dict[str, str]:
    """Retry a failed job. A job can be retried once."""
    new_id = await background.retry_job(
        call.database, jobs, call.actor, job_id, reason=body.reason, now=call.now
    )
    return {"job_id": new_id}
