"""Forgets jobs that are done, so that the tables of DBOS do not grow for ever."""

from datetime import datetime, timedelta
from typing import Final

from dbos import DBOS

DONE_DAYS: Final = 7
FAILED_DAYS: Final = 90
BLOCK_JOBS: Final = 500
MAX_BLOCKS: Final = 200


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
