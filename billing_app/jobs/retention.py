"""Forgets jobs that are done, so that the tables of DBOS do not grow for ever, and looks after the
ledger's months."""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from dbos import DBOS

from billing_app.billing.retention import attach_months, purge_days, remove_oldest_month
from billing_app.composition import get_services
from billing_app.db.partitions import PartitionsInUseError

DONE_DAYS: Final = 7
FAILED_DAYS: Final = 90
BLOCK_JOBS: Final = 500
MAX_BLOCKS: Final = 200

log = structlog.get_logger(__name__)


@DBOS.step()
async def attach_next_months(now: datetime) -> int:
    try:
        return len(await attach_months(get_services().database, now))
    except PartitionsInUseError:
        log.warning("partitions_in_use")
        return 0


@DBOS.step()
async def remove_old_events(now: datetime) -> str | None:
    services = get_services()
    months = services.settings.event_retention_months
    if months is None:
        return None
    try:
        return await remove_oldest_month(services.database, now=now, retention_months=months)
    except PartitionsInUseError:
        log.warning("partitions_in_use")
        return None


@DBOS.step()
async def remove_old_days(now: datetime) -> int:
    services = get_services()
    months = services.settings.daily_retention_months
    if months is None:
        return 0
    return await purge_days(services.database, now=now, retention_months=months)


@DBOS.workflow()
async def keep_months(scheduled_at: datetime, _context: Any) -> None:
    """Nightly: attach the ledger's next months, and remove what is past its retention. What the
    ledger's users keep locked waits for the next night."""
    attached = await attach_next_months(scheduled_at)
    events = await remove_old_events(scheduled_at)
    days = await remove_old_days(scheduled_at)
    log.info("months_kept", attached=attached, events_removed=events, days_removed=days)


async def forget_old_jobs(now: datetime) -> int:
    """Delete jobs that went well DONE_DAYS ago, and failed or cancelled ones after FAILED_DAYS.

    To be called by a workflow. At most MAX_BLOCKS of BLOCK_JOBS each; the next call goes on.
    """
    done = await _forget(["SUCCESS"], now - timedelta(days=DONE_DAYS))
    failed = ["ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
    return done + await _forget(failed, now - timedelta(days=FAILED_DAYS))


async def _forget(states: list[str], before: datetime) -> int:
    forgotten = 0
    for _ in range(MAX_BLOCKS):
        found = await DBOS.list_workflows_async(
            status=states,
            completed_before=before.isoformat(),
            limit=BLOCK_JOBS,
            load_input=False,
            load_output=False,
        )
        if not found:
            break
        await DBOS.delete_workflows_async([job.workflow_id for job in found])
        forgotten += len(found)
    return forgotten
