"""What the whole database says about the operation, for Prometheus: read when somebody scrapes, in
bounded time, and kept for some seconds."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.engine import Database

KEEP_SECONDS: Final = 5.0
READ_SECONDS: Final = 2.0

WEBHOOKS: Final = text("""
    SELECT count(*) FILTER (WHERE state = 'dead') AS webhook_dead_letters,
           count(*) FILTER (WHERE state <> 'dead') AS webhooks_waiting,
           min(received_at) FILTER (WHERE state <> 'dead') AS webhook_oldest
    FROM webhook_events WHERE state <> 'processed'
""")
DRIFT: Final = text("""
    SELECT differences - healed AS reconciliation_open_differences, finished_at AS reconciled,
           coalesce(whole_since, (SELECT min(began_at) FROM reconcile_walks)) AS walked
    FROM reconciliations ORDER BY began_at DESC LIMIT 1
""")
BUDGET: Final = text("SELECT per_second FROM provider_budget")
JOBS_TABLE: Final = text("SELECT to_regclass('dbos.workflow_status') IS NOT NULL")
JOBS: Final = text("""
    SELECT (SELECT count(*) FROM dbos.workflow_status WHERE status = 'ENQUEUED') AS jobs_waiting,
           (SELECT min(created_at) / 1000.0 FROM dbos.workflow_status
            WHERE status = 'ENQUEUED') AS job_oldest,
           (SELECT max(completed_at) / 1000.0 FROM dbos.workflow_status) AS job_finished
""")
# Until when months have partitions of their own.
MONTHS: Final = text(r"""
    SELECT (regexp_match(pg_get_expr(relpartbound, oid), $$FROM \('(\d+)'\)$$))[1]::bigint / 1e6
    FROM pg_class WHERE oid = to_regclass('execution_events_later')
""")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OperatingFigures:
    """Counts, and ages in seconds. None: there is nothing of the kind to tell about."""

    webhook_dead_letters: float = 0
    webhooks_waiting: float = 0
    webhook_oldest_seconds: float = 0
    jobs_waiting: float | None = None
    job_oldest_seconds: float | None = None
    job_last_finished_seconds: float | None = None
    reconciliation_open_differences: float | None = None
    reconciliation_age_seconds: float | None = None
    event_partitions_ahead_seconds: float | None = None
    reconciliation_walk_age_seconds: float | None = None
    stripe_budget_per_second: float | None = None


MEANINGS: Final = {
    "webhook_dead_letters": "Webhook events that were given up",
    "webhooks_waiting": "Webhook events that are not yet applied",
    "webhook_oldest_seconds": "Age of the oldest webhook event that is not yet applied",
    "jobs_waiting": "Jobs that no worker has begun",
    "job_oldest_seconds": "Age of the oldest job that no worker has begun",
    "job_last_finished_seconds": "Time since a worker last finished a job",
    "reconciliation_open_differences": "Differences that the last reconciliation left open",
    "reconciliation_age_seconds": "Time since the last reconciliation ended",
    "event_partitions_ahead_seconds": "Until when the ledger's months have partitions of their own",
    "reconciliation_walk_age_seconds": "Time since which every customer has been compared",
    "stripe_budget_per_second": "Requests to Stripe that all processes may send a second",
}


class FiguresReader:
    """One for a process."""

    def __init__(self) -> None:
        self._known: OperatingFigures | None = None
        self._read_at = -KEEP_SECONDS
        self._reading = asyncio.Lock()

    async def read(self, database: Database, now: datetime) -> OperatingFigures | None:
        """At most KEEP_SECONDS old. None when the database does not answer in READ_SECONDS."""
        async with self._reading:
            if time.monotonic() - self._read_at >= KEEP_SECONDS:
                self._known = await _read(database, now)
                self._read_at = time.monotonic()
            return self._known


class FiguresCollector(Collector):
    """Renders figures as `billing_…` gauges, and `billing_database_up`."""

    def __init__(self, figures: OperatingFigures | None) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "billing_database_up",
            "Whether the database answered this process in time",
            value=int(self._figures is not None),
        )
        for field in fields(OperatingFigures):
            value = getattr(self._figures, field.name, None)
            if value is not None:
                name = f"billing_{field.name}"
                yield GaugeMetricFamily(name, MEANINGS[field.name], value=value)


async def _read(database: Database, now: datetime) -> OperatingFigures | None:
    try:
        async with asyncio.timeout(READ_SECONDS), database.reading() as session:
            return await _figures(session, now)
    except Exception as error:
        log.warning("figures_unreadable", error=type(error).__name__)
        return None


async def _figures(session: AsyncSession, now: datetime) -> OperatingFigures:
    connection = await session.connection()
    hooks = (await connection.execute(WEBHOOKS)).one()
    drift = (await connection.execute(DRIFT)).first()
    budget = await connection.scalar(BUDGET)
    has_jobs = await connection.scalar(JOBS_TABLE)
    jobs = (await connection.execute(JOBS)).one() if has_jobs else None
    months_until = await connection.scalar(MONTHS)
    return OperatingFigures(
        webhook_dead_letters=hooks.webhook_dead_letters,
        webhooks_waiting=hooks.webhooks_waiting,
        webhook_oldest_seconds=_age(hooks.webhook_oldest, now) or 0,
        jobs_waiting=jobs.jobs_waiting if jobs else None,
        job_oldest_seconds=(_since(jobs.job_oldest, now) or 0) if jobs else None,
        job_last_finished_seconds=_since(jobs.job_finished, now) if jobs else None,
        reconciliation_open_differences=(drift.reconciliation_open_differences if drift else None),
        reconciliation_age_seconds=_age(drift.reconciled, now) if drift else None,
        event_partitions_ahead_seconds=(
            None if months_until is None else float(months_until) - now.timestamp()
        ),
        reconciliation_walk_age_seconds=_age(drift.walked, now) if drift else None,
        stripe_budget_per_second=budget,
    )


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max((now - moment).total_seconds(), 0)


def _since(epoch_seconds: float | None, now: datetime) -> float | None:
    return None if epoch_seconds is None else max(now.timestamp() - float(epoch_seconds), 0)
