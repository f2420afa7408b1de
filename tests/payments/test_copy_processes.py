"""A restored database beside its running original, at the same Stripe account: real processes."""

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from billing_app.billing.offers.catalogue import publish_offer
from tests.conftest import server_environment
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness, accepted
from tests.payments.database_copies import Copies
from tests.payments.processes import AppProcesses
from tests.payments.test_overage import SOFT
from tests.processes import run_command
from tests.stripe_sandbox.running import KEY

Pair = tuple[AppProcesses, AppProcesses]
CURRENT: Final = "SELECT name FROM plans WHERE ended_at IS NULL AND source = 'subscription'"
QUIET_SECONDS: Final = 5.0


@pytest.fixture
async def pair(harness: BillingHarness, server_url: str) -> AsyncIterator[Pair]:
    """The original with its webhooks, and a dump of it that was restored; each with API and
    worker. Both hold the same subscription with a soft limit and a card."""
    database, copies = harness.services.database, Copies(server_url)
    await publish_offer(database, OPERATOR, code="soft", terms=SOFT, now=harness.now)
    await harness.subscribed("soft")
    harness.use_card("pm_card_visa")
    for offer in ("growth", "scale"):  # their prices are older than the dump
        await harness.preview(offer)
    copy = await copies.of(harness, copies.restored(harness.url))
    original, beside = AppProcesses(harness), AppProcesses(copy)
    try:
        original.start_api()
        original.listen()
        original.start_worker()
        beside.start_api()
        beside.start_worker()
        yield original, beside
    finally:
        original.stop()
        beside.stop()
        await copies.close()


def command(processes: AppProcesses, *arguments: str) -> Any:
    stripe = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": processes.harness.sandbox.url}
    return run_command(server_environment(processes.harness.url, **stripe), *arguments)


def change(processes: AppProcesses, offer: str) -> Any:
    path = f"/billing/subscriptions/{processes.current_id()}"
    return processes.ask("PUT", path, offer=offer, when="now")


def cancel(processes: AppProcesses) -> Any:
    return processes.ask("DELETE", f"/billing/subscriptions/{processes.current_id()}?when=now")


def writes(harness: BillingHarness) -> int:
    return sum(each["method"] != "GET" for each in harness.sandbox.requests())


def writes_once_quiet(harness: BillingHarness) -> int:
    """Once the original has reported its usage."""
    count, since = writes(harness), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.2)
        if writes(harness) != count:
            count, since = writes(harness), time.monotonic()
    return count


async def test_copy_writes_nothing_until_it_is_adopted(harness: BillingHarness, pair: Pair) -> None:
    original, copy = pair
    accepted(await harness.use(1_500))
    accepted(await copy.harness.use(1_100))
    before = writes_once_quiet(harness)
    for refused in (change(copy, "growth"), cancel(copy), copy.subscribe("pack")):
        assert (refused.status_code, refused.json()["code"]) == (503, "provider_not_adopted")
    assert command(copy, "reconcile").returncode == 1
    assert writes(harness) == before

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda each: change(each, "growth"), pair))
    assert [each.status_code for each in answers] == [200, 503]
    assert SOFT.overage is not None
    charged = 1_000 + 7_900 + SOFT.overage.cost_minor(500)
    assert harness.charged_minor() == charged
    original.wait_for(CURRENT, "Growth")

    adopted = command(copy, "adopt")
    assert adopted.returncode == 0, adopted.stderr
    command(copy, "reconcile")
    assert copy.harness.rows(CURRENT) == [("Growth",)]
    assert harness.charged_minor() == charged
    answer = change(copy, "scale")
    assert answer.status_code == 200, answer.text
    assert harness.charged_minor() == charged + 29_900 - 7_900
    original.wait_for(CURRENT, "Scale")
    assert len(harness.subscriptions("active")) == 1
