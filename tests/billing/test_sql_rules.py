"""Rules that exist both in SQL and in Python agree.

What was refunded so far is compared by test_ledger_stateful.py, for every event of its runs.
"""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.executions.state import PlanBalance, queue_order
from billing_app.billing.plans import usable
from billing_app.billing.plans.usable import is_in_period, is_open, is_usable
from tests.factories import NOW, connect, plan

COLUMNS = ("starts_at", "ends_at", "ended_at", "suspended_at", "paused_at", "blocked_at")
RULES = f"""
SELECT {is_open("plan")}, {is_in_period("plan")}, {is_usable("plan")}
FROM (SELECT {", ".join(f"%({name})s::timestamptz AS {name}" for name in COLUMNS)}) AS plan
""".replace(":now", "%(now)s")  # noqa: S608

around_now = st.sampled_from([NOW + n * timedelta(microseconds=1) for n in (-2, -1, 0, 1, 2)])
never_or_around_now = st.none() | around_now
plans = st.builds(
    lambda **times: plan(1, 1, **times),
    starts_at=around_now,
    **dict.fromkeys(COLUMNS[1:], never_or_around_now),
)


@given(drawn=plans)
def test_usable_plans_are_the_same_in_sql_and_in_python(
    database_url: str, drawn: PlanBalance
) -> None:
    values: dict[str, Any] = {name: getattr(drawn, name) for name in COLUMNS}
    with connect(database_url) as connection:
        rules = connection.execute(RULES, {**values, "now": NOW}).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    is_open_now = drawn.ended_at is None and (drawn.ends_at is None or drawn.ends_at > NOW)
    assert rules == (is_open_now, drawn.is_in_period(NOW), drawn.is_usable(NOW))


IN_TURN = f"""
SELECT array_agg(plan.sequence ORDER BY {usable.queue_order("plan")})
FROM unnest(%s::int[], %s::int[], %s::timestamptz[]) AS plan (sequence, priority, ends_at)
"""  # noqa: S608
draws = st.lists(st.tuples(st.sampled_from([50, 100, 200]), never_or_around_now), min_size=1)


@given(drawn=draws)
def test_queue_order_is_the_same_in_sql_and_in_python(
    database_url: str, drawn: list[tuple[int, Any]]
) -> None:
    queue = [plan(n, 1, priority=each[0], ends_at=each[1]) for n, each in enumerate(drawn, 1)]
    fields = ("sequence", "priority", "ends_at")
    with connect(database_url) as connection:
        values = [[getattr(each, name) for each in queue] for name in fields]
        in_turn = connection.execute(IN_TURN, values).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert in_turn == ([each.sequence for each in sorted(queue, key=queue_order)],)
