"""A ledger that has had partitions for months, and events of any time."""

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import Accepted, Mode, Request
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.partitions import (
    EARLIER,
    EPOCH,
    LATER,
    MICROSECOND,
    TRANSACTION_SETTINGS,
    attach_ahead,
    create_partition,
    name_of,
    number_of,
    read_partitions,
    start_of_month,
)
from tests.conftest import PUBLIC
from tests.factories import Holder, add_plan, check_request, connect, organization

TERMS = TrialTerms(PUBLIC, 1, days=None)


def months_since(url: str, first: datetime) -> None:
    """Of an empty ledger: as if its months had been attached ahead since then."""
    with connect(url) as connection, connection.transaction():
        connection.execute(TRANSACTION_SETTINGS)
        for partition in read_partitions(connection):
            connection.execute(f"DROP TABLE {partition.name}")  # pyright: ignore[reportArgumentType, reportCallIssue]
        start = start_of_month(first)
        create_partition(connection, EARLIER, None, number_of(start))
        while start <= start_of_month(datetime.now(UTC)):
            after = start_of_month(start, 1)
            create_partition(
                connection, name_of(number_of(start)), number_of(start), number_of(after)
            )
            start = after
        create_partition(connection, LATER, number_of(start), None)
    attach_ahead(url, datetime.now(UTC))


def old_customer(url: str, executions: int = 1_000) -> Holder:
    """With a plan that has always been valid."""
    holder = organization(url)
    add_plan(url, holder, 1, executions, starts_at=datetime(2000, 1, 1, tzinfo=UTC))
    return holder


async def decide_at(url: str, at: datetime | None, requests: Sequence[Request]) -> list[bytes]:
    """Decide requests, all of which must be accepted, at that time; returns the answers."""
    connection = await store.connect(url)
    try:
        decisions = await store.transact(connection, Directory(TERMS), requests, at=at)
    finally:
        await connection.close()
    answers: list[bytes] = []
    for decision in decisions:
        assert isinstance(decision, Accepted), decision
        answers.append(decision.answer)
    return answers


async def consume_at(
    url: str, holder: Holder, at: datetime | None, keys: Sequence[str], executions: int = 1
) -> list[int]:
    """Consume once for each key, in one batch; returns the events' numbers."""
    requests = [
        check_request(Mode.CONSUME, executions, key, organization_id=holder.organization_id)
        for key in keys
    ]
    await decide_at(url, at, requests)
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT number FROM execution_events WHERE account_id = %s"
            " AND idempotency_key = ANY(%s) ORDER BY number",
            [holder.account_number, list(keys)],
        ).fetchall()
    return [row[0] for row in rows]


def partition_of(connection: "psycopg.Connection[tuple[object, ...]]", number: int) -> str:
    row = connection.execute(
        "SELECT tableoid::regclass::text FROM execution_events WHERE number = %s", [number]
    ).fetchone()
    assert row is not None
    return str(row[0])


def time_of(number: int) -> datetime:
    return EPOCH + number * MICROSECOND
