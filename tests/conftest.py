"""One embedded PostgreSQL for the run; a migrated database of its own for whoever asks."""

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from billing_app.composition import Services, build_services
from billing_app.db import migrations
from billing_app.db.embedded import start_embedded
from billing_app.settings import Settings

TRIAL_EXECUTIONS = 100
PUBLIC = "public"
# The demo that a developer runs keeps its own.
DATA_DIRECTORY = Path(tempfile.gettempdir()) / f"billing-tests-data-{os.getpid()}"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A real PostgreSQL 18, empty, for this test run; `postgresql://…`."""
    directory = Path(tempfile.mkdtemp(prefix="billing-tests-"))
    directory.chmod(0o755)
    yield start_embedded(directory / "postgres")
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(DATA_DIRECTORY, ignore_errors=True)


@pytest.fixture(scope="session")
def database_template(server_url: str) -> str:
    """The name of a migrated database that others are copied from."""
    name = "template_billing"
    migrations.upgrade(create_database(server_url, name))
    return name


@pytest.fixture(scope="session")
def database_url(server_url: str, database_template: str) -> str:
    """A migrated database that the whole run shares: tests make their own accounts in it."""
    return create_database(server_url, f"shared_{uuid.uuid4().hex[:8]}", database_template)


@pytest.fixture
def own_database_url(server_url: str, database_template: str) -> str:
    """A migrated database for one test alone."""
    return create_database(server_url, f"own_{uuid.uuid4().hex[:8]}", database_template)


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


def create_database(server_url: str, name: str, template: str = "template0") -> str:
    """Make a database on the server; returns its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')  # pyright: ignore[reportArgumentType, reportCallIssue]
    return server_url.replace("/postgres?", f"/{name}?")


def server_environment(database_url: str, **more: str) -> dict[str, str]:
    """The environment of an app process under test."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "TRIAL_PLAN_EXECUTIONS": str(TRIAL_EXECUTIONS),
        "PUBLIC_ORG_ID": PUBLIC,
        "DATA_DIRECTORY": str(DATA_DIRECTORY),
        **more,
    }
