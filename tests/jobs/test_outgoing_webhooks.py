"""Workers that deliver webhooks: at once, again after a kill, and idle without events."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.webhooks_out.deliveries import WebhookDeliveries
from billing_app.billing.webhooks_out.dispatch import dispatch_events
from billing_app.billing.webhooks_out.endpoints import EndpointFields, WebhookEndpoints
from billing_app.client.webhooks import verify_webhook
from billing_app.composition import build_services
from billing_app.db.engine import Database
from billing_app.jobs.outgoing_webhooks import attempt
from billing_app.settings import Settings
from tests.billing.webhooks_out.receivers import Receiver, receiving
from tests.conftest import server_environment
from tests.factories import OPERATOR, Holder, connect, organization
from tests.fork_server import AppProcess
from tests.payments.billing_harness import until
from tests.processes import start_command

START_SECONDS: Final = 60.0


@contextmanager
def worker(url: str) -> Iterator[AppProcess]:
    environment = server_environment(
        url, WEBHOOK_ALLOW_PRIVATE="true", WORKER_POLL_SECONDS="1", SWEEP_SECONDS="60"
    )
    process = start_command(environment, "worker")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture
async def database(own_database_url: str) -> Any:
    made = Database(own_database_url)
    yield made
    await made.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as made:
        yield made


@pytest.fixture
def holder(own_database_url: str) -> Holder:
    return organization(own_database_url, 20)


async def add_endpoint(database: Database, holder: Holder, receiver: Receiver) -> tuple[str, str]:
    endpoints = WebhookEndpoints(database, allow_private=True)
    fields = EndpointFields(url=receiver.url)
    made = await endpoints.add(OPERATOR, holder.organization_id, fields, datetime.now(UTC))
    return made.endpoint.id, made.secret


async def happens(database: Database, holder: Holder) -> None:
    async with database.transaction() as session:
        event = NewEvent(EventType.INVOICE_PAID, {"invoice": "in_1"})
        await append(session, holder.account_number, event, datetime.now(UTC))


def wait_until_listening(url: str) -> None:
    def is_listening() -> bool:
        with connect(url) as connection:
            found = connection.execute(
                "SELECT FROM pg_stat_activity WHERE application_name = 'billing job listener'"
                " AND datname = current_database() AND state = 'idle'"
            )
            return found.rowcount > 0

    until(is_listening, START_SECONDS)


async def test_worker_delivers_what_happens_and_what_happened_before(
    database: Database, receiver: Receiver, holder: Holder, own_database_url: str
) -> None:
    endpoint_id, secret = await add_endpoint(database, holder, receiver)
    await happens(database, holder)
    with worker(own_database_url):
        await asyncio.to_thread(receiver.wait_for, 1)
        wait_until_listening(own_database_url)
        await happens(database, holder)
        second = (await asyncio.to_thread(receiver.wait_for, 2))[1]
        deliveries = WebhookDeliveries(database)
        await deliveries.send_test(OPERATOR, endpoint_id, datetime.now(UTC))
        test = (await asyncio.to_thread(receiver.wait_for, 3))[2]
    assert verify_webhook(second.body, second.headers, secret).type == "invoice.paid"
    assert verify_webhook(test.body, test.headers, secret).type == "webhook.test"


async def test_worker_that_is_killed_in_the_middle_delivers_it_again_with_the_same_id(
    database: Database, receiver: Receiver, holder: Holder, own_database_url: str
) -> None:
    def answer(number: int) -> tuple[int, bytes]:
        if number == 0:
            time.sleep(60)
        return 200, b""

    receiver.answer = answer
    endpoint_id, _ = await add_endpoint(database, holder, receiver)
    await happens(database, holder)
    with worker(own_database_url) as killed:
        await asyncio.to_thread(receiver.wait_for, 1)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    with worker(own_database_url):
        first, second = await asyncio.to_thread(receiver.wait_for, 2)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body

        async def is_delivered() -> bool:
            page = await WebhookDeliveries(database).list(OPERATOR, endpoint_id)
            return [each.status for each in page.items] == ["delivered"]

        deadline = time.monotonic() + 60
        while not await is_delivered():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_copied_database_delivers_nothing_until_it_is_adopted(
    database: Database, receiver: Receiver, holder: Holder, own_database_url: str
) -> None:
    endpoint_id, _ = await add_endpoint(database, holder, receiver)
    await happens(database, holder)
    await dispatch_events(database, datetime.now(UTC))
    settings = Settings(trial_plan_executions=1, public_org_id="public", webhook_allow_private=True)
    services = build_services(settings, own_database_url)
    with connect(own_database_url) as connection:
        (delivery_id,) = connection.execute("SELECT id FROM webhook_deliveries").fetchone() or ("",)
        connection.execute("UPDATE webhook_deliveries SET is_queued = true")
        connection.execute(
            "INSERT INTO provider_identity (id, is_live, mark, database_oid, adopted_at)"
            " VALUES (1, false, '', 1, now())"
        )
        await attempt(services, delivery_id, 0, 0)
        assert receiver.received == []
        parked = "SELECT status, is_queued, round, attempts FROM webhook_deliveries"
        assert connection.execute(parked).fetchall() == [("pending", False, 1, 0)]
        connection.execute("DELETE FROM provider_identity")
    await attempt(services, delivery_id, 0, 0)
    assert receiver.received == []
    await attempt(services, delivery_id, 1, 0)
    assert len(receiver.received) == 1
    await services.close()
    page = await WebhookDeliveries(database).list(OPERATOR, endpoint_id)
    assert [each.status for each in page.items] == ["delivered"]


async def test_failed_attempt_is_repeated_by_the_worker(
    database: Database, receiver: Receiver, holder: Holder, own_database_url: str
) -> None:
    receiver.answer = lambda number: (500 if number == 0 else 200, b"")
    await add_endpoint(database, holder, receiver)
    await happens(database, holder)
    with worker(own_database_url):
        first, second = await asyncio.to_thread(receiver.wait_for, 2, 120)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
