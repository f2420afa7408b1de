"""What a process holds at this moment, as Prometheus gauges: nothing is counted on the way.

A task writes them once a second, so that several workers of one server can share them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import Gauge

from billing_app.api.read_turns import turns
from billing_app.composition import Services
from billing_app.db import read_pool
from billing_app.db.engine import CONNECTIONS_MAX

SAMPLE_SECONDS: Final = 1.0
READS: Final = "reads"

waiting_requests: Final = Gauge(
    "billing_execution_waiting_requests",
    "Requests for which no transaction has begun",
    ["lane"],
    multiprocess_mode="livesum",
)
waiting_reads: Final = Gauge(
    "billing_waiting_reads", "Reads that wait for their turn", multiprocess_mode="livesum"
)
active_requests: Final = Gauge(
    "billing_active_requests", "Requests being answered", multiprocess_mode="livesum"
)
connections: Final = Gauge(
    "billing_database_connections_in_use",
    "Pooled connections at work",
    ["pool"],
    multiprocess_mode="livesum",
)
connections_max: Final = Gauge(
    "billing_database_connections_max",
    "Most connections of the pool",
    ["pool"],
    multiprocess_mode="livesum",
)
loop_lag: Final = Gauge(
    "billing_event_loop_lag_seconds",
    "How much later than asked the event loop ran a task",
    multiprocess_mode="livemax",
)


def sample(services: Services, active: int) -> None:
    """Write the gauges. `active`: requests being answered."""
    for lane, waiting in services.executions.waiting().items():
        waiting_requests.labels(lane).set(waiting)
    waiting_reads.set(turns.waiting)
    active_requests.set(active)
    for pool, used in services.database.in_use().items():
        connections.labels(pool).set(used)
        connections_max.labels(pool).set(CONNECTIONS_MAX[pool])
    connections.labels(READS).set(services.read_pool.in_use())
    connections_max.labels(READS).set(read_pool.POOL_SIZE)


@asynccontextmanager
async def sampling(services: Services, active: Callable[[], int]) -> AsyncGenerator[None]:
    """Sample as long as the block runs."""
    task = asyncio.create_task(_sample_on(services, active), name="process gauges")
    try:
        yield
    finally:
        task.cancel()


async def _sample_on(services: Services, active: Callable[[], int]) -> None:
    while True:
        sample(services, active())
        before = time.monotonic()
        await asyncio.sleep(SAMPLE_SECONDS)
        loop_lag.set(max(time.monotonic() - before - SAMPLE_SECONDS, 0.0))
