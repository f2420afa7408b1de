"""One consume's transaction without HTTP and without a queue: what a lone client must pay."""

import statistics
import time
from typing import Final

import uvloop

from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import Accepted, Caller, CheckRequest, Mode
from billing_app.billing.plans.trials import TrialTerms
from tests.benchmarks.harness import HOT_ORGANIZATION, PUBLIC_ORGANIZATION, BenchmarkHarness

WARM_UP: Final = 50


def transaction_ms(bed: BenchmarkHarness, *, run: str, count: int) -> float:
    """The median time of a transaction with one request on the hot path's own connection."""
    return uvloop.run(_measure(bed, run, count))


async def _measure(bed: BenchmarkHarness, run: str, count: int) -> float:
    terms = TrialTerms(public_organization_id=PUBLIC_ORGANIZATION, executions=1, days=None)
    directory = Directory(terms)
    connection = await store.connect(bed.url)
    times: list[float] = []
    for number in range(WARM_UP + count):
        key = f"{run}-{number}"
        request = CheckRequest(
            Mode.CONSUME, HOT_ORGANIZATION, "", 1, "nightly", 900, key, Caller(None, None)
        )
        started_at = time.perf_counter()
        (decision,) = await store.transact(connection, directory, [request])
        times.append(time.perf_counter() - started_at)
        assert isinstance(decision, Accepted)
    await connection.close(timeout=1)
    return statistics.median(times[WARM_UP:]) * 1000
