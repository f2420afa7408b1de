"""Events are appended with what happened or not at all, once for each key, from both drivers."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.account_events import outbox
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.executions.driver import columns
from billing_app.db.engine import Database
from billing_app.db.urls import for_asyncpg
from tests.factories import connect, organization

AT: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
TEXT: Final = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
DATA: Final = st.dictionaries(
    TEXT, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, max_size=4
)


def stored(url: str, account_id: int) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(
            "SELECT type, data, dedup_key, created_at, dispatched_at FROM account_events"
            " WHERE account_id = %s ORDER BY created_at, type",
            [account_id],
        ).fetchall()


async def hot_append(url: str, account_id: int, *events: NewEvent) -> None:
    connection: Any = await asyncpg.connect(for_asyncpg(url))
    try:
        rows = [outbox.event_row(account_id, event, AT) for event in events]
        async with connection.transaction():
            await connection.execute(outbox.APPEND, *columns(rows, 6))
    finally:
        await connection.close()


async def test_event_is_written_with_its_members(services: Any, database_url: str) -> None:
    account_id = organization(database_url, 5).account_number
    event = NewEvent(EventType.INVOICE_PAID, {"invoice": "in_1", "at": AT}, "invoice.paid:in_1")
    async with services.database.transaction() as session:
        assert await append(session, account_id, event, AT)
    data = {"invoice": "in_1", "at": "2026-11-30T12:00:00Z"}
    assert stored(database_url, account_id) == [
        ("invoice.paid", data, "invoice.paid:in_1", AT, None)
    ]


async def test_event_goes_with_a_transaction_that_fails(services: Any, database_url: str) -> None:
    account_id = organization(database_url, 5).account_number
    with suppress(RuntimeError):
        async with services.database.transaction() as session:
            assert await append(session, account_id, NewEvent(EventType.PLAN_STARTED), AT)
            raise RuntimeError
    assert stored(database_url, account_id) == []


async def test_one_event_for_each_key_whoever_appends_it(services: Any, database_url: str) -> None:
    account_id = organization(database_url, 5).account_number
    other_id = organization(database_url, 5).account_number
    keyed = NewEvent(EventType.PLAN_STARTED, {"a": 1}, outbox.plan_started_key(1))
    without_key = NewEvent(EventType.ACCOUNT_STATE_CHANGED)
    await hot_append(database_url, account_id, keyed, keyed, without_key)
    async with services.database.transaction() as session:
        assert not await append(session, account_id, keyed, AT)
        assert await append(session, account_id, without_key, AT)
        assert await append(session, other_id, keyed, AT)
    await hot_append(database_url, account_id, keyed)
    types = [row[0] for row in stored(database_url, account_id)]
    assert types == ["account.state_changed", "account.state_changed", "plan.started"]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=DATA)
async def test_hot_path_keeps_any_text(database_url: str, data: dict[str, Any]) -> None:
    account_id = organization(database_url, 1).account_number
    await hot_append(database_url, account_id, NewEvent(EventType.ALERT_RAISED, data))
    ((_, kept, *_),) = stored(database_url, account_id)
    assert json.loads(json.dumps(data)) == kept


@pytest.mark.parametrize("is_hot", [False, True])
async def test_event_is_announced_at_the_commit(
    services: Any, database_url: str, *, is_hot: bool
) -> None:
    account_id = organization(database_url, 5).account_number
    event = NewEvent(EventType.PLAN_ENDED, {}, "once")
    database: Database = services.database
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {outbox.CHANNEL}".encode())
        if is_hot:
            await hot_append(database_url, account_id, event)
        else:
            async with database.transaction() as session:
                await append(session, account_id, event, AT)
        heard = list(listener.notifies(timeout=20, stop_after=1))
    assert [each.channel for each in heard] == [outbox.CHANNEL]
