"""The SQL of leases, beside the hot path's. See statements.py for the marks in it."""

from typing import Final

_NAMED: Final = "unnest($1::bigint[], $2::bigint[]) AS named (account_id, number)"

LEASES: Final = f"""
SELECT l.account_id, l.number, l.secret, l.executions, l.settled, l.sequence, l.unsettled,
       l.unsettled_at, r.created_at, l.expires_at, r.status, r.expires_at, r.workflow, r.user_id,
       r.idempotency_key, h.plan_sequence, h.executions AS held
FROM {_NAMED}
JOIN leases AS l ON l.account_id = named.account_id AND l.number = named.number
JOIN reservations AS r ON r.account_id = l.account_id AND r.number = l.number
LEFT JOIN reservation_holds AS h ON h.account_id = r.account_id
     AND h.reservation_number = r.number/*route h.account_id*/
WHERE true/*route l.account_id*//*route r.account_id*/
ORDER BY l.account_id, l.number, h.plan_sequence
"""  # noqa: S608

LEASE_LINES: Final = f"""
SELECT line.account_id, line.lease_number, line.workflow, line.user_id, line.day, line.executions
FROM {_NAMED}
JOIN lease_lines AS line ON line.account_id = named.account_id AND line.lease_number = named.number
WHERE true/*route line.account_id*/
"""  # noqa: S608

OPEN_LEASES: Final = """
INSERT INTO leases (account_id, number, secret, executions, expires_at)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[])
"""

CHANGE_LEASES: Final = """
UPDATE leases SET executions = changed.executions, settled = changed.settled,
                  sequence = changed.sequence, unsettled = changed.unsettled,
                  unsettled_at = changed.unsettled_at, expires_at = changed.expires_at
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::timestamptz[], $8::timestamptz[])
     AS changed (account_id, number, executions, settled, sequence, unsettled, unsettled_at,
                 expires_at)
WHERE leases.account_id = changed.account_id AND leases.number = changed.number
      /*route leases.account_id*/
"""

RENEW_RESERVATIONS: Final = """
UPDATE reservations SET executions = renewed.executions, expires_at = renewed.settle_until
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[])
     AS renewed (account_id, number, executions, settle_until)
WHERE reservations.account_id = renewed.account_id AND reservations.number = renewed.number
      /*route reservations.account_id*/
"""

COUNT_LINES: Final = """
INSERT INTO lease_lines (account_id, lease_number, workflow, user_id, day, executions)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::date[], $6::bigint[])
ON CONFLICT (account_id, lease_number, workflow, user_id, day)
DO UPDATE SET executions = excluded.executions
"""

KEEP_HOLDS: Final = """
INSERT INTO reservation_holds (account_id, reservation_number, plan_sequence, executions)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[])
ON CONFLICT (account_id, reservation_number, plan_sequence)
DO UPDATE SET executions = excluded.executions
"""

DROP_HOLDS: Final = """
DELETE FROM reservation_holds
USING unnest($1::bigint[], $2::bigint[], $3::int[]) AS used (account_id, number, plan_sequence)
WHERE reservation_holds.account_id = used.account_id
      AND reservation_holds.reservation_number = used.number
      AND reservation_holds.plan_sequence = used.plan_sequence/*route reservation_holds.account_id*/
"""

PAST_EVENTS: Final = """
INSERT INTO execution_events (
    account_id, number, plan_sequence, kind, executions, plan_used_after, remaining_after,
    workflow, user_id, idempotency_key, api_key_id, refers_to, reason, occurred_at)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[], $5::bigint[], $6::bigint[],
                     $7::bigint[], $8::text[], $9::text[], $10::text[], $11::bigint[],
                     $12::bigint[], $13::text[], $14::timestamptz[])
"""

PAST_USAGE: Final = """
INSERT INTO daily_usage (account_id, workflow, user_id, day, used, refunded)
SELECT past.*, 0
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::date[], $5::bigint[]) AS past
ON CONFLICT (account_id, day, workflow, user_id) DO UPDATE
SET used = daily_usage.used + excluded.used
"""

PAST_OVERAGE: Final = """
INSERT INTO daily_overage (account_id, plan_sequence, day, used, refunded)
SELECT past.*, 0 FROM unnest($1::bigint[], $2::int[], $3::date[], $4::bigint[]) AS past
ON CONFLICT (account_id, plan_sequence, day) DO UPDATE
SET used = daily_overage.used + excluded.used
"""

STATEMENTS: Final = {
    "leases": LEASES,
    "lease_lines": LEASE_LINES,
    "open_leases": OPEN_LEASES,
    "change_leases": CHANGE_LEASES,
    "renew_reservations": RENEW_RESERVATIONS,
    "count_lines": COUNT_LINES,
    "keep_holds": KEEP_HOLDS,
    "drop_holds": DROP_HOLDS,
    "past_events": PAST_EVENTS,
    "past_usage": PAST_USAGE,
    "past_overage": PAST_OVERAGE,
}
