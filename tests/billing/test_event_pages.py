"""Pages of events over months: the same as all events at once."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing.lists.sorting import By
from billing_app.billing.usage.service import EventFilter, LedgerSort, export_events, list_events
from billing_app.db.engine import Database
from tests.factories import OPERATOR, Holder, connect
from tests.months import consume_at, months_since, old_customer

# Days ago: several in a month, months without any, one ahead of the clock.
DAYS = (-40, 0, 1, 2, 3, 31, 62, 63, 150, 155, 400, 1500)


async def pages(
    database: Database,
    holder: Holder,
    *,
    limit: int,
    now: datetime | None,
    where: EventFilter,
    descending: bool,
) -> list[int]:
    numbers: list[int] = []
    cursor: str | None = None
    while True:
        page = await list_events(
            database,
            OPERATOR,
            holder.account_id,
            where=where,
            by=By(LedgerSort.AT, descending),
            limit=limit,
            cursor=cursor,
            now=now,
        )
        numbers += [event.number for event in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return numbers


@pytest.mark.parametrize("has_clock", [True, False])
async def test_pages_have_every_event_once(own_database_url: str, has_clock: bool) -> None:
    now = datetime.now(UTC)
    months_since(own_database_url, now - timedelta(days=200))
    holder = old_customer(own_database_url)
    for days in reversed(DAYS):
        await consume_at(own_database_url, holder, now - timedelta(days=days), [f"{days}"])
    with connect(own_database_url) as connection:
        rows = connection.execute("SELECT number FROM execution_events ORDER BY number").fetchall()
    numbers = [row[0] for row in rows]
    database = Database(own_database_url)
    clock = now if has_clock else None
    for limit in (1, 2, 3, 5, 20):
        for descending in (True, False):
            wanted = numbers[::-1] if descending else numbers
            found = await pages(
                database,
                holder,
                limit=limit,
                now=clock,
                where=EventFilter(),
                descending=descending,
            )
            assert found == wanted
        until = EventFilter(last=(now - timedelta(days=61)).date())
        found = await pages(database, holder, limit=limit, now=clock, where=until, descending=True)
        assert found == numbers[: len(found)][::-1]
        assert len(found) == 6
    blocks = [block async for block in export_events(database, OPERATOR, holder.account_id, until)]
    assert [event.number for block in blocks for event in block] == numbers[:6][::-1]
    await database.dispose()
