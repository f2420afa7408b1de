"""`kill -9` between the steps of reporting, settling and topping up: nothing lost or doubled."""

import asyncio
from datetime import timedelta

import pytest

from billing_app.billing.executions.requests import Mode
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.subscriptions.provider_requests import IN_FLIGHT
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import HOUR, BillingHarness, accepted, commit_of
from tests.payments.test_kills import Act, kill_in_the_middle
from tests.payments.test_overage import SOFT
from tests.payments.test_overage_reports import begun, renew, report, settle
from tests.payments.test_top_ups import order, packs, run

WHEN = pytest.mark.parametrize("when", ["before", "after"])


async def killed(harness: BillingHarness, path: str, when: str, act: Act) -> None:
    await asyncio.to_thread(kill_in_the_middle, harness, path, when, act, "POST")


@pytest.fixture
async def soft(harness: BillingHarness) -> BillingHarness:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await begun(harness, "soft")
    harness.use_card("pm_card_visa")
    return harness


@WHEN
async def test_interrupted_report_counts_once(soft: BillingHarness, when: str) -> None:
    accepted(await soft.use(1_101))
    for _ in range(2):
        await killed(soft, "/v1/billing/meter_events", when, report)
    assert soft.rows("SELECT executions, state FROM meter_reports") == [(101, "pending")]
    accepted(await soft.use(100))
    assert await report(soft) == 2
    assert soft.rows("SELECT executions, state FROM meter_reports ORDER BY number") == [
        (101, "done"),
        (100, "done"),
    ]
    await renew(soft)
    assert soft.charged_minor() == 2_000 + 3 * 50


@WHEN
async def test_interrupted_settlement_bills_once(soft: BillingHarness, when: str) -> None:
    accepted(await soft.use(1_150))
    await renew(soft, report_first=False)
    soft.skip(HOUR)
    await killed(soft, "/v1/invoiceitems", when, settle)
    assert await settle(soft) == 1
    assert await settle(soft) == 0
    await renew(soft)
    assert soft.charged_minor() == 3_000 + 100


@WHEN
@pytest.mark.parametrize("step", ["invoices", "invoiceitems", "invoices/*/finalize"])
async def test_interrupted_settlement_with_its_own_invoice_bills_once(
    soft: BillingHarness, step: str, when: str
) -> None:
    accepted(await soft.use(1_000))
    held = accepted(await soft.use(150, Mode.RESERVE))
    found = await soft.live()
    await soft.services.subscriptions.cancel(OPERATOR, found.id, when=When.NOW, now=soft.now)
    accepted(await soft.decide(commit_of(held)))
    soft.skip(3 * HOUR)
    await killed(soft, f"/v1/{step}", when, settle)
    assert await settle(soft) == 1
    assert await settle(soft) == 0
    assert soft.charged_minor() == 1_000 + 100


@WHEN
@pytest.mark.parametrize(
    "step", ["invoices", "invoiceitems", "invoices/*/finalize", "invoices/*/pay"]
)
async def test_interrupted_top_up_charges_once(
    harness: BillingHarness, step: str, when: str
) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    accepted(await harness.use(4_500))
    await order(harness)
    await killed(harness, f"/v1/{step}", when, run)
    assert harness.rows("SELECT state FROM provider_writes") == [("pending",)]
    assert await run(harness) == 0
    harness.skip(IN_FLIGHT / timedelta(seconds=1) + 1)
    await run(harness)
    await run(harness)
    assert harness.charged_minor() == 1_900 + 2_500
    assert len(packs(harness)) == 1
    assert harness.rows("SELECT count(*) FROM provider_writes WHERE state = 'pending'") == [(0,)]
