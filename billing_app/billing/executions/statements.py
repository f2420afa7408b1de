"""The SQL of the hot path. Every statement names a list of accounts; locks are in sorted order.

Statements in `_arrays_as_text` take each array as its text (driver.array). Hashes and answers are
sent as one value with the offset of each, because PostgreSQL parses an array's text character by
character.

The same texts serve a plain PostgreSQL, the tables of one shard on its own node, and Citus'
coordinator (`Statements`). `/*route c*/` marks where the coordinator has to be told the accounts
once more, as an array that it can route by.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from billing_app.billing.executions.requests import HASH_BYTES
from billing_app.db.distribution import DISTRIBUTED


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
           paused_at, blocked_at, offer_version_id
    FROM plans
    WHERE account_id = ANY($1::bigint[])/*route account_id*/
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
       paused_at, blocked_at, offer_version_id
FROM plans
WHERE account_id = ANY($1::bigint[])/*route account_id*/ AND {HAS_BEGUN.format(at="$2")}
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

# The coordinator cannot send the look-ups above to a shard.
JOINED_KEYS: Final = _arrays_as_text("""
SELECT known.account_id, known.key, known.request_hash, known.answer
FROM unnest($1::bigint[], $2::text[]) AS named (account_id, key)
JOIN idempotency_keys AS known ON known.account_id = named.account_id AND known.key = named.key
WHERE true/*route known.account_id*/
""")

CLOCK: Final = "SELECT clock_timestamp() AS now"

RESERVATIONS: Final = _arrays_as_text("""
SELECT r.account_id, r.number, r.status, r.executions, r.expires_at, r.workflow, r.user_id,
       r.idempotency_key, h.plan_sequence, h.executions AS held
FROM (
    SELECT number, account_id FROM reservations
    WHERE account_id = ANY($1::bigint[])/*route account_id*/
      AND status = 'held' AND expires_at <= $2
    UNION
    SELECT number, account_id FROM unnest($3::bigint[], $4::bigint[]) AS named (account_id, number)
) AS wanted
JOIN reservations AS r ON r.account_id = wanted.account_id AND r.number = wanted.number
JOIN reservation_holds AS h ON h.account_id = r.account_id AND h.reservation_number = r.number
WHERE true/*route r.account_id*//*route h.account_id*/
ORDER BY r.account_id, r.number, h.plan_sequence
""")

# What was refunded so far of the row `e` of execution_events. An adjustment that refers to an
# event is the undo of a refund (negative refund) or of an adjustment. What refers to an event has a
# higher number: partitions of before are not read.
_REFUNDED: Final = """coalesce((
    SELECT -sum(refund.executions) FROM execution_events AS refund
    WHERE refund.account_id = e.account_id AND refund.refers_to = e.number
      AND refund.number > e.number
      AND refund.kind IN ('refund', 'adjustment') AND refund.plan_sequence = e.plan_sequence{route}
), 0)::bigint"""
REFUNDED: Final = _REFUNDED.format(route="")

# $3 and $4 are the lowest and the highest of the numbers: with them, PostgreSQL leaves out other
# partitions before the statement begins (measured over two years of them: 0.15 ms instead of 1).
EVENTS: Final = _arrays_as_text(f"""
SELECT e.account_id, e.number, e.workflow, e.user_id, e.plan_sequence, e.executions,
       {_REFUNDED.format(route=" AND refund.number > $3::bigint/*route refund.account_id*/")}
           AS refunded
FROM unnest($1::bigint[], $2::bigint[]) AS named (account_id, number)
JOIN execution_events AS e ON e.account_id = named.account_id AND e.number = named.number
WHERE e.kind IN ('consume', 'commit') AND e.number BETWEEN $3::bigint AND $4::bigint
      /*route e.account_id*/
ORDER BY e.account_id, e.number, e.plan_sequence
""")  # noqa: S608

KEPT_FROM: Final = _arrays_as_text("""
SELECT account_id, max(before) FROM carried_forward
WHERE account_id = ANY($1::bigint[])/*route account_id*/ GROUP BY account_id
""")

APPLY: Final = _arrays_as_text(f"""
WITH moved AS (
    UPDATE plans SET used = change.used, held = change.held,
                     began_at = coalesce(plans.began_at, $5::timestamptz)
    FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[])
         AS change (account_id, sequence, used, held)
    WHERE plans.account_id = change.account_id AND plans.sequence = change.sequence
          /*route plans.account_id*/
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
     AS counted (account_id, workflow, user_id, used, refunded)/*here*/
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
      /*route plans.account_id*/
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
      /*route reservations.account_id*/
""")

# A batch that waited for its locks does not see a plan that was added or reopened meanwhile, and
# the next one sees the balance higher: what crosses again within this time is the same crossing.
_SAME_CROSSING: Final = "$1::timestamptz - interval '5 seconds'"

# Also of alerts that are raised again: whoever raised the balance may not have cleared them.
CLEAR_ALERTS: Final = _arrays_as_text(f"""
UPDATE alerts SET cleared_at = $1::timestamptz
FROM unnest($2::bigint[], $3::text[], $4::bool[]) AS crossed (account_id, rule, is_met)
WHERE alerts.account_id = crossed.account_id AND alerts.rule = crossed.rule
      AND alerts.cleared_at IS NULL/*route alerts.account_id*/
      AND (NOT crossed.is_met OR alerts.raised_at < {_SAME_CROSSING})
""")  # noqa: S608

RAISE_ALERTS: Final = _arrays_as_text(f"""
INSERT INTO alerts (
    account_id, number, kind, rule, occasion, figures, raised_at, cleared_at)
SELECT account_id, number, kind, rule, number::text, figures::jsonb, $1::timestamptz,
       CASE WHEN is_cleared THEN $1::timestamptz END
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bool[])
     AS raised (account_id, number, kind, rule, figures, is_cleared)
WHERE NOT EXISTS (
    SELECT FROM alerts AS before
    WHERE before.account_id = raised.account_id AND before.rule = raised.rule
          AND before.cleared_at IS NULL AND before.raised_at >= {_SAME_CROSSING}
          /*route before.account_id*/
)
""")  # noqa: S608

# As account_events.outbox.APPEND, which announces in the same statement: the coordinator cannot.
APPEND_EVENTS: Final = _arrays_as_text("""
INSERT INTO account_events (account_id, id, type, data, dedup_key, created_at)
SELECT account_id, id, type, data::jsonb, dedup_key, created_at
FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
     AS event (account_id, id, type, data, dedup_key, created_at)
ON CONFLICT (account_id, dedup_key) DO NOTHING
""")

PLAN_SOURCES: Final = _arrays_as_text("""
SELECT account_id, sequence, source FROM plans
WHERE account_id = ANY($1::bigint[])/*route account_id*/ AND sequence = ANY($2::int[])
""")

ANNOUNCE: Final = "SELECT pg_notify($1, $2)"

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

_TABLES: Final = re.compile(rf"\b({'|'.join(DISTRIBUTED)})\b")
_ROUTE: Final = re.compile(r"\s*/\*route ([a-z_.]+)\*/")
_NOW: Final = "clock_timestamp() AS now"
_HERE: Final = "/*here*/"
_IS_HERE: Final = """EXISTS (
    SELECT FROM pg_dist_placement WHERE shardid = {shard} AND groupid = {group}
)"""
# A move of a shard takes this lock on every node, and waits for those who hold it; Citus takes it
# for each of its own writes (AcquireMetadataLocks). 5 is PostgreSQL's ShareLock.
LOCK_SHARD: Final = "SELECT lock_shard_metadata(5, ARRAY[{shard}::bigint])"


class Statements(msgspec.Struct, frozen=True):
    """The statements that read and change distributed tables, for one way to reach them.

    `shard`: they name the tables of this shard. `lock_plans` also keeps Citus from moving it; where
    it is by then, statements that follow can tell: rows of `clock` and `read_plans` have `is_here`,
    and elsewhere `apply` counts nothing for the day. `is_routed`: statements with a WHERE take the
    accounts as an array in a last argument.
    """

    lock_plans: str
    read_plans: str
    last_closed_plans: str
    known_keys: str
    clock: str
    reservations: str
    events: str
    kept_from: str
    apply: str
    turn_plans: str
    count_overage: str
    deny: str
    reserve: str
    reserve_parts: str
    settle: str
    clear_alerts: str
    raise_alerts: str
    append_events: str
    plan_sources: str
    shard: int = 0
    is_routed: bool = False

    def accounts(self, account_ids: Collection[int]) -> tuple[list[int], ...]:
        """The last argument of a statement with a WHERE, where there is one."""
        return (list(account_ids),) if self.is_routed else ()


_STATEMENTS: Final = {
    "lock_plans": LOCK_PLANS,
    "read_plans": READ_PLANS,
    "last_closed_plans": LAST_CLOSED_PLANS,
    "known_keys": KNOWN_KEYS,
    "clock": CLOCK,
    "reservations": RESERVATIONS,
    "events": EVENTS,
    "kept_from": KEPT_FROM,
    "apply": APPLY,
    "turn_plans": TURN_PLANS,
    "count_overage": COUNT_OVERAGE,
    "deny": DENY,
    "reserve": RESERVE,
    "reserve_parts": RESERVE_PARTS,
    "settle": SETTLE,
    "clear_alerts": CLEAR_ALERTS,
    "raise_alerts": RAISE_ALERTS,
    "append_events": APPEND_EVENTS,
    "plan_sources": PLAN_SOURCES,
}
_PLAIN: Final = {
    name: _ROUTE.sub("", statement).replace(_HERE, "") for name, statement in _STATEMENTS.items()
}


def _routed(statement: str) -> str:
    last = 1 + max((int(number) for number in re.findall(r"\$(\d+)", statement)), default=0)
    return _ROUTE.sub(rf" AND \1 = ANY(${last}::bigint[])", statement).replace(_HERE, "")


def of_shard(shard: int, group: int, tables: Mapping[str, str]) -> Statements:
    """On the node of that group, which holds the shard; `tables` are the shard's names of
    DISTRIBUTED.

    To PostgreSQL these are tables like any other: Citus plans nothing.
    """
    is_here = _IS_HERE.format(shard=shard, group=group)
    statements = {
        name: _ROUTE.sub("", statement).replace(_HERE, f"\nWHERE {is_here}")
        for name, statement in _STATEMENTS.items()
    }
    statements["lock_plans"] += f"WHERE ({LOCK_SHARD.format(shard=shard)}) IS NOT NULL"
    for name in ("clock", "read_plans"):
        statements[name] = statements[name].replace(_NOW, f"{_NOW}, {is_here} AS is_here")
    named = {
        name: _TABLES.sub(lambda match: tables[match[0]], statement)
        for name, statement in statements.items()
    }
    return msgspec.convert({**named, "shard": shard}, Statements)


PLAIN: Final = msgspec.convert(_PLAIN, Statements)
# Through Citus' coordinator: each statement for the accounts of one shard, in a session with
# plan_cache_mode = force_custom_plan, because Citus chooses the shard when it plans.
ROUTED: Final = msgspec.convert(
    {
        name: _routed(statement)
        for name, statement in (_STATEMENTS | {"known_keys": JOINED_KEYS}).items()
    }
    | {"is_routed": True},
    Statements,
)
