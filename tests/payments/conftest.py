"""A sandbox process for these tests, emptied for each; what breaks Stripe's contract fails."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.payments.bed import Bed
from tests.stripe_sandbox.running import Sandbox, free_port


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    running = Sandbox(free_port())
    yield running
    running.stop()


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Iterator[Sandbox]:
    sandbox_process.control("reset")
    yield sandbox_process
    sandbox_process.http.delete("/_sandbox/faults")
    assert sandbox_process.take_violations() == []


@pytest.fixture
async def bed(sandbox: Sandbox, own_database_url: str) -> AsyncIterator[Bed]:
    opened = await Bed(sandbox, own_database_url).open()
    yield opened
    await opened.close()
