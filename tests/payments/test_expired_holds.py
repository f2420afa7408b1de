"""Expired reservations: what they hold belongs to the customer again, also where money depends on
it."""

import asyncio

import pytest

from billing_app.billing.executions.requests import Caller, CheckRequest, Mode
from billing_app.db.enums import When
from tests.payments.billing_harness import HOUR, BillingHarness, accepted, type_card
from tests.payments.test_top_ups import order, run

NOBODY = Caller(api_key_id=None, organization_id=None)


@pytest.mark.parametrize(
    ("ends_by", "left"), [("nothing", 15_000), ("cancel", 10_000), ("upgrade", 40_000)]
)
async def test_expired_hold_on_ended_plan_frees_the_others(
    harness: BillingHarness, ends_by: str, left: int
) -> None:
    """Expired by the database's clock, which `harness.skip` does not move."""
    await harness.subscribed("starter")
    type_card((await harness.begin("pack")).checkout_url)
    await harness.deliver()
    organization_id = harness.holder.organization_id
    hold = CheckRequest(Mode.RESERVE, organization_id, "", 15_000, "", 1, "hold", NOBODY)
    accepted(await harness.decide(hold))
    if ends_by == "cancel":
        await harness.cancel(When.NOW)
    elif ends_by == "upgrade":
        await harness.change("growth")
    await asyncio.sleep(1.2)
    assert (await harness.current()).executions_remaining == left
    accepted(await harness.use(left))
    assert await harness.denied() == "insufficient_executions"
    assert {plan["held"] for plan in harness.plans()} == {0}


async def test_expired_hold_triggers_no_top_up(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    accepted(await harness.use(4_500, Mode.RESERVE))
    await order(harness, threshold=1_000)
    harness.skip(2 * HOUR)
    assert (await harness.current()).executions_remaining == 5_000
    assert await run(harness) == 0


async def test_expired_hold_is_credited_at_change(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(4_500, Mode.RESERVE))
    assert (await harness.preview("growth")).executions_unused == 500
    harness.skip(2 * HOUR)
    preview = await harness.preview("growth")
    assert (preview.executions_unused, preview.credit_minor) == (5_000, 1_900)
    await harness.change("growth")
    assert harness.charged_minor() == 7_900
    assert (await harness.current()).executions_total == 30_000
