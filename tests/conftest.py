"""One embedded PostgreSQL for the run; a migrated database of its own for whoever asks."""

import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from billing_app.composition import Services, build_services
from billing_app.db import distribution, migrations
from billing_app.db.embedded import start_embedded
from billing_app.settings import Settings
from tests.databases import TEMPLATE, DatabasePool, create_database
from tests.distributed import cluster

RESOURCES = frozenset({"server_url", "sandbox_process", "sandbox", "hooks", "browser", "mailbox"})
STARTERS = frozenset({"subprocess", "AppProcess", "run_command", "start_command", "own_server"})
TRIAL_EXECUTIONS = 100
PUBLIC = "public"
# The demo that a developer runs keeps its own.
DATA_DIRECTORY = Path(tempfile.gettempdir()) / f"billing-tests-data-{os.getpid()}"
# Tests of kills and of durability start servers of their own, with PostgreSQL's defaults.
WITHOUT_DURABILITY = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "400",
}


# Every new client, and every `httpx.get`, would load the CA certificates: 20 ms for what no test
# needs.
httpx._transports.default.create_ssl_context = functools.cache(  # pyright: ignore[reportPrivateImportUsage]
    httpx.create_ssl_context
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pure: needs no database, process or browser (set here)")
    config.addinivalue_line("markers", "stripe_test_mode: plays on Stripe with STRIPE_TEST_KEY")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what `make check` runs."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        starters = STARTERS & vars(getattr(item, "module", None) or object).keys()
        if not starters and not RESOURCES & fixtures:
            item.add_marker("pure")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A real PostgreSQL 18, empty, for this test run; `postgresql://…`."""
    directory = Path(tempfile.mkdtemp(prefix="billing-tests-"))
    directory.chmod(0o755)
    yield start_embedded(directory / "postgres", WITHOUT_DURABILITY)
    cluster.drop_databases()
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(DATA_DIRECTORY, ignore_errors=True)


@pytest.fixture(scope="session")
def database_template(server_url: str) -> str:
    """The name of a migrated database that others are copied from.

    It has no triggers that only the release before needs: the code does without them.
    """
    url = create_database(server_url, TEMPLATE)
    migrations.upgrade(url)
    with psycopg.connect(url) as connection:
        for trigger, table in distribution.OLD_TRIGGERS.items():
            connection.execute(f"DROP TRIGGER {trigger} ON {table}".encode())
    return TEMPLATE


@pytest.fixture(scope="session")
def database_url(server_url: str, database_template: str) -> str:
    """A migrated database that the whole run shares: tests make their own accounts in it."""
    return create_database(server_url, f"shared_{uuid.uuid4().hex[:8]}", database_template)


@pytest.fixture(scope="session")
def database_pool(server_url: str, database_template: str) -> DatabasePool:
    return DatabasePool(server_url, database_template)


@pytest.fixture
def own_database_url(database_pool: DatabasePool) -> Iterator[str]:
    """A migrated, empty database for one test alone."""
    url = database_pool.take()
    yield url
    database_pool.give_back(url)


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(trial_plan_executions=TRIAL_EXECUTIONS, public_org_id=PUBLIC)


@pytest.fixture(scope="session")
async def services(settings: Settings, database_url: str) -> AsyncIterator[Services]:
    from billing_app.api.app import prepare

    built = build_services(settings, database_url)
    await prepare(built)
    yield built
    await built.close()


def server_environment(database_url: str, **more: str) -> dict[str, str]:
    """The environment of an app process under test."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "TRIAL_PLAN_EXECUTIONS": str(TRIAL_EXECUTIONS),
        "PUBLIC_ORG_ID": PUBLIC,
        "DATA_DIRECTORY": str(DATA_DIRECTORY),
        "DRAIN_SECONDS": "0",
        **more,
    }
