"""A year of events with the daily rows that belong to them, in a database of its own."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec
import psycopg

from billing_app.db import migrations
from tests.benchmarks.harness import BenchmarkHarness, create_database, make_key
from tests.months import months_since

DAYS: Final = 365
HEAVY_ORGANIZATION: Final = "org_heavy"
DATABASE: Final = "bench_history"

FILL: Final = """
SET maintenance_work_mem = '512MB';
ALTER TABLE execution_events DROP CONSTRAINT pk_execution_events;
DO $$ DECLARE month regclass; BEGIN
    FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'execution_events'::regclass
    LOOP EXECUTE 'ALTER TABLE ' || month || ' SET UNLOGGED'; END LOOP;
END $$;
ALTER TABLE daily_usage SET UNLOGGED;
CREATE TEMPORARY TABLE made AS
SELECT n, CASE n WHEN 0 THEN 'org_heavy' ELSE 'org_' || n END AS org,
       (random() * 4e18)::bigint + 1 AS account
FROM generate_series(0, 1000) AS n;
ALTER TABLE made ADD PRIMARY KEY (n);
ANALYZE made;
INSERT INTO organizations (id, name, created_at) SELECT org, org, now() FROM made;
INSERT INTO accounts (id, kind, organization_id, created_at)
SELECT account, 'organization', org, now() FROM made;
INSERT INTO execution_events (
    account_id, number, plan_sequence, kind, executions, plan_used_after, remaining_after,
    workflow, user_id, idempotency_key, reason, occurred_at)
SELECT account, number, 1, 'consume', 1 + i % 3, 0, 0, 'workflow-' || i % 4, 'user-' || i % 7,
       'key-' || i, '', to_timestamp(number / 1e6)
FROM (
    SELECT i, CASE WHEN i % 5 = 0 THEN 0 ELSE 1 + i % 1000 END AS n,
           (extract(epoch FROM current_date - {days}) * 1000000)::bigint
           + (i * ({days} * 86400e6 / ({events} + 1)))::bigint AS number
    FROM generate_series(1, {events}) AS i
) AS event JOIN made USING (n);
ALTER TABLE execution_events ADD CONSTRAINT pk_execution_events
    PRIMARY KEY (account_id, number, plan_sequence);
INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)
SELECT account_id, (occurred_at AT TIME ZONE 'UTC')::date, workflow, user_id, sum(executions), 0
FROM execution_events GROUP BY 1, 2, 3, 4;
INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,
                   starts_at, ends_at, began_at, created_at)
SELECT account_id, 1, 'paid', 'Benchmark', 'contract', 1000000000, sum(used), 0,
       now() - interval '2 years', NULL, now() - interval '1 year', now()
FROM daily_usage GROUP BY account_id;
"""

SUM_OF_EVENTS: Final = """
SELECT (to_timestamp(number / 1e6) AT TIME ZONE 'UTC')::date AS day, sum(executions)::bigint
FROM execution_events
WHERE account_id = (SELECT id FROM accounts WHERE organization_id = 'org_heavy')
GROUP BY day ORDER BY day
"""


class History(msgspec.Struct, frozen=True):
    """Counts of the database and of its heaviest account, which has a fifth of all events."""

    url: str
    secret: str
    first: date
    last: date
    events: int
    heavy_events: int
    heavy_daily_rows: int
    fill_seconds: float

    def sum_of_events_ms(self) -> float:
        """How long the usage by day of the heaviest account takes from its events."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            started_at = time.perf_counter()
            connection.execute(SUM_OF_EVENTS).fetchall()
            return (time.perf_counter() - started_at) * 1000


@contextlib.contextmanager
def made_history(bed: BenchmarkHarness, events: int) -> Iterator[History]:
    """A migrated database with `events` over the last year; dropped when the block ends."""
    url = create_database(bed.server_url, DATABASE)
    try:
        migrations.upgrade(url)
        months_since(url, datetime.now(UTC) - timedelta(days=DAYS))
        started_at = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL.format(events=events, days=DAYS))  # pyright: ignore[reportArgumentType, reportCallIssue]
            connection.execute("VACUUM (ANALYZE)")
            heavy = connection.execute(
                "SELECT count(*), min(day), max(day) FROM daily_usage WHERE account_id ="
                " (SELECT id FROM accounts WHERE organization_id = 'org_heavy')"
            ).fetchone()
        assert heavy is not None
        yield History(
            url=url,
            secret=make_key(url),
            first=heavy[1],
            last=heavy[2],
            events=events,
            heavy_events=events // 5,
            heavy_daily_rows=heavy[0],
            fill_seconds=time.perf_counter() - started_at,
        )
    finally:
        with psycopg.connect(bed.server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")  # pyright: ignore[reportArgumentType, reportCallIssue]
