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
from tests.payments.billing_harness import Bed, payment_settings, type_card, until
from tests.payments.processes import Site

OPEN_EVENTS = "SELECT count(*) FROM webhook_events WHERE state <> 'processed'"
EVENT_IDS = "SELECT id FROM webhook_events"
WRITES = "SELECT operation, state FROM provider_writes ORDER BY created_at, key"
HANG_SECONDS = 0.7

Act = Callable[[Bed], Awaitable[object]]


@pytest.fixture
def site(bed: Bed) -> Iterator[Site]:
    running = Site(bed)
    yield running
    running.stop()


def test_killing_the_worker_and_the_api(bed: Bed, site: Site) -> None:
    """The real processes: the worker in the middle of an event, the API while Stripe charges, and
    again while events come in."""
    site.start_api()
    site.listen()
    site.start_worker()
    url = site.subscribe("starter").json()["checkout_url"]
    bed.sandbox.fault(kind="hang", seconds=6, method="GET", path="/v1/invoices", times=2)
    type_card(url)
    until(lambda: bed.rows("SELECT 1 FROM webhook_events WHERE attempts > 0"), 60)
    site.kill_worker()
    assert bed.rows("SELECT count(*) FROM plans") == [(0,)]
    bed.sandbox.http.delete("/_sandbox/faults")
    site.start_worker()
    site.wait_for("SELECT count(*) FROM plans", 1)

    path = f"/billing/subscriptions/{site.current_id()}"

    def upgrade() -> httpx.Response:
        return site.ask("PUT", path, offer="growth", when="now")

    _hang(bed, f"/v1/subscriptions/{bed.subscriptions()[0].id}", "after", 2.0)
    asking = threading.Thread(target=_swallowing(upgrade))
    asking.start()
    until(lambda: not _faults(bed))
    site.api.kill()
    asking.join()
    site.start_api()
    assert upgrade().json()["offer"]["code"] == "growth"
    assert bed.charged_minor() == 7_900
    until(lambda: not _undelivered(bed), 60)
    site.wait_for(OPEN_EVENTS, 0)
    assert [plan["executions"] for plan in bed.plans()] == [5_000, 30_000]
    assert bed.rows(WRITES) == [("change_now", "done")]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killing_a_process_in_the_middle_of_each_write(bed: Bed, when: str) -> None:
    """The same services in a process that dies while Stripe holds its answer back."""

    async def killed(path: str, act: Act, method: str = "POST") -> None:
        await asyncio.to_thread(kill_in_the_middle, bed, path, when, act, method)

    for path in ("/v1/customers", "/v1/products", "/v1/prices", "/v1/checkout/sessions"):
        await killed(path, lambda each: each.begin("starter"))
    assert (await bed.begin("starter")).checkout_url
    assert len(bed.client.v1.customers.list().data) == 1
    assert len(bed.client.v1.prices.list().data) == 1
    assert len(bed.client.v1.checkout.sessions.list().data) == 1

    bed.use_card("pm_card_visa")
    await killed("/v1/checkout/sessions/*/expire", lambda each: each.begin("starter"))
    await killed("/v1/subscriptions", lambda each: each.begin("starter"))
    begun = await bed.begin("starter")
    assert begun.subscription is not None
    assert (bed.charged_minor(), len(bed.subscriptions()), len(bed.plans())) == (1_900, 1, 1)

    theirs = f"/v1/subscriptions/{bed.subscriptions()[0].id}"
    await killed("/v1/coupons", lambda each: each.change("growth"))
    await killed(theirs, lambda each: each.change("growth"))
    assert (await bed.change("growth")).offer.code == "growth"
    assert (bed.charged_minor(), len(bed.plans())) == (7_900, 2)

    for path in ("/v1/subscription_schedules", "/v1/subscription_schedules/*"):
        await killed(path, lambda each: each.change("starter", When.PERIOD_END))
    waiting = await bed.change("starter", When.PERIOD_END)
    assert waiting.next_offer is not None

    await killed("/v1/subscription_schedules/*/release", lambda each: each.change("scale"))
    assert (await bed.change("scale")).offer.code == "scale"
    assert (bed.charged_minor(), len(bed.plans())) == (29_900, 3)

    await killed(theirs, lambda each: each.cancel(When.PERIOD_END))
    assert (await bed.cancel(When.PERIOD_END)).cancel_at_period_end
    await killed(theirs, lambda each: each.resume())
    assert not (await bed.resume()).cancel_at_period_end
    await killed(theirs, lambda each: each.cancel(When.NOW), "DELETE")
    assert (await bed.cancel(When.NOW)).status == "canceled"
    assert bed.charged_minor() == 29_900
    assert {state for _, state in bed.rows(WRITES)} == {"done"}
    before = bed.snapshot()
    await bed.deliver()
    assert bed.snapshot() == before


def kill_in_the_middle(bed: Bed, path: str, when: str, act: Act, method: str) -> None:
    _hang(bed, path, when, HANG_SECONDS, method)
    process = multiprocessing.get_context("fork").Process(target=_in_child, args=(bed, act))
    process.start()
    until(lambda: not _faults(bed))
    process.kill()
    process.join()
    until(lambda: _is_over(bed, method))  # Stripe goes on with what it got


def _in_child(bed: Bed, act: Act) -> None:
    """With connections of its own: nothing of the parent's is used."""

    async def run() -> None:
        bed.services = build_services(payment_settings(bed.sandbox), bed.url)
        await act(bed)

    asyncio.run(run())


def _hang(bed: Bed, path: str, when: str, seconds: float, method: str = "POST") -> None:
    bed.sandbox.fault(kind="hang", seconds=seconds, method=method, path=path, when=when)


def _undelivered(bed: Bed) -> set[str]:
    theirs = bed.client.v1.events.list({"limit": 100}).auto_paging_iter()
    return {event.id for event in theirs} - {row[0] for row in bed.rows(EVENT_IDS)}


def _faults(bed: Bed) -> list[object]:
    return bed.sandbox.http.get("/_sandbox/faults").json()["faults"]


def _is_over(bed: Bed, method: str) -> bool:
    """The request that hung has left its line in the log."""
    return bool(bed.sandbox.requests()) and bed.sandbox.requests()[-1]["method"] == method


def _swallowing(ask: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with contextlib.suppress(httpx.TransportError):
            ask()

    return run
