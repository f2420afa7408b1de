"""One of several concurrent consumer processes: `python -m tests.billing.consumer_process`.

For each job (JSON) on stdin: prints `ready`, waits for a line, prints the results (JSON).
"""

import asyncio
import base64
import json
import sys
from typing import Any

from structlog.testing import capture_logs

from billing_app.billing.alerts.watch import AlertWatch
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.requests import Decision, Mode
from billing_app.billing.executions.service import Executions
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import PLATFORM_SERVICE, check_request


async def run(job: dict[str, Any]) -> dict[str, Any]:
    terms = TrialTerms(PUBLIC, TRIAL_EXECUTIONS, days=None)
    watch = AlertWatch(Database(job["url"])) if job.get("alerts") else None
    executions = Executions(job["url"], terms, alerts=watch)
    groups = [[_request(item) for item in group] for group in job["groups"]]
    warm = check_request(Mode.CHECK, 1, organization_id=job["warm"])
    await executions.decide(PLATFORM_SERVICE, warm)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    at_once = asyncio.Semaphore(job["at_once"])

    async def decide(group: list[Any]) -> list[Decision]:
        async with at_once:
            if len(group) == 1:
                return [await executions.decide(PLATFORM_SERVICE, group[0])]
            return await executions.decide_each(PLATFORM_SERVICE, group)

    with capture_logs() as logs:
        decided = await asyncio.gather(*[decide(group) for group in groups])
    await executions.close()
    if watch is not None:
        await watch.close()
    return {
        "results": [_result(decision) for group in decided for decision in group],
        "troubles": [log["event"] for log in logs],
    }


def _request(item: dict[str, Any]) -> Any:
    return check_request(
        Mode.CONSUME,
        item["executions"],
        item["key"],
        organization_id=item["organization_id"],
        user_id=item.get("user_id", ""),
    )


def _result(decision: Decision) -> dict[str, Any]:
    if isinstance(decision, BillingError):
        return {"code": decision.code, "replayed": False, "answer": ""}
    answer = base64.b64encode(decision.answer).decode()
    return {"code": "", "replayed": decision.replayed, "answer": answer}


if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(asyncio.run(run(json.loads(line)))), flush=True)
