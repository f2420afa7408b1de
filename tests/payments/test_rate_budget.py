"""All processes keep to one rate at Stripe; those that somebody waits for come first, and nothing
stops a customer's request for long."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.db.engine import Database
from billing_app.payments import rate_budget
from billing_app.payments.calls import retry_after
from billing_app.payments.rate_budget import Priority, RateBudget, at_priority
from billing_app.settings import Settings
from tests.conftest import server_environment
from tests.factories import connect
from tests.payments.billing_harness import BillingHarness, payment_settings
from tests.payments.test_reconcile_walks import fill
from tests.processes import start_command
from tests.stripe_sandbox.running import KEY, Sandbox

RATE: Final = 40
LIMIT: Final = 25


@pytest.fixture
async def database(own_database_url: str) -> AsyncIterator[Database]:
    opened = Database(own_database_url)
    yield opened
    await opened.dispose()


async def taken(budget: RateBudget, priority: Priority, times: int = 1) -> None:
    with at_priority(priority):
        await asyncio.gather(*(budget.take() for _ in range(times)))


def row(url: str) -> Any:
    with connect(url) as connection:
        found = connection.execute("SELECT tokens, per_second, slowed_at FROM provider_budget")
        return found.fetchone()


def change(url: str, assignments: str) -> None:
    with connect(url) as connection:
        connection.execute(f"UPDATE provider_budget SET {assignments}")  # pyright: ignore[reportArgumentType, reportCallIssue]  # noqa: S608


def counted(priority: Priority, result: str) -> float:
    labels = rate_budget.requests_total.labels(priority.name.lower(), result)
    return labels._value.get()  # pyright: ignore


async def test_two_processes_stay_below_stripes_limit(harness: BillingHarness) -> None:
    """Without the budget, the same two are refused by Stripe."""
    fill(harness, 30)
    harness.sandbox.control("settings", rate_limit_per_second=LIMIT)
    refused = {rate: await _refused(harness, rate) for rate in ("", "10")}
    harness.sandbox.control("settings", rate_limit_per_second=0)
    assert refused["10"] == 0
    assert refused[""] > 0


async def _refused(harness: BillingHarness, rate: str) -> int:
    """How many requests of two reconciliations Stripe refuses."""
    keys = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": harness.sandbox.url}
    rates = {"STRIPE_REQUESTS_PER_SECOND": rate} if rate else {}
    environment = server_environment(harness.url, **keys, **rates)
    before = len(harness.sandbox.requests())
    processes = [start_command(environment, "reconcile", "--dry-run") for _ in range(2)]
    for process in processes:
        output, _ = await asyncio.to_thread(process.communicate, 120)
        assert process.returncode == 0, output
    made = harness.sandbox.requests()[before:]
    return len([each for each in made if each["status"] == 429])


async def test_two_budgets_share_one_bucket(database: Database, own_database_url: str) -> None:
    """A second of one is a second of both."""
    other = Database(own_database_url)
    granted = 0

    async def take_all(budget: RateBudget) -> None:
        nonlocal granted
        with at_priority(Priority.WEBHOOK):
            while True:
                await budget.take()
                granted += 1

    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    tasks = [asyncio.create_task(take_all(RateBudget(each, RATE))) for each in (database, other)]
    await asyncio.sleep(2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    passed = loop.time() - began
    await other.dispose()
    most = RATE * (passed + rate_budget.BUCKET_SECONDS) + 2 * RATE * rate_budget.BLOCK_SECONDS
    assert 0 < granted <= most + 1


async def test_requests_that_somebody_waits_for_come_first(database: Database) -> None:
    budget, order = RateBudget(database, RATE), list[Priority]()

    async def one(priority: Priority) -> None:
        await taken(budget, priority)
        order.append(priority)

    late = [asyncio.create_task(one(Priority.RECONCILE)) for _ in range(30)]
    await asyncio.sleep(0.05)
    await asyncio.gather(*(one(Priority.CUSTOMER) for _ in range(6)))
    last = max(index for index, each in enumerate(order) if each is Priority.CUSTOMER)
    assert order[: last + 1].count(Priority.RECONCILE) < 25
    await asyncio.gather(*late)


async def test_block_is_not_for_less_important_requests(
    database: Database, own_database_url: str
) -> None:
    budget = RateBudget(database, 400)
    await taken(budget, Priority.CUSTOMER)
    await taken(budget, Priority.CUSTOMER)
    change(own_database_url, "tokens = -1000")
    before = counted(Priority.CUSTOMER, "granted")
    await taken(budget, Priority.CUSTOMER)
    assert counted(Priority.CUSTOMER, "granted") == before + 1
    assert not budget._from_block(Priority.WEBHOOK)  # pyright: ignore[reportPrivateUsage]


async def test_refusal_halves_the_rate_for_everybody_once(
    database: Database, own_database_url: str
) -> None:
    first, second = RateBudget(database, RATE), RateBudget(database, RATE)
    await taken(first, Priority.CUSTOMER)
    await first.slow_down(0)
    await second.slow_down(0)
    assert row(own_database_url)[1] == RATE / 2
    change(own_database_url, "refilled_at = now() - interval '10 seconds'")
    await taken(second, Priority.CUSTOMER)
    assert RATE / 2 < row(own_database_url)[1] <= RATE
    for _ in range(4):
        change(own_database_url, "refilled_at = now() - interval '10 seconds'")
        second._blocks.clear()  # pyright: ignore[reportPrivateUsage]
        await taken(second, Priority.CUSTOMER)
    assert row(own_database_url)[1] == RATE


async def test_rate_is_never_halved_to_nothing(database: Database, own_database_url: str) -> None:
    budget = RateBudget(database, RATE)
    await taken(budget, Priority.CUSTOMER)
    for _ in range(12):
        change(own_database_url, "slowed_at = NULL")
        await budget.slow_down(0)
    assert row(own_database_url)[1] == RATE * rate_budget.SLOWEST_SHARE


async def test_stripe_that_refuses_is_asked_less_by_all(
    sandbox: Sandbox, own_database_url: str
) -> None:
    settings = payment_settings(sandbox, stripe_requests_per_second=RATE)
    from billing_app.composition import build_services

    services = build_services(settings, own_database_url)
    sandbox.fault(kind="status", status=429, path="/v1/customers*", headers={"Retry-After": "2"})
    await services.provider.our_customers(None)
    _, per_second, slowed_at = row(own_database_url)
    assert per_second < RATE
    assert slowed_at is not None
    await services.close()


async def test_pause_that_stripe_asks_for_holds_for_all(
    database: Database, own_database_url: str
) -> None:
    budget = RateBudget(database, RATE)
    await taken(budget, Priority.CUSTOMER)
    await budget.slow_down(3)
    assert row(own_database_url)[0] == -3 * RATE / 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [(None, 0), ({}, 0), ({"Retry-After": "3"}, 3), ({"retry-after": "soon"}, 0)],
)
def test_retry_after_is_read(headers: dict[str, str] | None, seconds: float) -> None:
    assert retry_after(headers) == seconds


async def test_customer_goes_on_and_others_fail_when_nothing_is_left(
    database: Database, own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = RateBudget(database, RATE)
    await taken(budget, Priority.CUSTOMER)
    budget._blocks.clear()  # pyright: ignore[reportPrivateUsage]
    change(own_database_url, "tokens = -100000")
    monkeypatch.setattr(rate_budget, "PATIENCE_SECONDS", dict.fromkeys(Priority, 0.2))
    before = counted(Priority.CUSTOMER, "overdrawn")
    await taken(budget, Priority.CUSTOMER)
    assert counted(Priority.CUSTOMER, "overdrawn") == before + 1
    for priority in (Priority.WEBHOOK, Priority.RECONCILE):
        with pytest.raises(PaymentProviderUnavailableError):
            await taken(budget, priority)


async def test_time_that_jumps_back_stops_nobody(database: Database, own_database_url: str) -> None:
    budget = RateBudget(database, RATE)
    await taken(budget, Priority.WEBHOOK)
    change(own_database_url, "tokens = 0, refilled_at = now() + interval '1 hour'")
    await taken(budget, Priority.WEBHOOK, 3)


@pytest.mark.parametrize("priority", list(Priority))
async def test_without_a_database_each_process_keeps_to_a_small_rate(priority: Priority) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    database = Database(f"postgresql://nobody@127.0.0.1:{port}/nothing")
    budget = RateBudget(database, 100)
    before = counted(priority, "alone")
    await taken(budget, priority, 3)
    assert counted(priority, "alone") == before + 3
    await budget.slow_down(1)
    await database.dispose()


async def test_database_that_hangs_stops_nobody(database: Database, own_database_url: str) -> None:
    budget = RateBudget(database, RATE)
    await taken(budget, Priority.WEBHOOK)
    with connect(own_database_url) as holder, holder.transaction():
        holder.execute("SELECT 1 FROM provider_budget FOR UPDATE")
        budget._blocks.clear()  # pyright: ignore[reportPrivateUsage]
        before = counted(Priority.WEBHOOK, "alone")
        await taken(budget, Priority.WEBHOOK, 2)
        await taken(budget, Priority.CUSTOMER)
        assert counted(Priority.WEBHOOK, "alone") == before + 2


def test_inner_work_is_never_more_important_than_outer() -> None:
    with at_priority(Priority.RECONCILE), at_priority(Priority.WEBHOOK):
        assert rate_budget._priority.get() is Priority.RECONCILE  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("key", "base", "given", "rate"),
    [
        ("sk_live_1", None, None, 80),
        ("sk_test_1", None, None, 20),
        ("sk_live_1", None, 500, 500),
        ("sk_test_1", "http://localhost:1", None, None),
        ("sk_test_1", "http://localhost:1", 5, 5),
    ],
)
def test_rate_follows_the_mode(key: str, base: str | None, given: int | None, rate: int) -> None:
    values: dict[str, Any] = {"trial_plan_executions": 1, "public_org_id": "public"}
    values |= {"stripe_secret_key": key, "stripe_api_base": base}
    settings = Settings(**values, stripe_requests_per_second=given)
    assert settings.stripe_rate == rate
