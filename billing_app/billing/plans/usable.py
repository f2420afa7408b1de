"""When a plan can be used and in which order, in SQL on a row of `plans`; `:now` is the time.

The hot path decides by the same rules in Python: PlanBalance.is_in_period and is_usable, and
queue_order (executions/state.py). tests/billing/test_sql_rules.py compares them.
"""


def is_open(plan: str) -> str:
    """It has not ended; it may begin later."""
    return f"{plan}.ended_at IS NULL AND ({plan}.ends_at IS NULL OR {plan}.ends_at > :now)"


def is_in_period(plan: str) -> str:
    return f"{is_open(plan)} AND {plan}.starts_at <= :now"


def is_usable(plan: str) -> str:
    """In its period, not overdue, not paused, and its account is not blocked."""
    return (
        f"{is_in_period(plan)} AND ({plan}.suspended_at IS NULL OR {plan}.suspended_at > :now)"
        f" AND {plan}.paused_at IS NULL AND {plan}.blocked_at IS NULL"
    )


def is_waiting_bridge(plan: str) -> str:
    """The next period of a subscription, which is nobody's plan before it starts."""
    return f"{plan}.source IN ('bridge', 'overage') AND {plan}.starts_at > :now"


def queue_order(plan: str) -> str:
    """For ORDER BY: by priority, then what ends first, then sequence."""
    return f"{plan}.priority, {plan}.ends_at NULLS LAST, {plan}.sequence"
