"""Two workers: the jobs of one that is killed are finished by the other; those of one that lives
are left to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from billing_app.jobs.takeover import GRACE_SECONDS, LOOK_SECONDS
from tests.fork_server import AppProcess
from tests.payments.billing_harness import BillingHarness, type_card, until
from tests.payments.processes import AppProcesses

RUNNING = "SELECT executor_id FROM dbos.workflow_status WHERE queue_name = 'webhooks'"
PENDING = f"{RUNNING} AND status = 'PENDING'"
ATTEMPTS = "SELECT executor_id, max(recovery_attempts) FROM dbos.workflow_status GROUP BY 1"
SUBSCRIBED = "SELECT count(*) FROM plans WHERE source = 'subscription'"
UNPROCESSED = "SELECT count(*) FROM webhook_events WHERE state <> 'processed'"
LONG_SECONDS = GRACE_SECONDS + 2 * LOOK_SECONDS + 2


@pytest.fixture
def site(harness: BillingHarness) -> Iterator[AppProcesses]:
    running = AppProcesses(harness)
    running.start_api()
    running.listen()
    yield running
    running.stop()


@contextmanager
def two_workers(site: AppProcesses, *, hang_seconds: float) -> Iterator[tuple[AppProcess, str]]:
    """The first is in the middle of a webhook, which Stripe does not answer for so long, when the
    second starts; gives the first and its executor id."""
    site.start_worker()
    first, site._worker = site._worker, None
    assert first is not None
    url = site.subscribe("starter").json()["checkout_url"]
    site.harness.sandbox.fault(
        kind="hang", seconds=hang_seconds, method="GET", path="/v1/invoices", times=1
    )
    type_card(url)
    executor = until(lambda: site.harness.rows(PENDING), 60)[0][0]
    site.start_worker()
    try:
        yield first, executor
    finally:
        if first.poll() is None:
            first.kill()
        first.wait()


def test_jobs_of_a_killed_worker_are_finished_by_another(
    harness: BillingHarness, site: AppProcesses
) -> None:
    with two_workers(site, hang_seconds=600) as (first, executor):
        first.kill()
        harness.sandbox.http.delete("/_sandbox/faults")
        site.wait_for(SUBSCRIBED, 1)
        site.wait_for(UNPROCESSED, 0)
        assert (executor,) not in harness.rows(PENDING)
    assert harness.charged_minor() == 1_900


def test_job_of_a_living_worker_is_left_to_it(harness: BillingHarness, site: AppProcesses) -> None:
    with two_workers(site, hang_seconds=LONG_SECONDS) as (_, executor):
        site.wait_for(SUBSCRIBED, 1)
        attempts = dict(harness.rows(ATTEMPTS))
    assert attempts[executor] == 1
