"""What staff see of the background work, and what they start: billing's BackgroundJobs by DBOS."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, TypeVar

from dbos import DBOS, DBOSClient, EnqueueOptions, WorkflowStatus
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.lists.sorting import Span
from billing_app.billing.staff.operations.jobs import (
    RETRY,
    JobNotFoundError,
    JobQuery,
    JobState,
    JobsUnavailableError,
    JobView,
)
from billing_app.composition import get_services
from billing_app.db.engine import Database
from billing_app.jobs import webhooks
from billing_app.jobs.reconciliation import RECONCILE_NOW

QUEUE: Final = "staff"
PARALLEL: Final = 2
POLLING_SECONDS: Final = 1.0
STATUSES: Final[dict[JobState, list[str]]] = {
    JobState.WAITING: ["ENQUEUED", "DELAYED"],
    JobState.RUNNING: ["PENDING"],
    JobState.FINISHED: ["SUCCESS"],
    JobState.FAILED: ["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
    JobState.CANCELLED: ["CANCELLED"],
}
STATES: Final = {status: state for state, each in STATUSES.items() for status in each}
MAX_TEXT_LENGTH: Final = 500
FAILED: Final = text("""
SELECT failed.name, count(*) FROM dbos.workflow_status AS failed
WHERE (failed.application_name IS NULL OR failed.application_name = :application)
  AND failed.status = ANY(:statuses) AND failed.created_at >= :since
  AND NOT EXISTS (
      SELECT FROM dbos.workflow_status AS again
      WHERE again.workflow_uuid = failed.workflow_uuid || :retry)
GROUP BY failed.name
""")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)

Result = TypeVar("Result")


class DbosJobs:
    """Implements billing's BackgroundJobs on the workflows in the app's own database."""

    def __init__(self, client: DBOSClient, database: Database) -> None:
        self._client = client
        self._database = database

    async def list(self, where: JobQuery, span: Span) -> list[JobView]:
        job_ids = await _asked(lambda: self._ids(where, span))
        if not job_ids:
            return []
        rows = await _asked(
            lambda: self._client.list_workflows_async(workflow_ids=job_ids, load_output=False)
        )
        failed = [row.workflow_id for row in rows if STATES[row.status] is JobState.FAILED]
        problems = await self._problems(failed)
        views = {row.workflow_id: _view(row, problems.get(row.workflow_id, "")) for row in rows}
        return [views[job_id] for job_id in job_ids if job_id in views]

    async def count_failed(self, since: datetime) -> dict[str, int]:
        values = {
            "application": webhooks.APPLICATION_NAME,
            "statuses": STATUSES[JobState.FAILED],
            "since": _stamp(since),
            "retry": RETRY,
        }

        async def count() -> dict[str, int]:
            async with self._database.reading() as session:
                connection = await session.connection()
                rows = await connection.execute(FAILED, values)
                return {row[0]: row[1] for row in rows.all()}

        return await _asked(count)

    async def find(self, job_id: str) -> JobView | None:
        row = await self._find(job_id)
        return _view(row, str(row.error or "")) if row else None

    async def run_again(self, session: AsyncSession, job_id: str, *, new_id: str) -> None:
        row = await self._find(job_id)
        if row is None or row.input is None:
            raise JobNotFoundError
        options: EnqueueOptions = {
            "queue_name": QUEUE,
            "workflow_name": row.name,
            "workflow_id": new_id,
        }
        if row.queue_name == webhooks.QUEUE and row.queue_partition_key:
            options["queue_name"] = webhooks.QUEUE
            options["queue_partition_key"] = row.queue_partition_key
        await self._enqueue(session, options, *row.input["args"], **row.input["kwargs"])

    async def process_event(
        self, session: AsyncSession, event_id: str, customer_id: str, *, replay: int
    ) -> str:
        options = webhooks.options(event_id, customer_id, replay=replay)
        await self._enqueue(session, options, event_id)
        return str(options.get("workflow_id"))

    async def reconcile(
        self, session: AsyncSession, *, job_id: str, dry_run: bool, now: datetime
    ) -> None:
        options: EnqueueOptions = {
            "queue_name": QUEUE,
            "workflow_name": RECONCILE_NOW,
            "workflow_id": job_id,
        }
        await self._enqueue(session, options, now, dry_run)

    async def _enqueue(
        self, session: AsyncSession, options: EnqueueOptions, *args: Any, **kwargs: Any
    ) -> None:
        """In the caller's transaction: DBOS keeps its tables in the same database."""

        def enqueue(inner: Any) -> Any:
            return self._client.enqueue_in_transaction(inner, options, *args, **kwargs)

        await _asked(lambda: session.run_sync(enqueue))

    async def _ids(self, where: JobQuery, span: Span) -> "list[str]":
        """DBOS itself sorts by time alone: jobs of one millisecond would come in any order, and
        a page could miss some."""
        conditions = ["(application_name IS NULL OR application_name = :application)"]
        values: dict[str, Any] = {"application": webhooks.APPLICATION_NAME, "limit": span.limit + 1}
        if where.state is not None:
            conditions.append("status = ANY(:statuses)")
            values["statuses"] = STATUSES[where.state]
        if where.name is not None:
            conditions.append("starts_with(name, :name)")
            values["name"] = where.name
        if where.days is not None:
            conditions.append("created_at >= :since AND created_at < :until")
            values |= {"since": _stamp(where.days.since), "until": _stamp(where.days.until)}
        if span.after is not None:
            sign = "<" if span.descending else ">"
            conditions.append(f"(created_at, workflow_uuid) {sign} (:at, :id)")
            values |= {"at": _stamp(span.after[0]), "id": span.after[1]}
        down = " DESC" if span.descending else ""
        statement = text(f"""
            SELECT workflow_uuid FROM dbos.workflow_status WHERE {" AND ".join(conditions)}
            ORDER BY created_at{down}, workflow_uuid{down} LIMIT :limit""")  # noqa: S608
        async with self._database.reading() as session:
            return list((await (await session.connection()).execute(statement, values)).scalars())

    async def _find(self, job_id: str) -> WorkflowStatus | None:
        rows = await _asked(lambda: self._client.list_workflows_async(workflow_ids=[job_id]))
        return rows[0] if rows else None

    async def _problems(self, job_ids: "list[str]") -> dict[str, str]:
        if not job_ids:
            return {}
        rows = await _asked(lambda: self._client.list_workflows_async(workflow_ids=job_ids))
        return {row.workflow_id: str(row.error or "") for row in rows}


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(QUEUE, worker_concurrency=PARALLEL, polling_interval_sec=POLLING_SECONDS)


@cache
def get_jobs() -> DbosJobs:
    """On this process's database."""
    database = get_services().database
    return DbosJobs(webhooks.client(database.url), database)


async def _asked(call: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Raises JobsUnavailableError when DBOS has no tables here yet, or they cannot be reached."""
    try:
        return await call()
    except (ProgrammingError, OperationalError):
        raise JobsUnavailableError("Start a worker: python -m billing_app worker.") from None


def _view(row: WorkflowStatus, problem: str) -> JobView:
    arguments = row.input["args"] if row.input else ()
    return JobView(
        id=row.workflow_id,
        name=row.name,
        state=STATES[row.status],
        queue=row.queue_name or "",
        subject=", ".join(str(each) for each in arguments if each is not None)[:MAX_TEXT_LENGTH],
        problem=problem[:MAX_TEXT_LENGTH],
        attempts=row.recovery_attempts or 0,
        retry_of=row.workflow_id.removesuffix(RETRY) if row.workflow_id.endswith(RETRY) else None,
        created_at=_time(row.created_at),
        updated_at=_time(row.updated_at),
        finished_at=_time(row.completed_at) if row.completed_at else None,
    )


def _stamp(at: datetime) -> int:
    """Milliseconds, as DBOS counts them."""
    return (at - EPOCH) // MILLISECOND


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
