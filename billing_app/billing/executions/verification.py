"""Verification: recomputes every balance from the ledger and lists the differences."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from billing_app.billing import ids
from billing_app.db.engine import Database


@dataclass(frozen=True, slots=True)
class Difference:
    """Two figures that should be equal. `row` names the plan, day or event."""

    account_id: str
    figure: str
    row: str
    expected: int
    actual: int


# Of accounts of which events were removed: the lowest number of those that are kept.
KEPT: Final = "SELECT account_id, max(before) AS first FROM carried_forward GROUP BY account_id"
CARRIED: Final = """
    SELECT account_id, plan_sequence, sum(executions) AS used
    FROM carried_forward GROUP BY account_id, plan_sequence
"""
# Rows of days before that are only in part made of events that are kept.
IS_KEPT_DAY: Final = """(kept.first IS NULL
    OR coalesce(d.day, e.day) >= (to_timestamp(kept.first / 1e6) AT TIME ZONE 'UTC')::date)"""

USED: Final = f"""
SELECT coalesce(p.account_id, e.account_id), 'plan used',
       'plan ' || coalesce(p.sequence, e.plan_sequence),
       coalesce(e.used, 0)::bigint, coalesce(p.used, 0)
FROM plans AS p
FULL JOIN (
    SELECT account_id, plan_sequence, sum(used) AS used FROM (
        SELECT account_id, plan_sequence, sum(executions) AS used
        FROM execution_events GROUP BY account_id, plan_sequence
        UNION ALL {CARRIED}
    ) AS ledger GROUP BY account_id, plan_sequence
) AS e ON e.account_id = p.account_id AND e.plan_sequence = p.sequence
WHERE coalesce(e.used, 0) <> coalesce(p.used, 0) OR p.sequence IS NULL
"""  # noqa: S608

HELD: Final = """
SELECT p.account_id, 'plan held', 'plan ' || p.sequence, coalesce(h.held, 0)::bigint, p.held
FROM plans AS p
LEFT JOIN (
    SELECT h.account_id, h.plan_sequence, sum(h.executions) AS held
    FROM reservation_holds AS h
    JOIN reservations AS r ON r.account_id = h.account_id AND r.number = h.reservation_number
    WHERE r.status = 'held' GROUP BY h.account_id, h.plan_sequence
) AS h ON h.account_id = p.account_id AND h.plan_sequence = p.sequence
WHERE coalesce(h.held, 0) <> p.held
"""

DAILY: Final = f"""
SELECT coalesce(d.account_id, e.account_id), figure.name,
       coalesce(d.day, e.day) || ' ' || coalesce(d.workflow, e.workflow) || ' '
           || coalesce(d.user_id, e.user_id),
       figure.expected::bigint, figure.actual
FROM daily_usage AS d
FULL JOIN (
    SELECT account_id, (occurred_at AT TIME ZONE 'UTC')::date AS day, workflow, user_id,
           coalesce(sum(executions) FILTER (WHERE executions > 0), 0) AS used,
           coalesce(-sum(executions) FILTER (WHERE executions < 0), 0) AS refunded
    FROM execution_events GROUP BY 1, 2, 3, 4
) AS e USING (account_id, day, workflow, user_id)
LEFT JOIN ({KEPT}) AS kept USING (account_id)
CROSS JOIN LATERAL (VALUES
    ('daily used', coalesce(e.used, 0), coalesce(d.used, 0)),
    ('daily refunded', coalesce(e.refunded, 0), coalesce(d.refunded, 0))
) AS figure (name, expected, actual)
WHERE figure.expected <> figure.actual AND {IS_KEPT_DAY}
"""  # noqa: S608

OVERAGE: Final = f"""
SELECT coalesce(d.account_id, e.account_id), 'daily overage',
       coalesce(d.day, e.day) || ' plan ' || coalesce(d.plan_sequence, e.plan_sequence),
       coalesce(e.net, 0)::bigint, coalesce(d.used - d.refunded, 0)
FROM daily_overage AS d
FULL JOIN (
    SELECT e.account_id, e.plan_sequence, (e.occurred_at AT TIME ZONE 'UTC')::date AS day,
           sum(e.executions) AS net
    FROM execution_events AS e
    JOIN plans AS p ON p.account_id = e.account_id AND p.sequence = e.plan_sequence
    WHERE p.source = 'overage' GROUP BY 1, 2, 3
) AS e USING (account_id, plan_sequence, day)
LEFT JOIN ({KEPT}) AS kept USING (account_id)
WHERE coalesce(e.net, 0) <> coalesce(d.used - d.refunded, 0) AND {IS_KEPT_DAY}
"""  # noqa: S608

# Numbers are times: where a clock was set back, they are not in the order in which events happened.
# Then the values before and after a plan's events are compared: each of them but the first and the
# last is the end of one event and the start of another.
RUNNING: Final = f"""
WITH suspect AS (
    SELECT account_id, number, plan_sequence, running, plan_used_after, carried
    FROM (
        SELECT account_id, number, plan_sequence, plan_used_after,
               coalesce(c.used, 0) AS carried,
               coalesce(c.used, 0) + sum(executions) OVER (
                   PARTITION BY account_id, plan_sequence ORDER BY number) AS running
        FROM execution_events LEFT JOIN ({CARRIED}) AS c USING (account_id, plan_sequence)
    ) AS chain
    WHERE running <> plan_used_after
), event AS (
    SELECT account_id, plan_sequence, executions, plan_used_after, carried
    FROM (SELECT DISTINCT account_id, plan_sequence, carried FROM suspect) AS plan
    JOIN execution_events USING (account_id, plan_sequence)
), broken AS (
    SELECT account_id, plan_sequence FROM (
        SELECT account_id, plan_sequence, plan_used_after AS value, 1 AS times FROM event
        UNION ALL
        SELECT account_id, plan_sequence, plan_used_after - executions, -1 FROM event
        UNION ALL
        SELECT account_id, plan_sequence, min(carried), 1 FROM event GROUP BY 1, 2
        UNION ALL
        SELECT account_id, plan_sequence, min(carried) + sum(executions), -1 FROM event
        GROUP BY 1, 2
    ) AS ends GROUP BY account_id, plan_sequence, value HAVING sum(times) <> 0
)
SELECT account_id, 'plan used after event', number || ' plan ' || plan_sequence,
       running::bigint, plan_used_after
FROM suspect
WHERE (account_id, plan_sequence) IN (SELECT account_id, plan_sequence FROM broken)
"""  # noqa: S608

REFUNDED: Final = f"""
SELECT r.account_id, 'refunded over event', r.refers_to || ' plan ' || r.plan_sequence,
       e.executions, r.refunded::bigint
FROM (
    SELECT account_id, refers_to, plan_sequence, -sum(executions) AS refunded
    FROM execution_events
    WHERE kind IN ('refund', 'adjustment') AND refers_to IS NOT NULL GROUP BY 1, 2, 3
) AS r
LEFT JOIN execution_events AS e
    ON e.account_id = r.account_id AND e.number = r.refers_to
       AND e.plan_sequence = r.plan_sequence
LEFT JOIN ({KEPT}) AS kept ON kept.account_id = r.account_id
WHERE CASE WHEN e.executions IS NULL THEN r.refers_to >= coalesce(kept.first, 0)
           ELSE r.refunded NOT BETWEEN least(e.executions, 0) AND greatest(e.executions, 0) END
"""  # noqa: S608

LEASES: Final = f"""
SELECT l.account_id, figure.name, 'lease ' || l.number, figure.expected::bigint, l.settled
FROM leases AS l
LEFT JOIN (
    SELECT account_id, lease_number, sum(executions) AS executions
    FROM lease_lines GROUP BY 1, 2
) AS line ON line.account_id = l.account_id AND line.lease_number = l.number
LEFT JOIN (
    SELECT account_id, refers_to, sum(executions) AS executions
    FROM execution_events WHERE kind = 'commit' GROUP BY 1, 2
) AS event ON event.account_id = l.account_id AND event.refers_to = l.number
LEFT JOIN ({KEPT}) AS kept ON kept.account_id = l.account_id
CROSS JOIN LATERAL (VALUES
    ('lease settled by lines', coalesce(line.executions, 0)),
    ('lease settled by events', coalesce(event.executions, 0))
) AS figure (name, expected)
WHERE figure.expected <> l.settled
      AND (kept.first IS NULL OR l.number >= kept.first OR figure.name LIKE '%lines')
"""  # noqa: S608

CHECKS: Final = (USED, HELD, DAILY, OVERAGE, RUNNING, REFUNDED, LEASES)
MAX_DIFFERENCES: Final = 1000


async def verify(database: Database) -> list[Difference]:
    """All differences between balances, daily rows and the ledger, from one snapshot.

    At most MAX_DIFFERENCES of each kind; an empty list means that all figures agree.
    """
    differences: list[Difference] = []
    async with database.reading() as session:
        connection = await session.connection()
        # Before the snapshot is taken, or partitions and their sums might not fit each other.
        await connection.execute(text("LOCK TABLE execution_events IN ACCESS SHARE MODE"))
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        for check in CHECKS:
            rows = await connection.execute(text(f"{check} LIMIT {MAX_DIFFERENCES}"))
            differences.extend(
                Difference(ids.encode_account(row[0] or 0), row[1], row[2], row[3] or 0, row[4])
                for row in rows.all()
            )
    return differences
