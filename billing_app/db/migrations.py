"""Compares the database's schema with the code's, and upgrades it."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from billing_app.db.partitions import PartitionsInUseError, attach_ahead

ALEMBIC_DIRECTORY: Final = Path(__file__).resolve().parents[2] / "alembic"
ADVICE: Final = "Run: python -m billing_app migrate"


class DatabaseBehindError(Exception):
    """Migrations are missing in the database. The message names the command to run."""


def upgrade(url: str) -> None:
    """Upgrade the database at `url` (`postgresql://…`) to the newest schema, and attach the
    ledger's next months."""
    command.upgrade(alembic_config(url), "head")
    with suppress(PartitionsInUseError):  # the worker attaches them tonight
        attach_ahead(url, datetime.now(UTC))


def require_current(url: str) -> None:
    """Raise DatabaseBehindError unless the database has this code's schema, or a later one.

    Migrations add before anything is taken away, so processes of the last release go on while the
    next one is rolled out. Revisions are numbers of four digits.
    """
    current = current_revision(url)
    expected = head_revision()
    assert expected is not None
    if current is None or current < expected:
        state = f"is at revision {current}" if current else "has no tables of this app"
        raise DatabaseBehindError(f"The database {state}; the code expects {expected}. {ADVICE}")


def current_revision(url: str) -> str | None:
    with psycopg.connect(url, connect_timeout=5) as connection:
        known = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if known is None or known[0] is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


def head_revision() -> str | None:
    return ScriptDirectory(str(ALEMBIC_DIRECTORY)).get_current_head()


def alembic_config(url: str) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(ALEMBIC_DIRECTORY))
    configuration.attributes["url"] = url
    return configuration
