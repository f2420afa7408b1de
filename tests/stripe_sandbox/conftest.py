"""Starts one sandbox for these tests and fails those that break Stripe's contract."""

from collections.abc import Iterator

import pytest
from stripe import StripeClient

from tests.stripe_sandbox.running import Hooks, Sandbox, free_port


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    running = Sandbox(free_port())
    yield running
    running.stop()


@pytest.fixture(scope="module", autouse=True)
def empty_sandbox(sandbox: Sandbox) -> None:
    """Each file starts with an empty sandbox, which keeps lists short and tests quick."""
    sandbox.control("reset")


@pytest.fixture
def client(sandbox: Sandbox) -> StripeClient:
    return sandbox.client()


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    receiver = Hooks()
    yield receiver
    receiver.close()


@pytest.fixture(autouse=True)
def contract_is_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test whose requests or answers broke Stripe's contract."""
    if "sandbox" not in request.fixturenames and "client" not in request.fixturenames:
        yield
        return
    sandbox: Sandbox = request.getfixturevalue("sandbox")
    sandbox.take_violations()
    yield
    sandbox.http.delete("/_sandbox/faults")
    violations = sandbox.take_violations()
    if "breaks_contract" not in request.keywords:
        assert violations == []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "breaks_contract: sends bad parameters on purpose")
