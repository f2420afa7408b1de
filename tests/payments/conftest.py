"""A sandbox process for these tests, emptied for each; what breaks Stripe's contract fails."""

import inspect
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import cast

import pytest

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.composition import build_services
from tests.databases import create_database
from tests.factories import OPERATOR
from tests.payments.billing_harness import OFFERS, BillingHarness, payment_settings
from tests.payments.database_copies import Copies
from tests.payments.storefront import Storefront
from tests.payments.stripe_itself import MARKER, TEST_KEY, ClockedHarness, StripeItself
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
async def harness(
    request: pytest.FixtureRequest, sandbox: Sandbox, own_database_url: str
) -> AsyncIterator[BillingHarness]:
    """On the sandbox; with STRIPE_TEST_KEY, the scenarios marked so play on Stripe itself."""
    if TEST_KEY and request.node.get_closest_marker(MARKER):  # pyright: ignore[reportUnknownMemberType]
        if "sandbox" in inspect.signature(request.function).parameters:
            pytest.skip("asks for the sandbox itself")
        itself = cast("Sandbox", StripeItself(sandbox))
        clocked = ClockedHarness(itself, own_database_url)
        await clocked.open()
        await clocked.start()
        yield clocked
        await clocked.stop()
        return
    opened = await BillingHarness(sandbox, own_database_url).open()
    yield opened
    await opened.close()


@pytest.fixture
async def taxed(sandbox: Sandbox, own_database_url: str) -> AsyncIterator[BillingHarness]:
    """With Stripe Tax."""
    opened = await BillingHarness(sandbox, own_database_url, stripe_tax=True).open()
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def storefront(
    sandbox_process: Sandbox, server_url: str, database_template: str
) -> AsyncIterator[Storefront]:
    sandbox_process.control("reset")
    url = create_database(server_url, f"shop_{uuid.uuid4().hex[:8]}", database_template)
    services = build_services(payment_settings(sandbox_process), url)
    for code, terms in OFFERS.items():
        await publish_offer(
            services.database, OPERATOR, code=code, terms=terms, now=datetime.now(UTC)
        )
    await services.close()
    opened = Storefront(sandbox_process, url)
    try:
        yield opened.start()
    finally:
        opened.stop()


@pytest.fixture(scope="module")
def other_sandbox() -> Iterator[Sandbox]:
    """Another Stripe account."""
    running = Sandbox(free_port())
    yield running
    running.stop()


@pytest.fixture
async def copies(server_url: str) -> AsyncIterator[Copies]:
    made = Copies(server_url)
    yield made
    await made.close()
