"""One API process on one database for the tests of this folder, and callers for it."""

from collections.abc import Iterator

import httpx
import pytest

import tests.billing.profiles  # noqa: F401
from billing_app.db.enums import Scope
from tests.api.server import ApiServer
from tests.databases import create_database
from tests.factories import api_key


@pytest.fixture(scope="session")
def api_database_url(server_url: str, database_template: str) -> str:
    return create_database(server_url, "api", database_template)


@pytest.fixture(scope="session")
def server(api_database_url: str) -> Iterator[ApiServer]:
    started = ApiServer(api_database_url)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def platform_key(api_database_url: str) -> str:
    return api_key(api_database_url, Scope.EXECUTIONS, Scope.PLANS_READ)


@pytest.fixture(scope="session")
def anyone(server: ApiServer) -> Iterator[httpx.Client]:
    """A caller who shows nothing."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def service(server: ApiServer, platform_key: str) -> Iterator[httpx.Client]:
    """A service with a key of the platform."""
    headers = {"Authorization": f"Bearer {platform_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as client:
        yield client
