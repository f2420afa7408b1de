"""A worker that rests takes up webhooks, mail and top-ups when they are announced, and finds by
itself what was announced to nobody."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from billing_app.db.engine import Database
from billing_app.jobs import webhooks
from billing_app.jobs.mail import DbosMailQueue
from billing_app.jobs.pace import LIVELY_SECONDS
from tests.factories import connect, person
from tests.payments.billing_harness import BillingHarness, accepted, type_card, until
from tests.payments.processes import AppProcesses

# Long before a worker that polls each ten minutes, or sweeps each minute, would notice by itself.
ANNOUNCED_WITHIN_SECONDS: Final = 12.0
FOUND_WITHIN_SECONDS: Final = 60.0
SUBSCRIBED: Final = "SELECT 1 FROM plans WHERE source = 'subscription'"
PACKS: Final = "SELECT 1 FROM plans WHERE source = 'pack'"


@pytest.fixture
def site(harness: BillingHarness, tmp_path: Path) -> Iterator[AppProcesses]:
    running = AppProcesses(harness)
    running.api.environment["MAIL_DIRECTORY"] = str(tmp_path / "mail")
    running.start_api()
    yield running
    running.stop()


def test_announced_work_starts_immediately(
    harness: BillingHarness, site: AppProcesses, tmp_path: Path
) -> None:
    _start_worker(site, poll_seconds=600, sweep_seconds=60)
    time.sleep(LIVELY_SECONDS + 1)
    site.listen()
    type_card(site.subscribe("starter").json()["checkout_url"])
    until(lambda: harness.rows(SUBSCRIBED), ANNOUNCED_WITHIN_SECONDS)

    harness.use_card("pm_card_visa")
    _order_silently(harness)
    _consume(site, 4_500)
    until(lambda: harness.rows(PACKS), ANNOUNCED_WITHIN_SECONDS)

    _enqueue_mail_in(harness)
    until(lambda: list((tmp_path / "mail").glob("*.eml")), ANNOUNCED_WITHIN_SECONDS)


def test_missed_announcement_is_found_by_a_sweep(
    harness: BillingHarness, site: AppProcesses, tmp_path: Path
) -> None:
    _start_worker(site, poll_seconds=2, sweep_seconds=3)
    with connect(harness.url) as connection:
        connection.execute("ALTER TABLE dbos.workflow_status DISABLE TRIGGER announce_billing_job")
    site.listen()
    type_card(site.subscribe("starter").json()["checkout_url"])
    until(lambda: harness.rows(SUBSCRIBED), FOUND_WITHIN_SECONDS)
    _enqueue_mail_in(harness)
    until(lambda: list((tmp_path / "mail").glob("*.eml")), FOUND_WITHIN_SECONDS)

    harness.use_card("pm_card_visa")
    _consume(site, 4_500)
    _order_silently(harness)
    until(lambda: harness.rows(PACKS), FOUND_WITHIN_SECONDS)


async def test_top_up_announced_to_several_workers_is_bought_once(
    harness: BillingHarness, site: AppProcesses
) -> None:
    _start_worker(site, poll_seconds=600, sweep_seconds=60)
    first, site._worker = site._worker, None
    assert first is not None
    try:
        _start_worker(site, poll_seconds=600, sweep_seconds=60)
        await harness.subscribed("starter")
        harness.use_card("pm_card_visa")
        # Counted in this process, so that the order alone announces the account.
        accepted(await harness.use(4_500))
        order = {"offer": "pack", "threshold_executions": 1_000, "monthly_cap_minor": 100_000}
        path = f"/billing/top-up?account_id={harness.holder.account_id}"
        assert site.ask("PUT", path, **order).is_success
        until(lambda: harness.rows(PACKS), ANNOUNCED_WITHIN_SECONDS)
        site.wait_for(
            "SELECT count(*) FROM dbos.workflow_status WHERE name = 'top_up_account'"
            " AND status = 'SUCCESS'",
            1,
        )
        assert harness.charged_minor() == 1_900 + 2_500
    finally:
        first.kill()
        first.wait()


def _start_worker(site: AppProcesses, *, poll_seconds: int, sweep_seconds: int) -> None:
    site.api.environment |= {
        "WORKER_POLL_SECONDS": str(poll_seconds),
        "SWEEP_SECONDS": str(sweep_seconds),
    }
    site.start_worker()


def _consume(site: AppProcesses, executions: int) -> None:
    item = {
        "organization_id": site.harness.holder.organization_id,
        "executions": executions,
        "mode": "consume",
        "idempotency_key": uuid.uuid4().hex,
    }
    answer = site.ask("POST", "/billing/plans/check-executions/batch", items=[item])
    assert [result["status"] for result in answer.json()["results"]] == [200]


def _order_silently(harness: BillingHarness) -> None:
    """A top-up below 1,000 executions, of which no worker hears."""
    with connect(harness.url) as connection:
        connection.execute(
            "INSERT INTO top_ups (account_id, offer_id, threshold_executions, monthly_cap_minor,"
            " currency, updated_at) SELECT %s, id, 1000, 2500, 'USD', now() FROM offers"
            " WHERE code = 'pack'",
            [harness.holder.account_number],
        )


def _enqueue_mail_in(harness: BillingHarness) -> None:
    email = str(person(harness.url).email)

    async def enqueue() -> None:
        database = Database(harness.url)
        async with database.transaction() as session:
            await DbosMailQueue(webhooks.client(harness.url)).password_link(session, email)
        await database.dispose()

    asyncio.run(enqueue())
