"""Background jobs as staff see them, and what billing needs of their runner."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.errors import BillingError, ConflictError, InvalidInputError, NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, TEXT, By, Key, Sorting, Span
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.billing.usage.service import Days
from billing_app.db.engine import Database

RETRY: Final = ":retry"
MAX_NAME_LENGTH: Final = 255


class JobsUnavailableError(BillingError):
    code = "jobs_unavailable"
    title = "No worker has run on this database yet"
    retry_after_seconds = 30


class JobNotFoundError(NotFoundError):
    code = "job_not_found"
    title = "Job not found"


class JobNotFailedError(ConflictError):
    code = "job_not_failed"
    title = "Only a failed job can be retried"


class JobRetriedError(ConflictError):
    code = "job_retried"
    title = "The job has already been retried"


class JobState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobView:
    """A background job. `subject` is what it works on, `problem` why it failed, `retry_of` the job
    that it retries."""

    id: str
    name: str
    state: JobState
    queue: str
    subject: str
    problem: str
    attempts: int
    retry_of: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class JobSort(StrEnum):
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Filters of jobs; None does not filter. `name` is its beginning; `days` are those on which
    they were created."""

    state: JobState | None = None
    name: str | None = None
    days: Days | None = None


# What a job is sorted by is the runner's own index; its place, when it was made and its id.
SORTING: Final = Sorting(
    {JobSort.CREATED: Key("created_at", INSTANT)},
    ties=(Key("id", TEXT),),
    usual=By(JobSort.CREATED, descending=True),
)


class BackgroundJobs(Protocol):
    """Raises JobsUnavailableError. A method with a session takes effect when its transaction
    commits, or not at all."""

    async def list(self, where: JobQuery, span: Span) -> list[JobView]:
        """Up to one more than the span's limit, after its place."""
        ...

    async def count_failed(self, since: datetime) -> dict[str, int]:
        """Jobs by name that failed since then and were not retried."""
        ...

    async def find(self, job_id: str) -> JobView | None: ...

    async def run_again(self, session: AsyncSession, job_id: str, *, new_id: str) -> None: ...

    async def process_event(
        self, session: AsyncSession, event_id: str, customer_id: str, *, replay: int
    ) -> str: ...

    async def reconcile(
        self, session: AsyncSession, *, job_id: str, dry_run: bool, now: datetime
    ) -> None: ...


async def list_jobs(
    jobs: BackgroundJobs,
    actor: Actor,
    where: JobQuery | None = None,
    *,
    by: By[JobSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[JobView]:
    """Newest first by default. Raises ForbiddenError, InvalidInputError, JobsUnavailableError."""
    require(actor, Action.READ)
    where = where or JobQuery()
    if where.name is not None and (len(where.name) > MAX_NAME_LENGTH or "\0" in where.name):
        raise InvalidInputError("Invalid job name.", field="name")
    span = SORTING.span(by, limit=limit, cursor=cursor)
    rows = await jobs.list(where, span)
    return Page(*span.split(rows, lambda job: (job.created_at, job.id)))


async def read_job(jobs: BackgroundJobs, actor: Actor, job_id: str) -> JobView:
    """Raises ForbiddenError, JobNotFoundError, JobsUnavailableError."""
    require(actor, Action.READ)
    job = await jobs.find(job_id) if "\0" not in job_id else None
    if job is None:
        raise JobNotFoundError
    return job


async def retry_job(
    database: Database,
    jobs: BackgroundJobs,
    actor: Actor,
    job_id: str,
    *,
    reason: str,
    now: datetime,
) -> str:
    """Retry a failed job, once, as a new job whose id is returned. Audited.

    Raises ForbiddenError, JobNotFoundError, JobNotFailedError, JobRetriedError,
    JobsUnavailableError, InvalidInputError.
    """
    staff, reason = require(actor, Action.RETRY_JOB), clean_reason(reason)
    failed = await read_job(jobs, staff, job_id)
    if failed.state not in (JobState.FAILED, JobState.CANCELLED):
        raise JobNotFailedError(f"This job is {failed.state}.", state=failed.state)
    new_id = job_id + RETRY
    if await jobs.find(new_id) is not None:
        raise JobRetriedError(job_id=new_id)
    async with database.transaction() as session:
        await jobs.run_again(session, job_id, new_id=new_id)
        audit_record = AuditRecord(
            Action.RETRY_JOB,
            reason,
            subject=job_id[:255],
            before={"state": failed.state, "problem": failed.problem},
            after={"job_id": new_id, "name": failed.name},
        )
        await record(session, staff, audit_record, now)
    return new_id
