"""Migration 0035 on a ledger with events, while the release before counts."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from alembic import command

from billing_app.billing.executions.requests import Accepted, Mode
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.verification import verify
from billing_app.db import migrations
from billing_app.db.engine import Database
from billing_app.db.partitions import EARLIER, LATER, number_of, read_partitions, start_of_month
from tests.databases import create_database
from tests.factories import PLATFORM_SERVICE, Holder, check_request, connect
from tests.months import TERMS, consume_at, old_customer, partition_of

BEFORE, MIGRATION = "0034", "0035"
CLIENTS = 8
ROWS = 50_000


@pytest.fixture
def url(server_url: str, request: pytest.FixtureRequest) -> str:
    """A database of the release before."""
    url = create_database(server_url, f"unparted_{abs(hash(request.node.name)) % 10**8}")
    command.upgrade(migrations.alembic_config(url), BEFORE)
    return url


def customer_of_before(url: str, executions: int = 1_000) -> Holder:
    """Whose plan has begun: this release tells of beginnings in a table that comes later."""
    holder = old_customer(url, executions)
    with connect(url) as connection:
        connection.execute(
            "UPDATE plans SET began_at = starts_at WHERE account_id = %s", [holder.account_number]
        )
    return holder


def fill(url: str) -> None:
    """A customer who used a lot."""
    holder = customer_of_before(url, 10**9)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO execution_events (account_id, number, plan_sequence, kind, executions,"
            " plan_used_after, remaining_after, workflow, user_id, idempotency_key, reason,"
            " occurred_at) SELECT %s, n * 1000000::bigint, 1, 'consume', 1, n, 0, '', '', '', '',"
            " to_timestamp(n) FROM generate_series(1, %s) AS n",
            [holder.account_number, ROWS],
        )
        connection.execute(
            "UPDATE plans SET used = %s WHERE account_id = %s", [ROWS, holder.account_number]
        )
        connection.execute(
            "INSERT INTO daily_usage SELECT account_id, (occurred_at AT TIME ZONE 'UTC')::date,"
            " '', '', count(*), 0 FROM execution_events GROUP BY 1, 2"
        )


async def test_release_before_counts_on(url: str) -> None:
    fill(url)
    holder = customer_of_before(url, 10**9)
    executions = Executions(url, TERMS)
    stopped = asyncio.Event()
    count = 0

    async def consume(client: int) -> None:
        nonlocal count
        while not stopped.is_set():
            count += 1
            request = check_request(
                Mode.CONSUME, 1, f"{client}-{count}", organization_id=holder.organization_id
            )
            decision = await executions.decide(PLATFORM_SERVICE, request)
            assert isinstance(decision, Accepted), decision

    clients = [asyncio.create_task(consume(client)) for client in range(CLIENTS)]
    await asyncio.sleep(0.2)
    before = count
    await asyncio.to_thread(command.upgrade, migrations.alembic_config(url), MIGRATION)
    await asyncio.sleep(0.2)
    assert count > before > 0
    stopped.set()
    await asyncio.gather(*clients)
    await executions.close()
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT tableoid::regclass::text, count(*) FROM execution_events GROUP BY 1"
        ).fetchall()
    assert rows == [(EARLIER, ROWS + count)]
    await asyncio.to_thread(migrations.upgrade, url)
    database = Database(url)
    assert await verify(database) == []
    await database.dispose()


async def test_events_ahead_of_the_clock_are_in_the_first_partition(url: str) -> None:
    """Of a clock that was wrong: the first partition reaches further, nothing is lost."""
    holder, ahead = customer_of_before(url), datetime.now(UTC) + timedelta(days=200)
    (number,) = await consume_at(url, holder, ahead, ["ahead"])
    command.upgrade(migrations.alembic_config(url), MIGRATION)
    with connect(url) as connection:
        earlier, later = read_partitions(connection)
        assert partition_of(connection, number) == EARLIER
    assert (earlier.name, later.name) == (EARLIER, LATER)
    assert later.first == number_of(start_of_month(ahead, 1))


def test_first_partition_has_a_week_left_at_least(url: str) -> None:
    """Its bound refuses later events until it is attached."""
    command.upgrade(migrations.alembic_config(url), MIGRATION)
    with connect(url) as connection:
        earlier, _ = read_partitions(connection)
    week = timedelta(days=7)
    assert earlier.until == number_of(start_of_month(datetime.now(UTC) + week, 1))


def test_migration_can_begin_again(url: str) -> None:
    """Killed after its first step."""
    with connect(url) as connection:
        connection.execute(
            "ALTER TABLE execution_events ADD CONSTRAINT ck_execution_events_bound"
            " CHECK (number < 9000000000000000) NOT VALID"
        )
    migrations.upgrade(url)
    command.check(migrations.alembic_config(url))
    with connect(url) as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_constraint WHERE conname = 'ck_execution_events_bound'"
        ).fetchone()
    assert left == (0,)


async def test_downgrade_keeps_every_event(url: str) -> None:
    migrations.upgrade(url)
    holder = old_customer(url)
    now = datetime.now(UTC)
    for place, days in enumerate((-400, 0, 45, 400)):
        await consume_at(url, holder, now + timedelta(days=days), [f"{place}"])
    with connect(url) as connection:
        before = connection.execute("SELECT * FROM execution_events ORDER BY number").fetchall()
        assert len({partition_of(connection, row[1]) for row in before}) == 3
    command.downgrade(migrations.alembic_config(url), BEFORE)
    with connect(url) as connection:
        assert (
            connection.execute("SELECT * FROM execution_events ORDER BY number").fetchall()
            == before
        )
        with pytest.raises(psycopg.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM execution_events")
    await consume_at(url, holder, None, ["again"])
    migrations.upgrade(url)
    command.check(migrations.alembic_config(url))
    database = Database(url)
    assert await verify(database) == []
    await database.dispose()


def test_downgrade_is_refused_once_events_were_removed(url: str) -> None:
    migrations.upgrade(url)
    with connect(url) as connection:
        connection.execute("INSERT INTO carried_forward VALUES (1, 1, 1, 1, 1)")
    with pytest.raises(RuntimeError, match="removed after their retention"):
        command.downgrade(migrations.alembic_config(url), BEFORE)
