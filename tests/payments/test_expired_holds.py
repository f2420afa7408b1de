"""Reservations that nobody settled: what they hold beyond their time is the customer's again, also
where it decides about money."""

import asyncio

import pytest

from billing_app.billing.executions.requests import Ask, Caller, Mode
from billing_app.db.enums import When
from tests.payments.billing_harness import HOUR, Bed, accepted, type_card
from tests.payments.test_top_ups import order, run

NOBODY = Caller(api_key_id=None, organization_id=None)


@pytest.mark.parametrize(
    ("ends_by", "left"), [("nothing", 15_000), ("cancel", 10_000), ("upgrade", 40_000)]
)
async def test_a_hold_over_an_ended_plan_frees_the_others(
    bed: Bed, ends_by: str, left: int
) -> None:
    """Expired by the database's clock, which `bed.skip` does not move."""
    await bed.subscribed("starter")
    type_card((await bed.begin("pack")).checkout_url)
    await bed.deliver()
    organization_id = bed.holder.organization_id
    hold = Ask(Mode.RESERVE, organization_id, "", 15_000, "", 1, "hold", NOBODY)
    accepted(await bed.decide(hold))
    if ends_by == "cancel":
        await bed.cancel(When.NOW)
    elif ends_by == "upgrade":
        await bed.change("growth")
    await asyncio.sleep(1.2)
    assert (await bed.current()).executions_remaining == left
    accepted(await bed.use(left))
    assert await bed.denied() == "insufficient_executions"
    assert {plan["held"] for plan in bed.plans()} == {0}


async def test_a_top_up_is_not_bought_for_what_an_expired_hold_keeps(bed: Bed) -> None:
    await bed.subscribed("starter")
    bed.use_card("pm_card_visa")
    accepted(await bed.use(4_500, Mode.RESERVE))
    await order(bed, threshold=1_000)
    bed.skip(2 * HOUR)
    assert (await bed.current()).executions_remaining == 5_000
    assert await run(bed) == 0


async def test_what_an_expired_hold_keeps_is_credited_at_a_change(bed: Bed) -> None:
    await bed.subscribed("starter")
    accepted(await bed.use(4_500, Mode.RESERVE))
    assert (await bed.preview("growth")).executions_unused == 500
    bed.skip(2 * HOUR)
    preview = await bed.preview("growth")
    assert (preview.executions_unused, preview.credit_minor) == (5_000, 1_900)
    await bed.change("growth")
    assert bed.charged_minor() == 7_900
    assert (await bed.current()).executions_total == 30_000
