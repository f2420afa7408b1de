"""Webhook events as durable workflows: one for each event id, one at a time for each customer.

The stored event is the source of truth: what could not be enqueued, or was interrupted, is found
by the sweep. What fails again and again is set aside as dead, to be replayed by staff.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import structlog
from dbos import DBOS, DBOSClient, EnqueueOptions
from dbos import error as dbos_errors

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import dead_letters
from billing_app.composition import get_services
from billing_app.payments import webhooks

APPLICATION_NAME: Final = "billing"
QUEUE: Final = "webhooks"
WORKFLOW: Final = "process_webhook"
MAX_ATTEMPTS: Final = 8
FIRST_RETRY_SECONDS: Final = 1.0
BACKOFF: Final = 2.5
POLLING_SECONDS: Final = 0.25
MAX_CAUSE: Final = 500
PARALLEL: Final = 8
# What has waited half as long as sweeps are apart has been missed.
MISSED_AFTER: Final = 0.5

log = structlog.get_logger(__name__)


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def apply_event(event_id: str) -> None:
    services = get_services()
    syncing = services.subscriptions.syncing
    await webhooks.process_event(services.database, syncing, event_id, _now())


@DBOS.step()
async def set_aside(event_id: str, problem: str) -> None:
    services = get_services()
    await dead_letters.set_aside(services.database, event_id, _now(), problem=problem)


@DBOS.workflow(name=WORKFLOW)
async def process_webhook(event_id: str) -> None:
    """Apply an event; after MAX_ATTEMPTS failures it is dead."""
    try:
        await apply_event(event_id)
    except Exception as error:
        log.exception("webhook_dead", event_id=event_id)
        await set_aside(event_id, cause_of(error))


def cause_of(error: Exception) -> str:
    """Why the last attempt failed, in words. DBOS raises an error of its own around those of all
    attempts."""
    if isinstance(error, dbos_errors.DBOSMaxStepRetriesExceeded) and error.errors:
        error = error.errors[-1]
    if isinstance(error, BillingError):
        return error.detail[:MAX_CAUSE]
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:MAX_CAUSE] if text else type(error).__name__


@DBOS.step()
async def enqueue_waiting(before: datetime) -> int:
    services = get_services()
    rows = await webhooks.waiting_events(services.database, before)
    for row in rows:
        await enqueue(services.database.url, row.id, row.customer_id, replay=row.replays)
    return len(rows)


@DBOS.workflow()
async def sweep_webhooks(scheduled_at: datetime, _context: Any) -> None:
    """Now and then: enqueue what was stored and never taken up."""
    sweep_seconds = get_services().settings.sweep_seconds
    await enqueue_waiting(scheduled_at - timedelta(seconds=sweep_seconds * MISSED_AFTER))


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=PARALLEL,
        partition_concurrency=1,
        polling_interval_sec=POLLING_SECONDS,
    )


async def enqueue(database_url: str, event_id: str, customer_id: str, *, replay: int = 0) -> None:
    """Have a stored event processed soon. Without a worker's tables it waits for the sweep."""
    how = options(event_id, customer_id, replay=replay)
    try:
        await client(database_url).enqueue_async(how, event_id)
    except Exception as error:
        log.warning("webhook_not_enqueued", event_id=event_id, error=type(error).__name__)


def options(event_id: str, customer_id: str, *, replay: int) -> EnqueueOptions:
    """A workflow runs once for its id: a replay has one of its own."""
    return {
        "queue_name": QUEUE,
        "workflow_name": WORKFLOW,
        "workflow_id": f"{event_id}:replay-{replay}" if replay else event_id,
        "queue_partition_key": customer_id or "none",
    }


@cache
def client(database_url: str) -> DBOSClient:
    """To enqueue and to look with; it connects when it is first used."""
    url = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    return DBOSClient(system_database_url=url, application_name=APPLICATION_NAME)


def _now() -> datetime:
    return datetime.now(UTC)
