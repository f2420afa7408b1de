"""Jobs that are done are forgotten, in a process of its own: DBOS is one for each process."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import server_environment

SCRIPT = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from dbos import DBOS
from billing_app.jobs.retention import DONE_DAYS, FAILED_DAYS, forget_old_jobs

@DBOS.workflow(name="job")
async def job(fails: bool) -> None:
    if fails:
        raise ValueError

@DBOS.workflow(name="clean")
async def clean(days: int) -> int:
    return await forget_old_jobs(datetime.now(UTC) + timedelta(days=days))

async def main() -> None:
    for fails in (False, False, True):
        handle = await DBOS.start_workflow_async(job, fails)
        try:
            await handle.get_result()
        except ValueError:
            pass
    for days in (DONE_DAYS - 1, DONE_DAYS + 1, FAILED_DAYS + 1):
        await clean(days)
        left = await DBOS.list_workflows_async(name="job")
        print(sorted(found.status for found in left))

url = sys.argv[1].replace("postgresql://", "postgresql+psycopg://", 1)
DBOS(config={"name": "retention", "system_database_url": url, "console_log_level": "ERROR"})
DBOS.launch()
asyncio.run(main())
DBOS.destroy()
"""


def test_jobs_are_forgotten_after_their_days(own_database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, own_database_url],
        cwd=Path(__file__).resolve().parents[2],
        env=server_environment(own_database_url),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['ERROR', 'SUCCESS', 'SUCCESS']",
        "['ERROR']",
        "[]",
    ]
