"""Databases on the Citus cluster of CITUS_DATABASE_URL: migrated, distributed, emptied."""

import os
import uuid
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from billing_app.db import distribution, migrations

VARIABLE: Final = "CITUS_DATABASE_URL"
URL: Final = os.environ.get(VARIABLE)
SKIPPED: Final = f"{VARIABLE} names no Citus cluster (docs/how-to/citus.md)"
NODES: Final = "SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid"
ADD: Final = "SELECT citus_add_node(%s, %s)"
TABLES: Final = """
    SELECT logicalrelid::regclass::text FROM pg_dist_partition
    WHERE logicalrelid IN (SELECT oid FROM pg_class WHERE NOT relispartition)
"""
USED_SEQUENCES: Final = """
    SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""
# Where each database of this run is, by name.
_made: dict[str, list[str]] = {}


def at_node(url: str, *, host: str | None = None, port: int | None = None, name: str = "") -> str:
    """`url` for another node or database."""
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    if host is not None:
        address = f"{host}:{port}"
    path = f"/{name}" if name else parts.path
    return urlunsplit(parts._replace(netloc=f"{user}@{address}" if user else address, path=path))


def create_database(url: str, name: str) -> str:
    """An empty database with the extension, spread over the nodes of `url`'s; returns its URL."""
    with psycopg.connect(url) as connection:
        nodes = connection.execute(NODES).fetchall()
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    for host, port in nodes:
        node = at_node(url, host=host, port=port)
        with psycopg.connect(node, autocommit=True) as connection:
            connection.execute("SET citus.enable_create_database_propagation = off")
            connection.execute(statement)
        _made.setdefault(name, []).append(node)
        with psycopg.connect(at_node(node, name=name), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")
    fresh = at_node(url, name=name)
    (coordinator, *workers) = nodes
    with psycopg.connect(fresh, autocommit=True) as connection:
        connection.execute("SELECT citus_set_coordinator_host(%s, %s)", coordinator)
        for worker in workers:
            connection.execute(ADD, worker)
    return fresh


def create_distributed(url: str) -> str:
    """A migrated and distributed database on the nodes of `url`'s; returns its URL."""
    fresh = create_database(url, f"billing_{uuid.uuid4().hex[:8]}")
    migrations.upgrade(fresh)
    distribution.distribute(fresh)
    return fresh


def drop_databases() -> None:
    """All of this run."""
    for name in list(_made):
        drop_database(name)


def drop_database(name: str) -> None:
    """A database costs every node a process."""
    statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    for node in _made.pop(name):
        with psycopg.connect(node, autocommit=True) as connection:
            connection.execute("SET citus.enable_create_database_propagation = off")
            connection.execute(statement)


def empty(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """Every row of the app's tables, also those that refuse it."""
    names = [name for (name,) in connection.execute(TABLES).fetchall()]
    with connection.transaction():
        connection.execute("SET LOCAL citus.multi_shard_modify_mode = sequential")
        connection.execute("SET LOCAL citus.propagate_set_commands = 'local'")
        connection.execute("SET LOCAL session_replication_role = replica")
        for name in names:
            probe = sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(name))
            if connection.execute(probe).rowcount:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
    for (name,) in connection.execute(USED_SEQUENCES).fetchall():
        connection.execute("SELECT setval(%s::regclass, 1, false)", [name])
