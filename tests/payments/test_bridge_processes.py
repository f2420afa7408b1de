"""Renewals with the real processes: webhooks arrive over HTTP, and are processed late."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest

from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.service import months_later
from billing_app.payments.translate import ACCOUNT_METADATA
from tests import factories
from tests.factories import Holder
from tests.payments.billing_harness import BillingHarness
from tests.payments.processes import AppProcesses

RENEWALS: Final = int(os.environ.get("BRIDGE_RENEWALS", "8"))
USES: Final = 3
MAX_LATE_MINUTES: Final = 120
OPEN_EVENTS: Final = "SELECT count(*) FROM webhook_events WHERE state <> 'processed'"
USED: Final = """
SELECT count(*), min(used), max(used) FROM (
    SELECT DISTINCT ON (account_id) account_id, used FROM plans WHERE source = 'subscription'
    ORDER BY account_id, sequence DESC
) AS newest
"""


@pytest.fixture
def site(harness: BillingHarness) -> Iterator[AppProcesses]:
    running = AppProcesses(harness)
    yield running
    running.stop()


async def subscribed(harness: BillingHarness, late_minutes: int) -> tuple[Holder, str]:
    """An organization whose period ended so long ago, on a clock that is still before its end."""
    ended_at = datetime.now(UTC) - timedelta(minutes=late_minutes)
    harness.frozen = months_later(ended_at, -1).replace(microsecond=0)
    harness.holder = factories.organization(harness.url)
    clock = harness.client.v1.test_helpers.test_clocks.create(
        {"frozen_time": int(harness.frozen.timestamp())}
    )
    params: Any = {
        "test_clock": clock.id,
        "metadata": {ACCOUNT_METADATA: harness.holder.account_id},
    }
    customer = harness.client.v1.customers.create(params)
    with factories.connect(harness.url) as connection:
        connection.execute(
            "INSERT INTO provider_customers (account_id, customer_id, created_at)"
            " VALUES (%s, %s, now())",
            [harness.holder.account_number, customer.id],
        )
    harness.use_card("pm_card_visa")
    begun = await harness.begin("starter")
    assert begun.subscription is not None
    assert begun.subscription.period_end <= datetime.now(UTC)
    return harness.holder, clock.id


async def test_no_renewal_refuses_anybody_while_webhooks_wait(
    harness: BillingHarness, site: AppProcesses
) -> None:
    late = [place * MAX_LATE_MINUTES // max(1, RENEWALS - 1) for place in range(RENEWALS)]
    clocked = [await subscribed(harness, minutes) for minutes in late]
    harness.frozen = None
    site.api.environment |= {"SWEEP_SECONDS": "2"}
    site.start_api()
    site.listen()
    clocks = harness.client.v1.test_helpers.test_clocks
    for _, clock_id in clocked:
        clocks.advance(clock_id, {"frozen_time": int(datetime.now(UTC).timestamp())})

    def use(place: int) -> int:
        holder, _ = clocked[place % len(clocked)]
        answer = httpx.post(
            f"{site.api.url}/billing/plans/check-executions",
            headers={"Authorization": f"Bearer {site.key}", "Idempotency-Key": f"use-{place}"},
            json={"organization_id": holder.organization_id, "mode": "consume"},
            timeout=20,
        )
        return answer.status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(use, range(RENEWALS * USES)))
    assert set(statuses) == {200}
    assert harness.rows("SELECT count(*) FROM plans WHERE source = 'bridge' AND used > 0") == [
        (RENEWALS,)
    ]
    site.start_worker()
    site.wait_for(OPEN_EVENTS, 0)
    await harness.reconcile()
    assert harness.rows(USED) == [(RENEWALS, USES, USES)]
    assert await verify(harness.services.database) == []
