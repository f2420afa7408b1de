"""Fourteen months on Stripe's test clock: trial, checkout, renewals, a failure, grace, a block,
payment, and the end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast

import pytest

from billing_app.billing import ids
from billing_app.billing.executions.requests import Mode
from billing_app.db.enums import When
from tests import factories
from tests.payments.billing_harness import (
    DAY,
    GRACE_DAYS,
    HOUR,
    OFFERS,
    accepted,
    commit_of,
)
from tests.payments.stripe_itself import TEST_KEY, ClockedHarness, StripeItself
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode
START = datetime(2027, 1, 31, 10, tzinfo=UTC)
MONTH_ENDS = [
    "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30", "2027-07-31",
    "2027-08-31", "2027-09-30", "2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31",
    "2028-02-29", "2028-03-31",
]  # fmt: skip


@pytest.fixture
async def clocked(sandbox: Sandbox, own_database_url: str) -> AsyncIterator[ClockedHarness]:
    theirs = cast("Sandbox", StripeItself(sandbox)) if TEST_KEY else sandbox
    opened = ClockedHarness(theirs, own_database_url)
    await opened.open()
    await opened.start(START)
    yield opened
    await opened.stop()


async def test_fourteen_months(clocked: ClockedHarness) -> None:
    harness = clocked
    assert await harness.denied() == "plan_not_found"
    harness.use_card("pm_card_visa")
    begun = await harness.begin("starter")
    assert begun.subscription is not None
    found, ends = begun.subscription, []
    for month in range(14):
        ends.append(found.period_end.date().isoformat())
        accepted(await harness.use(month + 1))
        await harness.after(found.period_end + timedelta(hours=2))
        found = await harness.live()
        assert found.status == "active"
        assert (await harness.current()).executions_remaining == OFFERS["starter"].executions
    assert ends == MONTH_ENDS
    plans = harness.plans()
    assert [plan["used"] for plan in plans] == [*range(1, 15), 0]
    for earlier, later in pairwise(plans):
        assert earlier["ends_at"] == later["starts_at"], "no gap and no overlap"
    assert sum(invoice.amount_paid for invoice in harness.invoices()) == 15 * 1_900


async def test_failed_payment_grace_block_recovery_and_end(clocked: ClockedHarness) -> None:
    harness = clocked
    harness.use_card("pm_card_visa")
    first = (await harness.begin("starter")).subscription
    assert first is not None
    harness.use_card("pm_card_chargeCustomerFail")
    failed_at = first.period_end + timedelta(hours=1)
    await harness.after(failed_at + timedelta(hours=1))
    overdue = await harness.live()
    assert (overdue.status, overdue.past_due_since is not None) == ("past_due", True)
    assert await harness.denied() == "", "the plan can be used in the days of grace"
    (suspend_at,) = [plan["suspended_at"] for plan in harness.plans() if plan["suspended_at"]]
    assert abs(suspend_at - failed_at - timedelta(days=GRACE_DAYS)) < timedelta(minutes=5)
    held = accepted(await harness.use(50, Mode.RESERVE))
    harness.frozen = suspend_at - timedelta(seconds=1)
    running = accepted(await harness.use(20, Mode.RESERVE))
    harness.frozen = suspend_at
    assert await harness.denied() == "payment_past_due"
    accepted(await harness.decide(commit_of(running)))
    assert held["allowed"]
    assert (await harness.current()).executions_used == 20
    await harness.after(suspend_at + timedelta(hours=1))
    assert await harness.denied() == "payment_past_due"
    harness.use_card("pm_card_visa")
    (owed,) = [invoice for invoice in harness.invoices() if invoice.status == "open"]
    harness.client.v1.invoices.pay(str(owed.id))
    await harness.services.subscriptions.syncing.customer(harness.customer_id(), harness.now)
    assert await harness.denied() == ""
    assert (await harness.live()).past_due_since is None
    await harness.cancel(When.PERIOD_END)
    end = (await harness.live()).period_end
    await harness.after(end + timedelta(hours=2))
    assert await harness.subscription() is None
    assert await harness.denied() == "insufficient_executions"


async def test_grace_is_given_once_for_several_unpaid_renewals(clocked: ClockedHarness) -> None:
    harness = clocked
    harness.sandbox.control("settings", after_last_retry="past_due")
    harness.use_card("pm_card_visa")
    first = (await harness.begin("starter")).subscription
    assert first is not None
    harness.use_card("pm_card_chargeCustomerFail")
    end = first.period_end
    for _ in range(3):
        await harness.after(end + timedelta(hours=2))
        end = (await harness.live()).period_end
    suspended = [plan["suspended_at"] for plan in harness.plans() if plan["suspended_at"]]
    assert len(suspended) == 3
    assert len(set(suspended)) == 1
    assert await harness.denied() == "payment_past_due"


async def test_plan_ends_when_stripe_stops_retrying(clocked: ClockedHarness) -> None:
    harness = clocked
    harness.use_card("pm_card_visa")
    first = (await harness.begin("starter")).subscription
    assert first is not None
    harness.use_card("pm_card_chargeCustomerFail")
    await harness.after(first.period_end + timedelta(seconds=17 * DAY + 2 * HOUR))
    assert await harness.subscription() is None
    assert await harness.denied() != ""
    assert harness.plans()[-1]["ended_because"] == "cancelled"


async def test_trial_then_paid(clocked: ClockedHarness) -> None:
    """A used-up trial stays beside a purchased plan."""
    harness = clocked
    with factories.connect(harness.url) as connection:
        connection.execute(
            "INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,"
            " starts_at, created_at) VALUES (%s, 1, 'trial', 'Trial', 'trial', 10, 0, 0, %s, %s)",
            [harness.holder.account_number, START - timedelta(days=1), START],
        )
    accepted(await harness.use(10))
    assert await harness.denied() == "insufficient_executions"
    harness.use_card("pm_card_visa")
    begun = await harness.begin("growth")
    assert begun.subscription is not None
    assert ids.decode_account(begun.subscription.account_id) == harness.holder.account_number
    assert (await harness.current()).executions_remaining == 30_000
