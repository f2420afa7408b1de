"""One API process for the tests of this folder, and both clients for it behind one face."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.billing.profiles  # noqa: F401
from billing_app.client import AsyncBilling, Billing, Retries
from billing_app.db.enums import Scope
from tests.api.server import ApiServer
from tests.client.driven import Driven
from tests.client.faulty import FaultyServer
from tests.client.installed import build_wheel, install_alone
from tests.databases import create_database
from tests.factories import Holder, api_key, organization, public_organization

# Short, for tests that wait until it is over.
IMPATIENT = Retries(
    budget_seconds=2, attempt_seconds=6, first_wait_seconds=0.01, max_wait_seconds=0.05
)


@pytest.fixture(scope="session")
def client_database_url(server_url: str, database_template: str) -> str:
    return create_database(server_url, "client", database_template)


@pytest.fixture(scope="session")
def server(client_database_url: str) -> Iterator[ApiServer]:
    public_organization(client_database_url)
    started = ApiServer(client_database_url)
    started.environment["PORTAL_RETURN_ORIGINS"] = "https://product.test"
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def key(client_database_url: str) -> str:
    scopes = (Scope.EXECUTIONS, Scope.PLANS_READ, Scope.SUBSCRIPTIONS)
    scopes += (Scope.ACCOUNTS, Scope.PLANS_WRITE, Scope.WEBHOOKS, Scope.ALERTS)
    return api_key(client_database_url, *scopes)


@pytest.fixture
def holder(client_database_url: str) -> Holder:
    """An organization with 100 executions."""
    return organization(client_database_url, 100)


@pytest.fixture(params=["sync", "async"])
def driven(request: pytest.FixtureRequest, server: ApiServer, key: str) -> Iterator[Driven]:
    """Each test that takes it runs with both clients."""
    is_sync = request.param == "sync"
    client = Billing(server.url, key) if is_sync else AsyncBilling(server.url, key)
    with Driven(client) as driver:
        yield driver


@pytest.fixture
def billing(server: ApiServer, key: str) -> Iterator[Billing]:
    with Billing(server.url, key) as client:
        yield client


@pytest.fixture
def faulty(server: ApiServer) -> Iterator[FaultyServer]:
    """Stands in front of the API and does to each request what the test asks for."""
    with FaultyServer(server.port) as started:
        yield started


@pytest.fixture(params=["sync", "async"])
def impatient(request: pytest.FixtureRequest, faulty: FaultyServer, key: str) -> Iterator[Driven]:
    """Both clients behind the faulty server, soon out of time."""
    client = (
        Billing(faulty.url, key, retries=IMPATIENT)
        if request.param == "sync"
        else AsyncBilling(faulty.url, key, retries=IMPATIENT)
    )
    with Driven(client) as driver:
        yield driver


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the client's wheel and what it declares, and nothing else."""
    directory = tmp_path_factory.mktemp("client")
    return install_alone(build_wheel(directory), directory / "environment")
