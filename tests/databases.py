"""Databases for tests: copied from the migrated template, emptied and used again.

With CITUS_DATABASE_URL, what would be a copy is a distributed database of that cluster.
"""

import uuid
from typing import Any, Final

import psycopg
from psycopg import sql

from tests.distributed import cluster

TEMPLATE: Final = "template_billing"
SHAPE: Final = """
    SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
           (SELECT version_num FROM alembic_version),
           (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
           (SELECT count(*) FROM pg_namespace WHERE nspname = 'dbos'),
           (SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND backend_type = 'client backend' AND application_name NOT LIKE 'citus%')
"""
TABLES: Final = """
    SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
USED_SEQUENCES: Final = """
    SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def create_database(server_url: str, name: str, template: str = "template0") -> str:
    """Make a database on the server; returns its URL."""
    if cluster.URL is not None and template == TEMPLATE:
        return cluster.create_distributed(cluster.URL)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return server_url.replace("/postgres?", f"/{name}?")


class DatabasePool:
    """Databases that one test at a time has to itself. Emptying one takes a twentieth of a copy."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._free: list[str] = []
        self._shape: Any = None

    def take(self) -> str:
        if self._free:
            return self._free.pop()
        url = create_database(self._server_url, f"own_{uuid.uuid4().hex[:8]}", self._template)
        if self._shape is None:
            with psycopg.connect(url) as connection:
                self._shape = connection.execute(SHAPE).fetchone()
        return url

    def give_back(self, url: str) -> None:
        """Keep it for another test, unless this one changed its schema or left a connection."""
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                if connection.execute(SHAPE).fetchone() != self._shape:
                    return
                (cluster.empty if cluster.URL else _empty)(connection)
        except psycopg.OperationalError:
            return
        self._free.append(url)


def without_triggers(connection: Connection) -> None:
    """Until the transaction ends, and on every node: the ledger refuses nothing."""
    connection.execute("SET LOCAL citus.propagate_set_commands = 'local'")
    connection.execute("SET LOCAL session_replication_role = replica")


def _empty(connection: Connection) -> None:
    connection.execute("SET session_replication_role = replica")  # the ledger refuses DELETE
    names = [name for (name,) in connection.execute(TABLES).fetchall()]
    probe = sql.SQL("(SELECT {} FROM {} LIMIT 1)")
    probes = [probe.format(sql.Literal(name), sql.Identifier(name)) for name in names]
    for (name,) in connection.execute(sql.SQL(" UNION ALL ").join(probes)).fetchall():
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
    for (name,) in connection.execute(USED_SEQUENCES).fetchall():
        connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(name)))
