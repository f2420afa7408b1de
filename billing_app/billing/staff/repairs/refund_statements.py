"""What refunds read of the ledger: what is left of events, and what the customer can use again."""

from typing import Final

from sqlalchemy import text

from billing_app.billing.executions.statements import REFUNDED

# Of a plan that has not ended, or only because it was used up.
USABLE_AGAIN: Final = (
    "(plan.ended_at IS NULL OR plan.ended_because = 'depleted')"
    " AND (plan.ends_at IS NULL OR plan.ends_at > {now})"
)
CHARGED: Final = "plan.account_id = e.account_id AND plan.sequence = e.plan_sequence"
FOUND: Final = f"""
SELECT e.number, sum(e.executions)::bigint, sum(e.executions - e.refunded)::bigint,
       coalesce(sum(e.executions - e.refunded) FILTER (WHERE e.is_usable), 0)::bigint
FROM (
    SELECT e.number, e.executions, {REFUNDED} AS refunded, {USABLE_AGAIN} AS is_usable
    FROM execution_events AS e JOIN plans AS plan ON {CHARGED}
    WHERE e.account_id = {{account}} AND e.number >= {{since}} AND e.number < {{until}}
      AND e.kind IN ('consume', 'commit') AND e.workflow = {{workflow}}
      AND (CAST({{user_id}} AS text) IS NULL OR e.user_id = CAST({{user_id}} AS text))
) AS e
GROUP BY e.number ORDER BY e.number
"""  # noqa: S608
FOUND_BY_NAME: Final = text(
    FOUND.format(
        account=":account",
        since=":since",
        until=":until",
        workflow=":workflow",
        user_id=":user_id",
        now=":now",
    )
)
FOUND_BY_POSITION: Final = FOUND.format(
    account="$1", since="$2", until="$3", workflow="$4", user_id="$5", now="$6::timestamptz"
)
# Of one event, in the order in which plans get back: the last payer first.
LEFT_BY_PLAN: Final = text(f"""
SELECT e.executions - {REFUNDED}, {USABLE_AGAIN.format(now=":now")}
FROM execution_events AS e JOIN plans AS plan ON {CHARGED}
WHERE e.account_id = :account AND e.number = :number
ORDER BY plan.priority DESC, plan.ends_at DESC NULLS FIRST, plan.sequence DESC
""")  # noqa: S608
GIVEN_BACK_USABLE: Final = f"""
SELECT coalesce(-sum(e.executions), 0)::bigint
FROM execution_events AS e JOIN plans AS plan ON {CHARGED}
WHERE e.account_id = $1 AND e.number = ANY($2::bigint[])
  AND {USABLE_AGAIN.format(now="$3::timestamptz")}
"""  # noqa: S608
REFUNDED_BY_EVENT: Final = text(f"""
SELECT number, refunded FROM (
    SELECT e.number, sum({REFUNDED})::bigint AS refunded FROM execution_events AS e
    WHERE e.account_id = :account AND e.number = ANY(:numbers)
    GROUP BY e.number
) AS of_event
WHERE refunded <> 0
""")  # noqa: S608
GIVEN_BACK: Final = """
SELECT r.number, r.plan_sequence, r.executions, r.refers_to, r.workflow, r.user_id
FROM execution_events AS r WHERE r.account_id = $1 AND r.number = ANY($2::bigint[])
ORDER BY r.number, r.plan_sequence
"""
