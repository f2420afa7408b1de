"""Auto top-up: bought when needed, once, within the cap, and when interrupted."""

import asyncio
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.stops import PAUSE
from billing_app.billing.subscriptions import provider_requests, top_up_need, top_ups
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.top_ups import PaymentMethodMissingError, TopUpView
from tests.factories import OPERATOR, connect
from tests.payments.billing_harness import DAY, DISPUTED, VISA, BillingHarness, accepted
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode

FIVE_MINUTES = provider_requests.IN_FLIGHT.total_seconds()


async def order(
    harness: BillingHarness,
    threshold: int = 1_000,
    cap_minor: int = 10_000,
    offer: str = "pack",
    currency: str | None = None,
) -> TopUpView:
    return await harness.services.top_ups.switch_on(
        OPERATOR,
        harness.holder.account_id,
        offer_code=offer,
        threshold_executions=threshold,
        monthly_cap_minor=cap_minor,
        currency=currency,
        now=harness.now,
    )


async def seen(harness: BillingHarness) -> TopUpView:
    found = await harness.services.top_ups.read(OPERATOR, harness.holder.account_id, harness.now)
    assert found is not None
    return found


async def run(harness: BillingHarness) -> int:
    return await harness.services.top_ups.run(harness.now)


def packs(harness: BillingHarness) -> list[dict[str, Any]]:
    return [plan for plan in harness.plans() if plan["source"] == "pack"]


@pytest.fixture
async def low(harness: BillingHarness) -> BillingHarness:
    """Subscribed with a card, and 500 executions left."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    accepted(await harness.use(4_500))
    return harness


async def test_pack_is_bought_below_threshold(low: BillingHarness) -> None:
    await order(low, threshold=500)
    assert await run(low) == 0
    accepted(await low.use(1))
    assert await run(low) == 1
    assert [pack["executions"] for pack in packs(low)] == [10_000]
    assert low.charged_minor() == 1_900 + 2_500
    assert await run(low) == 0
    await low.deliver()
    assert len(packs(low)) == 1
    assert (await seen(low)).spent_minor == 2_500


async def test_monthly_cap_is_kept(low: BillingHarness) -> None:
    await order(low, threshold=100_000, cap_minor=5_999)
    assert [await run(low) for _ in range(4)] == [1, 1, 0, 0]
    assert (await seen(low)).spent_minor == 5_000
    low.skip(DAY * 31)
    assert (await seen(low)).spent_minor == 0
    assert [await run(low) for _ in range(3)] == [1, 1, 0]
    assert (await seen(low)).stopped_because is None


async def test_cap_is_in_a_currency(low: BillingHarness) -> None:
    with pytest.raises(InvalidInputError, match="The cap is in JPY, and the pack is sold in USD"):
        await order(low, currency="JPY")
    await order(low, threshold=100_000, cap_minor=5_999, currency="USD")
    assert await run(low) == 1
    with connect(low.url) as connection:
        connection.execute(
            "UPDATE provider_writes SET parameters = jsonb_set(parameters::jsonb, '{currency}',"
            " '\"JPY\"') WHERE operation = 'top_up'"
        )
    assert (await seen(low)).spent_minor == 0


async def test_concurrent_runs_never_exceed_the_cap(low: BillingHarness) -> None:
    await order(low, threshold=100_000, cap_minor=7_500)
    for _ in range(3):
        await asyncio.gather(*(run(low) for _ in range(3)))
    assert low.charged_minor() == 1_900 + 7_500
    assert len(packs(low)) == 3


async def test_decline_stops_top_up_until_switched_on_again(low: BillingHarness) -> None:
    await order(low)
    low.use_card("pm_card_chargeCustomerFail")
    assert await run(low) == 0
    stopped = (await seen(low)).stopped_because
    assert stopped is not None
    assert "declined" in stopped
    assert [invoice.status for invoice in low.invoices()][-1] == "void"
    low.use_card("pm_card_visa")
    assert await run(low) == 0
    assert (await order(low)).stopped_because is None
    assert await run(low) == 1
    assert low.charged_minor() == 1_900 + 2_500


async def test_archived_pack_stops_top_up(low: BillingHarness) -> None:
    await order(low)
    low.rows("UPDATE offers SET archived_at = now() WHERE code = 'pack' RETURNING 1")
    assert await run(low) == 0
    assert (await seen(low)).stopped_because == "The pack is no longer sold."


async def test_top_up_can_be_switched_off(low: BillingHarness) -> None:
    await order(low)
    await low.services.top_ups.switch_off(OPERATOR, low.holder.account_id)
    assert await run(low) == 0
    assert await low.services.top_ups.read(OPERATOR, low.holder.account_id, low.now) is None


async def test_invalid_top_up_is_refused(low: BillingHarness) -> None:
    for bad in ({"threshold": 0}, {"cap_minor": 2_499}, {"offer": "starter"}, {"offer": "none"}):
        with pytest.raises(InvalidInputError):
            await order(low, **bad)  # pyright: ignore[reportArgumentType]


async def test_top_up_needs_a_card(harness: BillingHarness) -> None:
    with pytest.raises(PaymentMethodMissingError):
        await order(harness)


async def test_overage_does_not_count_as_remaining(low: BillingHarness) -> None:
    """Packs are cheaper than overage: only what was bought counts as remaining."""
    low.rows(
        "INSERT INTO plans (account_id, sequence, type, name, source, priority, executions, used,"
        " held, starts_at, ends_at, created_at) SELECT account_id, 99, type, name, 'overage', 1000,"
        " 1000000, 0, 0, starts_at, ends_at, created_at FROM plans LIMIT 1 RETURNING 1"
    )
    await order(low)
    assert await run(low) == 1


@pytest.mark.parametrize("step", ["invoices", "invoiceitems", "finalize", "pay"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_unclear_answer_is_looked_up_and_charged_once(
    low: BillingHarness, step: str, when: str
) -> None:
    await order(low)
    path = {"finalize": "/v1/invoices/*/finalize", "pay": "/v1/invoices/*/pay"}
    fault = {"kind": "reset", "when": when, "method": "POST", "times": 3}
    low.sandbox.control("faults", **fault, path=path.get(step, f"/v1/{step}"))
    with pytest.raises(PaymentProviderUnavailableError):
        await run(low)
    assert await run(low) == 0
    was_paid = (step, when) == ("pay", "after")
    low.skip(FIVE_MINUTES + 1)
    assert await run(low) == (0 if was_paid else 1)
    assert low.charged_minor() == 1_900 + 2_500
    assert len(packs(low)) == 1
    assert {invoice.status for invoice in low.invoices()} <= {"paid", "void"}


async def test_top_ups_at_their_cap_do_not_block_others(
    low: BillingHarness, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (top_ups, top_up_need):
        monkeypatch.setattr(module, "PAGE_ACCOUNTS", 1)
    await order(low, threshold=100_000, cap_minor=2_500)
    assert await run(low) == 1
    others = [await BillingHarness(sandbox, low.url).open_beside(low) for _ in range(2)]
    for other in others:
        await other.subscribed("starter")
        other.use_card("pm_card_visa")
        accepted(await other.use(4_900))
        await order(other, threshold=500)
    assert [await run(low), await run(low)] == [2, 0]
    for other in others:
        await other.close()


@pytest.mark.parametrize("stop", ["pause", "dispute"])
async def test_stopped_plan_triggers_no_top_up(harness: BillingHarness, stop: str) -> None:
    await harness.subscribed("starter", DISPUTED if stop == "dispute" else VISA)
    harness.use_card("pm_card_visa")
    await order(harness, threshold=500)
    if stop == "pause":
        plan_id = ids.encode(ids.PLAN, harness.holder.account_number, 1)
        await carry_out(
            harness.services.repairs,
            OPERATOR,
            PAUSE,
            plan_id,
            NoFields(),
            reason="look",
            now=harness.now,
        )
    await harness.deliver()
    assert await harness.denied() in {"plan_paused", "payment_past_due"}
    assert await run(harness) == 0
    assert packs(harness) == []
