"""`distribute` on a real cluster: rows stay, constraints hold, migrations go on."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from billing_app.composition import Services, build_services
from billing_app.db import distribution, migrations
from billing_app.db.distribution import DISTRIBUTED, Placement, wanted
from billing_app.settings import Settings
from tests.conftest import server_environment
from tests.distributed import cluster
from tests.factories import Holder, connect, organization, public_organization
from tests.processes import run_command
from tests.staff.staff_services import Customer

COUNTS = " UNION ALL ".join(
    f"SELECT '{name}', count(*) FROM {name}"  # noqa: S608
    for name in DISTRIBUTED
)


@pytest.fixture
def undistributed() -> Iterator[str]:
    """A migrated database on the cluster, with the tables still on the coordinator."""
    assert cluster.URL is not None
    name = f"billing_{uuid.uuid4().hex[:8]}"
    url = cluster.create_database(cluster.URL, name)
    migrations.upgrade(url)
    public_organization(url)
    yield url
    cluster.drop_database(name)


@pytest.fixture(scope="module")
def distributed() -> str:
    assert cluster.URL is not None
    url = cluster.create_distributed(cluster.URL)
    public_organization(url)
    return url


async def used(services: Services, holder: Holder) -> Customer:
    """Somebody with events, a reservation, a denial and a refund's plan."""
    customer = Customer(services, holder)
    await customer.use(3)
    await customer.use(2, workflow="triage")
    await customer.use(1_000_000)
    return customer


def counts(url: str) -> dict[str, int]:
    with connect(url) as connection:
        return dict(connection.execute(COUNTS.encode()).fetchall())


async def test_rows_stay_and_balances_agree(settings: Settings, undistributed: str) -> None:
    holder = organization(undistributed, 100, 50)
    services = build_services(settings, undistributed)
    before = await used(services, holder)
    balance, rows = await before.remaining(), counts(undistributed)
    await services.close()
    assert min(rows["execution_events"], rows["idempotency_keys"], rows["daily_usage"]) > 0

    environment = server_environment(undistributed)
    ended = run_command(environment, "distribute", "--dry-run")
    assert ended.returncode == 0
    assert "Nothing was changed" in ended.stdout
    assert not distribution.is_distributed(undistributed)
    assert run_command(environment, "distribute").returncode == 0
    assert "Nothing to do" in run_command(environment, "distribute").stdout

    assert counts(undistributed) == rows
    services = build_services(settings, undistributed)
    after = Customer(services, holder)
    assert await after.remaining() == balance
    await after.agrees()
    await services.close()


async def test_connected_app_is_refused(settings: Settings, undistributed: str) -> None:
    services = build_services(settings, undistributed)
    await used(services, organization(undistributed, 10))
    with pytest.raises(distribution.DistributionError, match="stop its servers"):
        distribution.distribute(undistributed)
    await services.close()


def test_every_table_is_in_its_place(distributed: str) -> None:
    schema, steps = distribution.distribute(distributed, dry_run=True)
    assert steps == []
    assert schema.tables == {name: wanted(name) for name in schema.tables}
    assert Placement.PLAIN not in {
        place for name, place in schema.tables.items() if name != "alembic_version"
    }


@pytest.mark.parametrize("change", ["UPDATE execution_events SET executions = 9", "DELETE FROM"])
def test_ledger_refuses_changes(distributed: str, change: str) -> None:
    holder = organization(distributed, 10)
    statement = change if change.startswith("UPDATE") else f"{change} execution_events"
    with connect(distributed) as connection:
        connection.execute(
            "INSERT INTO execution_events (account_id, number, plan_sequence, kind, executions,"
            " plan_used_after, remaining_after, workflow, user_id, idempotency_key, reason,"
            " occurred_at) VALUES (%s, 1, 1, 'consume', 3, 3, 7, '', '', '', '', now())",
            [holder.account_number],
        )
        with pytest.raises(errors.IntegrityConstraintViolation, match="append-only"):
            connection.execute(f"{statement} WHERE account_id = {holder.account_number}".encode())


def test_balance_beyond_the_plan_is_refused(distributed: str) -> None:
    holder = organization(distributed, 10)
    with connect(distributed) as connection, pytest.raises(errors.CheckViolation):
        connection.execute(
            "UPDATE plans SET used = 11 WHERE account_id = %s", [holder.account_number]
        )


def test_plan_of_an_unknown_offer_is_refused(distributed: str) -> None:
    holder = organization(distributed, 10)
    with connect(distributed) as connection, pytest.raises(errors.ForeignKeyViolation):
        connection.execute(
            "UPDATE plans SET offer_version_id = 999999 WHERE account_id = %s",
            [holder.account_number],
        )


def test_writing_on_both_nodes_commits_in_two_phases(distributed: str) -> None:
    holder = organization(distributed, 10)
    commands: list[str] = []
    with psycopg.connect(distributed) as connection:
        connection.add_notice_handler(lambda notice: commands.append(notice.message_primary or ""))
        connection.execute("SET citus.log_remote_commands = on")
        connection.execute(
            "UPDATE accounts SET blocked_at = now() WHERE id = %s", [holder.account_number]
        )
        connection.execute(
            "UPDATE plans SET blocked_at = now() WHERE account_id = %s", [holder.account_number]
        )
        connection.commit()
    assert any("PREPARE TRANSACTION" in command for command in commands)


def test_later_migrations_change_distributed_tables(undistributed: str) -> None:
    distribution.distribute(undistributed)
    holder = organization(undistributed, 10)
    changes = (
        "SET citus.enable_unsafe_triggers = on",
        "ALTER TABLE plans ADD COLUMN note text",
        "ALTER TABLE plans ADD CONSTRAINT ck_note CHECK (note <> '') NOT VALID",
        "ALTER TABLE plans VALIDATE CONSTRAINT ck_note",
        "CREATE INDEX ix_note ON plans (account_id, note)",
        "ALTER TABLE execution_events DISABLE TRIGGER execution_events_append_only",
        "ALTER TABLE execution_events ENABLE TRIGGER execution_events_append_only",
        "ALTER TABLE accounts ADD COLUMN note text",
        "CREATE TABLE things (account_id bigint PRIMARY KEY REFERENCES accounts (id))",
    )
    with connect(undistributed) as connection:
        for change in changes:
            connection.execute(change.encode())
        with pytest.raises(errors.CheckViolation):
            connection.execute(
                "UPDATE plans SET note = '' WHERE account_id = %s", [holder.account_number]
            )
    ended = run_command(server_environment(undistributed), "migrate")
    assert ended.returncode == 0, ended.stderr
    schema, steps = distribution.distribute(undistributed)
    assert (schema.tables["things"], steps) == (Placement.LOCAL, [])


def rows(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(query.encode(), values).fetchall()


def test_search_index_follows_names(distributed: str) -> None:
    holder = organization(distributed, 10)
    with connect(distributed) as connection:
        connection.execute(
            "UPDATE organizations SET name = 'Zebra' WHERE id = %s", [holder.organization_id]
        )
    found = rows(
        distributed,
        "SELECT word FROM search_words WHERE account_id = %s AND word = 'zebra'",
        holder.account_number,
    )
    assert found == [("zebra",)]
