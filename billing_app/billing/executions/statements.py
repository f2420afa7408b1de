"""The SQL of the hot path. Every statement names a list of accounts; locks are in sorted order.

Statements in `_arrays_as_text` take each array as its text (driver.array). Hashes and answers are
sent as one value with the offset of each, because PostgreSQL parses an array's text character by
character.
"""

import re
from typing import Final

from billing_app.billing.executions.requests import HASH_BYTES


def _arrays_as_text(statement: str) -> str:
    """`$1::bigint[]` as `$1::text::bigint[]`: the driver sends text, PostgreSQL reads the array."""
    return re.sub(r"(\$\d+)::(\w+\[\])", r"\1::text::\2", statement)


# The next period of a subscription waits beside its plan (subscriptions/bridges.py). It is left
# alone until it starts, at `{at}`; the margin is for the time that locks take.
HAS_BEGUN: Final = """(source NOT IN ('bridge', 'overage')
           OR starts_at <= coalesce({at}::timestamptz, clock_timestamp()) + interval '5 seconds')"""

# The clock of the last row is read after the last lock. A plan that has ended is read too while it
# holds executions: their reservations may have expired by now.
LOCK_PLANS: Final = _arrays_as_text(f"""
SELECT locked.*, clock_timestamp() AS now
FROM (
    SELECT account_id, sequence, type, name, executions, used, held,
           starts_at, ends_at, began_at, ended_at, ended_because, priority, suspended_at,
           paused_at, blocked_at
    FROM plans
    WHERE account_id = ANY($1::bigint[])
      AND (ended_at IS NULL OR held > 0 OR account_id = ANY($2::bigint[]))
      AND {HAS_BEGUN.format(at="$3")}
    ORDER BY account_id, sequence
    FOR UPDATE
) AS locked
""")  # noqa: S608

READ_PLANS: Final = LOCK_PLANS.replace("FOR UPDATE", "")

LAST_CLOSED_PLANS: Final = _arrays_as_text(f"""
SELECT DISTINCT ON (account_id)
       account_id, sequence, type, name, executions, used, held,
       starts_at, ends_at, began_at, ended_at, ended_because, priority, suspended_at,
       paused_at, blocked_at
FROM plans
WHERE account_id = ANY($1::bigint[]) AND {HAS_BEGUN.format(at="$2")}
ORDER BY account_id, sequence DESC
""")  # noqa: S608

# OFFSET 0 forces an index look-up for each key: as a plain join, a query plan made while the table
# was empty scans the whole table for every batch until the next ANALYZE (measured: 1,000 µs a
# request instead of 60).
KNOWN_KEYS: Final = _arrays_as_text("""
SELECT known.account_id, known.key, known.request_hash, known.answer
FROM unnest($1::bigint[], $2::text[]) AS named (account_id, key)
CROSS JOIN LATERAL (
    SELECT account_id, key, request_hash, answer FROM idempotency_keys
    WHERE account_id = named.account_id AND key = named.key
    OFFSET 0
) AS known
""")

CLOCK: Final = "SELECT clock_timestamp() AS now"

RESERVATIONS: Final = _arrays_as_text("""
SELECT r.account_id, r.number, r.status, r.executions, r.expires_at, r.workflow, r.user_id,
       r.idempotency_key, h.plan_sequence, h.executions AS held
FROM (
    SELECT number, account_id FROM reservations
    WHERE account_id = ANY($1::bigint[]) AND status = 'held' AND expires_at <= $2
    UNION
    SELECT number, account_id FROM unnest($3::bigint[], $4::bigint[]) AS named (account_id, number)
) AS wanted
JOIN reservations AS r ON r.account_id = wanted.account_id AND r.number = wanted.number
JOIN reservation_holds AS h ON h.account_id = r.account_id AND h.reservation_number = r.number
ORDER BY r.account_id, r.number, h.plan_sequence
""")

# What was refunded so far of the row `e` of execution_events. An adjustment that refers to an
# event is the undo of a refund (negative refund) or of an adjustment. What refers to an event has a
# higher number: partitions of before are not read.
REFUNDED: Final = """coalesce((
    SELECT -sum(refund.executions) FROM execution_events AS refund
    WHERE refund.account_id = e.account_id AND refund.refers_to = e.number
      AND refund.number > e.number
      AND refund.kind IN ('refund', 'adjustment') AND refund.plan_sequence = e.plan_sequence
), 0)::bigint"""

EVENTS: Final = _arrays_as_text(f"""
SELECT e.account_id, e.number, e.workflow, e.user_id, e.plan_sequence, e.executions,
       {REFUNDED} AS refunded
FROM unnest($1::bigint[], $2::bigint[]) AS named (account_id, number)
JOIN execution_events AS e ON e.account_id = named.account_id AND e.number = named.number
WHERE e.kind IN ('consume', 'commit')
ORDER BY e.account_id, e.number, e.plan_sequence
""")  # noqa: S608

KEPT_FROM: Final = _arrays_as_text("""
SELECT account_id, max(before) FROM carried_forward
WHERE account_id = ANY($1::bigint[]) GROUP BY account_id
""")

APPLY: Final = _arrays_as_text(f"""
WITH moved AS (
    UPDATE plans SET used = change.used, held = change.held,
                     began_at = coalesce(plans.began_at, $5::timestamptz)
    FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[])
         AS change (account_id, sequence, used, held)
    WHERE plans.account_id = change.account_id AND plans.sequence = change.sequence
), events AS (
    INSERT INTO execution_events (
        account_id, number, plan_sequence, kind, executions, plan_used_after, remaining_after,
        workflow, user_id, idempotency_key, api_key_id, refers_to, reason, occurred_at)
    SELECT event.*, $5::timestamptz
    FROM unnest($6::bigint[], $7::bigint[], $8::int[], $9::text[], $10::bigint[], $11::bigint[],
                $12::bigint[], $13::text[], $14::text[], $15::text[], $16::bigint[],
                $17::bigint[], $18::text[]) AS event
), keys AS (
    INSERT INTO idempotency_keys (account_id, key, request_hash, answer, created_at)
    SELECT account_id, key, substring($19::bytea FROM starts_at FOR {HASH_BYTES}),
           substring($19::bytea FROM starts_at + {HASH_BYTES} FOR answer_length), $5::timestamptz
    FROM unnest($20::bigint[], $21::text[], $22::int[], $23::int[])
         AS known (account_id, key, starts_at, answer_length)
)
INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)
SELECT account_id, ($5::timestamptz AT TIME ZONE 'UTC')::date, workflow, user_id, used, refunded
FROM unnest($24::bigint[], $25::text[], $26::text[], $27::bigint[], $28::bigint[])
     AS counted (account_id, workflow, user_id, used, refunded)
ON CONFLICT (account_id, day, workflow, user_id) DO UPDATE
SET used = daily_usage.used + excluded.used,
    refunded = daily_usage.refunded + excluded.refunded
""")  # noqa: S608

TURN_PLANS: Final = _arrays_as_text("""
UPDATE plans SET used = change.used, held = change.held, began_at = change.began_at,
                 ended_at = change.ended_at, ended_because = change.ended_because
FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[],
            $5::timestamptz[], $6::timestamptz[], $7::text[])
     AS change (account_id, sequence, used, held, began_at, ended_at, ended_because)
WHERE plans.account_id = change.account_id AND plans.sequence = change.sequence
""")

COUNT_OVERAGE: Final = _arrays_as_text("""
INSERT INTO daily_overage (account_id, plan_sequence, day, used, refunded)
SELECT account_id, plan_sequence, ($1::timestamptz AT TIME ZONE 'UTC')::date, used, refunded
FROM unnest($2::bigint[], $3::int[], $4::bigint[], $5::bigint[])
     AS counted (account_id, plan_sequence, used, refunded)
ON CONFLICT (account_id, plan_sequence, day) DO UPDATE
SET used = daily_overage.used + excluded.used,
    refunded = daily_overage.refunded + excluded.refunded
""")

DENY: Final = _arrays_as_text("""
INSERT INTO daily_denials (account_id, day, workflow, user_id, reason, denied)
SELECT account_id, ($1::timestamptz AT TIME ZONE 'UTC')::date, workflow, user_id, reason, denied
FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])
     AS counted (account_id, workflow, user_id, reason, denied)
ON CONFLICT (account_id, day, workflow, user_id, reason) DO UPDATE
SET denied = daily_denials.denied + excluded.denied
""")

RESERVE: Final = _arrays_as_text("""
INSERT INTO reservations (
    account_id, number, status, executions, workflow, user_id, idempotency_key, api_key_id,
    expires_at, created_at)
SELECT held.account_id, held.number, 'held', held.executions, held.workflow, held.user_id,
       held.idempotency_key, held.api_key_id, held.expires_at, $1::timestamptz
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
            $8::bigint[], $9::timestamptz[])
     AS held (account_id, number, executions, workflow, user_id, idempotency_key, api_key_id,
              expires_at)
""")

RESERVE_PARTS: Final = _arrays_as_text("""
INSERT INTO reservation_holds (account_id, reservation_number, plan_sequence, executions)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[])
""")

SETTLE: Final = _arrays_as_text("""
UPDATE reservations SET status = settled.status, settled_at = settled.at,
                        event_number = settled.event_number
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::bigint[])
     AS settled (account_id, number, status, at, event_number)
WHERE reservations.account_id = settled.account_id AND reservations.number = settled.number
""")

ORGANIZATION_ACCOUNTS: Final = """
SELECT organization_id, id FROM accounts
WHERE kind = 'organization' AND organization_id = ANY($1::text[])
"""

USER_ACCOUNTS: Final = """
SELECT user_id, id FROM accounts WHERE kind = 'user' AND user_id = ANY($1::text[])
"""

ACCOUNT_OWNERS: Final = "SELECT id, organization_id FROM accounts WHERE id = ANY($1::bigint[])"

USERS_OF_OTHERS: Final = """
SELECT named.organization_id, named.user_id
FROM unnest($1::text[], $2::text[]) AS named (organization_id, user_id)
WHERE EXISTS (
    SELECT FROM memberships AS m
    WHERE m.user_id = named.user_id AND m.organization_id <> $3
) AND NOT EXISTS (
    SELECT FROM memberships AS m
    WHERE m.user_id = named.user_id AND m.organization_id = named.organization_id
)
"""
