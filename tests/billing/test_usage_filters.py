"""One filter, one truth: totals, bars and the CSV export say the same."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.executions.requests import Mode, Refund
from billing_app.billing.usage.filters import UsageFilter
from billing_app.billing.usage.service import Days, EventFilter, GroupBy, export_events, read_daily
from billing_app.components.charts.executions import label_of
from billing_app.db.engine import Database
from billing_app.states.usage_views import days_table
from tests.factories import OPERATOR, PLATFORM, check_request, connect
from tests.months import decide_at, old_customer

NAMES = st.sampled_from(["", "resize", "Other", "it's"])
USES = st.lists(st.tuples(NAMES, NAMES, st.integers(1, 9), st.integers(0, 9)), max_size=8)
CHOICES = st.none() | NAMES | st.just("never used")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(uses=USES, workflow=CHOICES, user_id=CHOICES)
async def test_totals_bars_and_export_agree_for_any_filter(
    database_url: str,
    uses: list[tuple[str, str, int, int]],
    workflow: str | None,
    user_id: str | None,
) -> None:
    holder = old_customer(database_url)
    wanted = 0
    for place, (used_workflow, used_by, executions, given_back) in enumerate(uses):
        refunded = min(given_back, executions)
        request = check_request(
            Mode.CONSUME,
            executions,
            f"use-{place}",
            organization_id=holder.organization_id,
            workflow=used_workflow,
            user_id=used_by,
        )
        await decide_at(database_url, None, [request])
        if refunded:
            number = newest_event(database_url, holder.account_number)
            refund = Refund(
                holder.account_number, number, refunded, "", f"refund-{place}", PLATFORM
            )
            await decide_at(database_url, None, [refund])
        if workflow in (None, used_workflow) and user_id in (None, used_by):
            wanted += executions - refunded
    await check_sums(Database(database_url), holder.account_id, workflow, user_id, wanted)


async def check_sums(
    database: Database, account_id: str, workflow: str | None, user_id: str | None, wanted: int
) -> None:
    # Events of a run that goes past midnight are of two days.
    today = datetime.now(UTC).date()
    days = Days(today.replace(year=today.year - 1, day=1), today)
    try:
        for group_by in GroupBy:
            rows = await read_daily(
                database,
                OPERATOR,
                account_id,
                days=days,
                group_by=group_by,
                where=UsageFilter(workflow=workflow, user_id=user_id),
            )
            assert sum(row.used - row.refunded for row in rows) == wanted
            bars = days_table(rows, days.first, days.last, label_of)
            assert int(bars.to_numpy().sum()) == wanted
        where = EventFilter(workflow=workflow, user_id=user_id)
        blocks = export_events(database, OPERATOR, account_id, where)
        assert sum([event.executions async for block in blocks for event in block]) == wanted
    finally:
        await database.dispose()


def newest_event(url: str, account_number: int) -> int:
    with connect(url) as connection:
        row = connection.execute(
            "SELECT max(number) FROM execution_events WHERE account_id = %s", [account_number]
        ).fetchone()
    assert row is not None
    return row[0]
