"""Where each table belongs on a Citus cluster, and the way there; the cluster itself is in
tests/distributed/."""

import pytest
from sqlmodel import SQLModel

import billing_app.db.tables  # noqa: F401
from billing_app.db import distribution
from billing_app.db.distribution import (
    DISTRIBUTED,
    REFERENCE,
    DistributionError,
    ForeignKey,
    Placement,
    Schema,
    plan_steps,
    wanted,
)
from tests.conftest import server_environment
from tests.processes import run_command

TABLES = SQLModel.metadata.tables
PLAIN = dict.fromkeys([*sorted(TABLES), "alembic_version"], Placement.PLAIN)
TO_ACCOUNTS = ForeignKey("fk_a", "plans", "accounts", "FOREIGN KEY (a) REFERENCES accounts (id)")
TO_VERSIONS = ForeignKey("fk_v", "plans", "offer_versions", "FOREIGN KEY (v) …")
OF_HOLDS = ForeignKey("fk_h", "reservation_holds", "reservations", "FOREIGN KEY (h) …")
OF_OTHERS = ForeignKey("fk_m", "memberships", "users", "FOREIGN KEY (u) …")
KEYS = (TO_ACCOUNTS, TO_VERSIONS, OF_HOLDS, OF_OTHERS)


def test_every_named_table_exists() -> None:
    assert {*DISTRIBUTED, *REFERENCE} <= set(TABLES)


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_rows_of_distributed_tables_are_unique_within_their_account(name: str) -> None:
    table = TABLES[name]
    unique = [index.columns for index in table.indexes if index.unique]
    assert all("account_id" in columns for columns in (table.primary_key.columns, *unique))


def test_fresh_database_is_distributed_in_one_order() -> None:
    steps = plan_steps(Schema(PLAIN, KEYS, ("plans_copy_block",)))
    changes = [(step.table, step.change) for step in steps]
    assert changes[:4] == [
        ("plans", "drop trigger plans_copy_block"),
        ("plans", "drop foreign key to accounts"),
        ("plans", "drop foreign key to offer_versions"),
        ("reservation_holds", "drop foreign key to reservations"),
    ]
    moved = [step.table for step in steps if step.change.startswith(("distribute", "copy"))]
    assert moved == [*DISTRIBUTED, *REFERENCE]
    assert changes[-2:] == [
        ("plans", "add foreign key to offer_versions"),
        ("reservation_holds", "add foreign key to reservations"),
    ]


def test_tables_share_the_nodes_of_plans() -> None:
    steps = {step.table: step.statement for step in plan_steps(Schema(PLAIN)) if step.statement}
    assert "colocate_with => 'none'" in steps["plans"]
    assert all("colocate_with => 'plans'" in steps[name] for name in DISTRIBUTED[1:])


def test_nothing_is_left_to_do_afterwards() -> None:
    placed = {table: wanted(table) for table in PLAIN}
    assert plan_steps(Schema(placed, (TO_VERSIONS, OF_HOLDS, OF_OTHERS))) == []


def test_table_of_a_later_release_joins_the_others() -> None:
    placed = {table: wanted(table) for table in PLAIN} | {"things": Placement.PLAIN}
    (step,) = plan_steps(Schema(placed, KEYS))
    assert (step.table, step.change) == ("things", "keep on the coordinator")


def test_plain_postgresql_is_refused(database_url: str) -> None:
    with pytest.raises(DistributionError, match="CREATE EXTENSION citus"):
        distribution.distribute(database_url)
    assert not distribution.is_distributed(database_url)


def test_command_refuses_in_one_line(database_url: str) -> None:
    ended = run_command(server_environment(database_url), "distribute", "--dry-run")
    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (2, 1)
    assert "no extension citus" in ended.stderr
