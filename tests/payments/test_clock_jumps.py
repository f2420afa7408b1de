"""The clock of the database was a month ahead for a while: what that ended is there again."""

from datetime import timedelta

from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.early_ends import reopen_early_ended
from tests.payments.billing_harness import BillingHarness, accepted


async def test_plan_that_ended_while_the_clock_was_ahead_is_usable_again(
    harness: BillingHarness,
) -> None:
    database = harness.services.database
    await harness.subscribed("starter")
    accepted(await harness.use(1))
    harness.frozen = harness.now + timedelta(days=40)
    assert await harness.denied() == "insufficient_executions"
    await harness.use(1)
    harness.frozen = None
    assert await harness.denied() == "insufficient_executions"
    assert await reopen_early_ended(database) == 2  # the plan, and the bridge behind it
    accepted(await harness.use(4_999))
    assert await verify(database) == []
    assert await harness.reconcile() == []


async def test_plans_whose_time_is_over_stay_ended(harness: BillingHarness) -> None:
    database = harness.services.database
    await harness.subscribed("starter")
    await harness.subscribed("pack")
    accepted(await harness.use(15_000))
    assert [plan["ended_because"] for plan in harness.plans()] == ["depleted", "depleted"]
    assert await reopen_early_ended(database) == 0
