"""Outside the hot path plans are locked by sequence too, before the first of them is changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event

from billing_app.billing import ids
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE
from billing_app.db.enums import StaffRole
from tests import factories
from tests.payments.billing_harness import DAY, BillingHarness

LOCK = "SELECT 1 FROM plans WHERE account_id = %s AND sequence {} FOR UPDATE {}"


async def sync(harness: BillingHarness) -> None:
    """Of a subscription that was cancelled at Stripe, which ends its plan."""
    [subscription] = harness.client.v1.subscriptions.list().data
    harness.client.v1.subscriptions.cancel(subscription.id)
    await harness.deliver()


def _repaired(repair: Any) -> Callable[[BillingHarness], Awaitable[object]]:
    async def run(harness: BillingHarness) -> object:
        account = harness.holder.account_number
        ((last,),) = harness.rows("SELECT max(sequence) FROM plans")
        is_plans = repair.target.noun == "plan"
        return await carry_out(
            harness.services.repairs,
            factories.staff_member(harness.url, StaffRole.ADMIN),
            repair,
            ids.encode(ids.PLAN, account, last) if is_plans else harness.holder.account_id,
            NoFields(),
            reason="Why not",
            now=harness.now,
        )

    return run


@pytest.mark.parametrize(
    "change", [sync, _repaired(PAUSE), _repaired(BLOCK)], ids=["sync", "pause", "block"]
)
async def test_later_plans_are_free_while_an_earlier_one_is_waited_for(
    harness: BillingHarness, change: Callable[[BillingHarness], Awaitable[object]]
) -> None:
    account = harness.holder.account_number
    factories.add_plan(harness.url, harness.holder, 1, 5)
    await harness.subscribed("starter")
    hot = await psycopg.AsyncConnection.connect(harness.url)
    async with hot, hot.cursor() as cursor:
        await cursor.execute(LOCK.format("= 1", ""), [account])
        changing = asyncio.create_task(change(harness))  # pyright: ignore[reportArgumentType]
        await asyncio.sleep(1)
        assert not changing.done()
        await cursor.execute(LOCK.format("> 1", "NOWAIT"), [account])
        await hot.commit()
        await changing


async def test_longer_history_asks_the_database_no_more_while_the_account_is_locked(
    harness: BillingHarness,
) -> None:
    """Decisions about executions wait for that lock."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    await harness.deliver()
    before = await statements_under_lock(harness)
    for _ in range(3):
        harness.skip(31 * DAY)
    await harness.deliver()
    assert len(harness.invoices()) == 4
    assert await statements_under_lock(harness) == before


async def statements_under_lock(harness: BillingHarness) -> int:
    """Of a sync that changes nothing."""
    await harness.services.subscriptions.syncing.customer(harness.customer_id(), harness.now)
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await harness.services.subscriptions.syncing.customer(harness.customer_id(), harness.now)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    [locked] = [place for place, each in enumerate(sent) if "FOR UPDATE OF accounts" in each]
    return sum(" plans" in each or "invoices" in each or "offer" in each for each in sent[locked:])
