"""Spreads the tables over the nodes of a Citus cluster (docs/decisions/0008).

What grows with executions is distributed by account. The catalogue is a reference table, so that
plans keep their foreign key to it. Everything else stays on the coordinator, where Citus manages
it: workers can read it, and a transaction that writes there and on a worker commits on both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

ACCOUNT: Final = "account_id"
FIRST: Final = "plans"
# In the order of their foreign keys.
DISTRIBUTED: Final = (
    FIRST,
    "execution_events",
    "carried_forward",
    "reservations",
    "reservation_holds",
    "idempotency_keys",
    "daily_usage",
    "daily_overage",
    "daily_denials",
    "alerts",
    "given_back_counts",
    "account_events",
)
REFERENCE: Final = ("offers", "offer_versions")
UNMANAGED: Final = frozenset({"alembic_version"})
# The code copies blocks (billing/plans/inserting.py, staff/repairs/stops.py). These triggers do it
# for processes of 0.2.0; on a worker they would look for accounts that are not there.
OLD_TRIGGERS: Final = {"plans_copy_block": FIRST, "accounts_spread_block": "accounts"}

LOCK_TIMEOUT: Final = "5s"
# Triggers on distributed tables only refuse changes, which Citus cannot know to be safe.
SETTINGS: Final = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'",
    "SET LOCAL citus.enable_unsafe_triggers = on",
    "SET LOCAL citus.multi_shard_modify_mode = sequential",
)
# Rows stay behind where they were, unseen. The ledger's trigger would refuse to empty the table.
FORGET: Final = (
    "SET LOCAL session_replication_role = replica;"
    " SELECT truncate_local_data_after_distributing_table('{0}');"
    " SET LOCAL session_replication_role = origin"
)
# For everybody who connects: a transaction that reads all shards may then write to a table of the
# coordinator, because it has one connection to each node.
SEQUENTIALLY: Final = sql.SQL("ALTER DATABASE {} SET citus.multi_shard_modify_mode = 'sequential'")
HAS_CITUS: Final = "SELECT FROM pg_extension WHERE extname = 'citus'"
OBSTACLES: Final = {
    "SELECT FROM pg_dist_local_group WHERE groupid <> 0": (
        "This node is a worker: run distribute on the coordinator."
    ),
    "SELECT WHERE NOT EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0)": (
        "The workers do not know the coordinator:"
        " run SELECT citus_set_coordinator_host('its address') there."
    ),
    "SELECT WHERE NOT EXISTS (SELECT FROM pg_dist_node WHERE shouldhaveshards AND isactive)": (
        "The cluster has no worker: run SELECT citus_add_node('its address', 5432)."
    ),
    "SELECT FROM pg_dist_node WHERE NOT isactive": (
        "A node is not active: run SELECT citus_activate_node('its address', 5432)."
    ),
    "SELECT FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name LIKE 'billing %'": (
        "The app is connected: stop its servers and workers first."
    ),
}
TABLES: Final = """
SELECT class.relname, dist.partmethod, dist.repmodel
FROM pg_class AS class LEFT JOIN pg_dist_partition AS dist ON dist.logicalrelid = class.oid
WHERE class.relnamespace = 'public'::regnamespace AND class.relkind IN ('r', 'p')
  AND NOT class.relispartition
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = class.oid AND deptype = 'e')
ORDER BY class.relname
"""
FOREIGN_KEYS: Final = """
SELECT key.conname, owner.relname, target.relname, pg_get_constraintdef(key.oid)
FROM pg_constraint AS key
JOIN pg_class AS owner ON owner.oid = key.conrelid
JOIN pg_class AS target ON target.oid = key.confrelid
WHERE key.contype = 'f' AND key.connamespace = 'public'::regnamespace AND key.conparentid = 0
ORDER BY key.conname
"""
TRIGGERS: Final = "SELECT tgname FROM pg_trigger WHERE tgname = ANY(%s) ORDER BY tgname"


class Placement(StrEnum):
    """Where a table's rows are; `PLAIN`: Citus does not manage it."""

    PLAIN = "plain"
    LOCAL = "local"
    REFERENCE = "reference"
    DISTRIBUTED = "distributed"


class DistributionError(Exception):
    """The database cannot be distributed as it is. The message names the way out."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    name: str
    table: str
    target: str
    definition: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What stands in the database."""

    tables: Mapping[str, Placement]
    foreign_keys: tuple[ForeignKey, ...] = ()
    old_triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a table, in words and in SQL."""

    table: str
    change: str
    statement: str


def wanted(table: str) -> Placement:
    """Where the table belongs on a cluster."""
    if table in DISTRIBUTED:
        return Placement.DISTRIBUTED
    if table in REFERENCE:
        return Placement.REFERENCE
    return Placement.PLAIN if table in UNMANAGED else Placement.LOCAL


def plan_steps(schema: Schema) -> list[Step]:
    """What is left to do, in order; empty when everything is in its place."""
    missing = {table for table, placement in schema.tables.items() if placement != wanted(table)}
    return [
        *(
            _step(OLD_TRIGGERS[name], f"drop trigger {name}", f"DROP TRIGGER {name} ON {{}}")
            for name in schema.old_triggers
        ),
        *_steps_of_tables(schema, missing),
    ]


def distribute(url: str, *, dry_run: bool = False) -> tuple[Schema, list[Step]]:
    """Put every table in its place, in one transaction; what was done, or with `dry_run` would be.

    Rows that are there are moved. Raises DistributionError.
    """
    with psycopg.connect(url, connect_timeout=5) as connection:
        _require_cluster(connection)
        schema = _read(connection)
        steps = plan_steps(schema)
        if not dry_run:
            for statement in SETTINGS:
                connection.execute(statement)
            for step in steps:
                connection.execute(step.statement.encode())
            connection.execute(SEQUENTIALLY.format(sql.Identifier(connection.info.dbname)))
    return schema, steps


def is_distributed(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=5) as connection:
        if connection.execute(HAS_CITUS).rowcount == 0:
            return False
        return _read(connection).tables.get(FIRST) is Placement.DISTRIBUTED


def _steps_of_tables(schema: Schema, missing: set[str]) -> Iterator[Step]:
    """Foreign keys between a table that is moved and one that stays would stop Citus: they are
    dropped first, and those that can be are added again."""
    moved = missing.intersection({*DISTRIBUTED, *REFERENCE})
    keys = [key for key in schema.foreign_keys if moved.intersection({key.table, key.target})]
    for key in keys:
        yield _step(
            key.table,
            f"drop foreign key to {key.target}",
            f"ALTER TABLE {{}} DROP CONSTRAINT {key.name}",
        )
    for table in DISTRIBUTED:
        if table in missing:
            beside = "none" if table == FIRST else FIRST
            call = f"create_distributed_table('{{0}}', '{ACCOUNT}', colocate_with => '{beside}')"
            yield _step(table, f"distribute by {ACCOUNT}", f"SELECT {call}; {FORGET}")
    for table in REFERENCE:
        if table in missing:
            call = "create_reference_table('{0}')"
            yield _step(table, "copy to every node", f"SELECT {call}; {FORGET}")
    for table in sorted(missing - {*DISTRIBUTED, *REFERENCE}):
        yield _step(
            table,
            "keep on the coordinator",
            "SELECT citus_add_local_table_to_metadata('{}', cascade_via_foreign_keys => true)",
        )
    for key in keys:
        if _is_possible(key):
            yield _step(
                key.table,
                f"add foreign key to {key.target}",
                f"ALTER TABLE {{}} ADD CONSTRAINT {key.name} {key.definition}",
            )


def _is_possible(key: ForeignKey) -> bool:
    """Rows refer to what is on their own node."""
    target = wanted(key.target)
    return target is Placement.REFERENCE or target is wanted(key.table)


def _step(table: str, change: str, statement: str) -> Step:
    return Step(table, change, statement.format(table))


def _require_cluster(connection: Connection) -> None:
    if connection.execute(HAS_CITUS).rowcount == 0:
        raise DistributionError(
            "The database has no extension citus. On each node: CREATE EXTENSION citus"
            " (docs/how-to/citus.md)."
        )
    for query, message in OBSTACLES.items():
        if connection.execute(query.encode()).rowcount:
            raise DistributionError(message)


def _read(connection: Connection) -> Schema:
    tables = {
        str(name): _placement(method, model)
        for name, method, model in connection.execute(TABLES).fetchall()
    }
    keys = tuple(ForeignKey(*row) for row in connection.execute(FOREIGN_KEYS).fetchall())
    triggers = connection.execute(TRIGGERS, [list(OLD_TRIGGERS)]).fetchall()
    return Schema(tables, keys, tuple(str(name) for (name,) in triggers))


def _placement(method: str | None, model: str | None) -> Placement:
    """Citus' `partmethod` is `h` for hash, `n` for none; of the latter, reference tables are
    replicated by two-phase commit (`repmodel` `t`)."""
    if method is None:
        return Placement.PLAIN
    if method != "n":
        return Placement.DISTRIBUTED
    return Placement.REFERENCE if model == "t" else Placement.LOCAL
