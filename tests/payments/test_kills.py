"""`kill -9` of the API and of the worker, in the middle: no lost plan, no double charge, no
double plan."""

import asyncio
import contextlib
import multiprocessing
import threading
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest

from billing_app.composition import build_services
from billing_app.db.enums import When
from tests.payments.billing_harness import BillingHarness, payment_settings, type_card, until
from tests.payments.processes import AppProcesses

OPEN_EVENTS = "SELECT count(*) FROM webhook_events WHERE state <> 'processed'"
EVENT_IDS = "SELECT id FROM webhook_events"
WRITES = "SELECT operation, state FROM provider_writes ORDER BY created_at, key"
HANG_SECONDS = 0.7

Act = Callable[[BillingHarness], Awaitable[object]]


@pytest.fixture
def site(harness: BillingHarness) -> Iterator[AppProcesses]:
    running = AppProcesses(harness)
    yield running
    running.stop()


def test_killed_worker_and_api_lose_and_double_nothing(
    harness: BillingHarness, site: AppProcesses
) -> None:
    """The real processes: the worker in the middle of an event, the API while Stripe charges, and
    again while events come in."""
    site.start_api()
    site.listen()
    site.start_worker()
    url = site.subscribe("starter").json()["checkout_url"]
    harness.sandbox.fault(kind="hang", seconds=6, method="GET", path="/v1/invoices", times=2)
    type_card(url)
    until(lambda: harness.rows("SELECT 1 FROM webhook_events WHERE attempts > 0"), 60)
    site.kill_worker()
    assert harness.rows("SELECT count(*) FROM plans") == [(0,)]
    harness.sandbox.http.delete("/_sandbox/faults")
    site.start_worker()
    site.wait_for("SELECT count(*) FROM plans WHERE source <> 'bridge'", 1)

    path = f"/billing/subscriptions/{site.current_id()}"

    def upgrade() -> httpx.Response:
        return site.ask("PUT", path, offer="growth", when="now")

    _hang(harness, f"/v1/subscriptions/{harness.subscriptions()[0].id}", "after", 2.0)
    asking = threading.Thread(target=_swallowing(upgrade))
    asking.start()
    until(lambda: not _faults(harness))
    site.api.kill()
    asking.join()
    site.start_api()
    assert upgrade().json()["offer"]["code"] == "growth"
    assert harness.charged_minor() == 7_900
    until(lambda: not _undelivered(harness), 60)
    site.wait_for(OPEN_EVENTS, 0)
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 30_000]
    assert harness.rows(WRITES) == [("change_now", "done")]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_process_killed_during_each_write_loses_and_doubles_nothing(
    harness: BillingHarness, when: str
) -> None:
    """The same services in a process that dies while it waits for Stripe's answer."""

    async def killed(path: str, act: Act, method: str = "POST") -> None:
        await asyncio.to_thread(kill_in_the_middle, harness, path, when, act, method)

    for path in ("/v1/customers", "/v1/products", "/v1/prices", "/v1/checkout/sessions"):
        await killed(path, lambda each: each.begin("starter"))
    assert (await harness.begin("starter")).checkout_url
    assert len(harness.client.v1.customers.list().data) == 1
    assert len(harness.client.v1.prices.list().data) == 1
    assert len(harness.client.v1.checkout.sessions.list().data) == 1

    harness.use_card("pm_card_visa")
    await killed("/v1/checkout/sessions/*/expire", lambda each: each.begin("starter"))
    await killed("/v1/subscriptions", lambda each: each.begin("starter"))
    begun = await harness.begin("starter")
    assert begun.subscription is not None
    assert (harness.charged_minor(), len(harness.subscriptions()), len(harness.plans())) == (
        1_900,
        1,
        1,
    )

    theirs = f"/v1/subscriptions/{harness.subscriptions()[0].id}"
    await killed("/v1/coupons", lambda each: each.change("growth"))
    await killed(theirs, lambda each: each.change("growth"))
    assert (await harness.change("growth")).offer.code == "growth"
    assert (harness.charged_minor(), len(harness.plans())) == (7_900, 2)

    for path in ("/v1/subscription_schedules", "/v1/subscription_schedules/*"):
        await killed(path, lambda each: each.change("starter", When.PERIOD_END))
    waiting = await harness.change("starter", When.PERIOD_END)
    assert waiting.next_offer is not None

    await killed("/v1/subscription_schedules/*/release", lambda each: each.change("scale"))
    assert (await harness.change("scale")).offer.code == "scale"
    assert (harness.charged_minor(), len(harness.plans())) == (29_900, 3)

    await killed(theirs, lambda each: each.cancel(When.PERIOD_END))
    assert (await harness.cancel(When.PERIOD_END)).cancel_at_period_end
    await killed(theirs, lambda each: each.resume())
    assert not (await harness.resume()).cancel_at_period_end
    await killed(theirs, lambda each: each.cancel(When.NOW), "DELETE")
    assert (await harness.cancel(When.NOW)).status == "canceled"
    assert harness.charged_minor() == 29_900
    assert {state for _, state in harness.rows(WRITES)} == {"done"}
    before = harness.snapshot()
    await harness.deliver()
    assert harness.snapshot() == before


def kill_in_the_middle(
    harness: BillingHarness, path: str, when: str, act: Act, method: str
) -> None:
    _hang(harness, path, when, HANG_SECONDS, method)
    process = multiprocessing.get_context("fork").Process(target=_in_child, args=(harness, act))
    process.start()
    until(lambda: not _faults(harness))
    process.kill()
    process.join()
    until(lambda: _is_over(harness, method))  # Stripe goes on with what it got


def _in_child(harness: BillingHarness, act: Act) -> None:
    """With its own connections: nothing of the parent process is used."""

    async def run() -> None:
        harness.services = build_services(payment_settings(harness.sandbox), harness.url)
        await act(harness)

    asyncio.run(run())


def _hang(
    harness: BillingHarness, path: str, when: str, seconds: float, method: str = "POST"
) -> None:
    harness.sandbox.fault(kind="hang", seconds=seconds, method=method, path=path, when=when)


def _undelivered(harness: BillingHarness) -> set[str]:
    theirs = harness.client.v1.events.list({"limit": 100}).auto_paging_iter()
    return {event.id for event in theirs} - {row[0] for row in harness.rows(EVENT_IDS)}


def _faults(harness: BillingHarness) -> list[object]:
    return harness.sandbox.http.get("/_sandbox/faults").json()["faults"]


def _is_over(harness: BillingHarness, method: str) -> bool:
    """Whether the hanging request has been logged."""
    return bool(harness.sandbox.requests()) and harness.sandbox.requests()[-1]["method"] == method


def _swallowing(ask: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with contextlib.suppress(httpx.TransportError):
            ask()

    return run
