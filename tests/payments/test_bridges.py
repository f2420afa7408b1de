"""No hole at a renewal: the next period can be used before its webhooks arrive, and is counted."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.executions.requests import Mode
from billing_app.billing.executions.verification import verify
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms, publish_offer
from billing_app.billing.overage.reports import CLOSED_AFTER
from billing_app.billing.plans.service import read_history
from billing_app.db.enums import Interval, PlanSource, When
from tests.databases import DatabasePool
from tests.factories import OPERATOR, connect
from tests.payments.billing_harness import (
    DAY,
    HOUR,
    BillingHarness,
    accepted,
    commit_of,
    fresh_harness,
)
from tests.stripe_sandbox.running import Sandbox

SOFT = OfferTerms("Soft", "", 1_000, 1_000, "USD", Interval.MONTH, overage=OverageTerms(50, 100))
BRIDGES = "SELECT count(*) FROM plans WHERE source = 'bridge'"
MINUTE = 60
RENEWAL = st.tuples(
    st.integers(0, 40),  # executions used before the period ends
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=2),
    st.booleans(),  # reserved, and committed after the webhooks came
)


async def publish_soft(harness: BillingHarness) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )


def skip_to(harness: BillingHarness, at: datetime) -> None:
    harness.skip(max(0.0, (at - harness.now).total_seconds()) + 1)


async def to_the_renewal(harness: BillingHarness, offer: str = "starter") -> None:
    """Subscribed, and at the end of the first period, with its webhooks on their way."""
    await harness.subscribed(offer)
    skip_to(harness, (await harness.live()).period_end)


async def bought(harness: BillingHarness) -> list[tuple[str, int, int]]:
    return [(plan["source"], plan["executions"], plan["used"]) for plan in harness.plans()]


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(renewals=st.lists(RENEWAL, min_size=1, max_size=4))
async def test_webhooks_up_to_two_hours_late_refuse_nobody(
    sandbox_process: Sandbox, database_pool: DatabasePool, renewals: list[Any]
) -> None:
    """Each use succeeds, and counts against the period in which it happens."""
    async with fresh_harness(sandbox_process, database_pool) as harness:
        await harness.subscribed()
        counted = [0]
        for before, late, is_reserved in renewals:
            if before:
                accepted(await harness.use(before))
                counted[-1] += before
            skip_to(harness, (await harness.live()).period_end)
            counted.append(0)
            held: list[Any] = []
            for minutes, executions in late:
                mode = Mode.RESERVE if is_reserved else Mode.CONSUME
                held.append(accepted(await harness.use(executions, mode)))
                counted[-1] += executions
                harness.skip(min(minutes, 6 if is_reserved else 60) * MINUTE)
                assert await harness.denied() == ""
            await harness.deliver()
            for answer in held if is_reserved else []:
                accepted(await harness.decide(commit_of(answer)))
            assert [plan["used"] for plan in harness.plans()] == counted
            assert {plan["source"] for plan in harness.plans()} == {"subscription"}
            assert await verify(harness.services.database) == []
        current = await harness.current()
        assert current.upcoming == []
        assert current.executions_remaining == 5_000 - counted[-1]
        assert current.period_end == (await harness.live()).period_end
        assert await harness.reconcile() == []
        assert harness.rows(BRIDGES) == [(1,)]


async def test_bridge_is_shown_as_one_and_only_while_it_is_used(harness: BillingHarness) -> None:
    found = await harness.subscribed()
    current = await harness.current()
    assert (current.upcoming, current.period_end) == ([], found.period_end)
    history = await read_history(
        harness.services.database, OPERATOR, harness.holder.account_id, now=harness.now
    )
    assert len(history.items) == 1
    skip_to(harness, found.period_end)
    current = await harness.current()
    assert current.plan is not None
    assert (current.plan.source, current.executions_remaining) == (PlanSource.BRIDGE, 5_000)
    assert current.period_end == found.period_end + timedelta(hours=24)


async def test_bridge_is_bounded_by_size_and_hours(harness: BillingHarness) -> None:
    await to_the_renewal(harness)
    accepted(await harness.use(5_000))
    assert await harness.denied() == "insufficient_executions"
    await harness.deliver()
    assert await harness.denied() == "insufficient_executions"
    assert await bought(harness) == [("subscription", 5_000, 0), ("subscription", 5_000, 5_000)]
    skip_to(harness, (await harness.live()).period_end)
    accepted(await harness.use(10))
    harness.skip(24 * HOUR)
    assert await harness.denied() == "insufficient_executions"
    await harness.deliver()
    assert await harness.denied() == ""
    assert [plan["used"] for plan in harness.plans()] == [0, 5_000, 10]


async def test_used_up_plan_is_refused_as_before_the_renewal(harness: BillingHarness) -> None:
    found = await harness.subscribed()
    accepted(await harness.use(5_000))
    decision: Any = await harness.use(1)
    assert decision.code == "insufficient_executions"
    assert decision.extensions["period_end"] == found.period_end


async def test_failing_renewal_counts_what_was_bridged(harness: BillingHarness) -> None:
    await harness.subscribed()
    harness.use_card("pm_card_chargeCustomerFail")
    skip_to(harness, (await harness.live()).period_end)
    accepted(await harness.use(100))
    harness.skip(2 * HOUR)
    accepted(await harness.use(100))
    await harness.deliver()
    assert (await harness.live()).status == "past_due"
    assert await harness.denied() == ""
    assert await bought(harness) == [("subscription", 5_000, 0), ("subscription", 5_000, 200)]
    assert harness.rows(BRIDGES) == [(0,)], "nothing is bridged while payment is overdue"
    harness.use_card("pm_card_visa")
    (owed,) = [invoice for invoice in harness.invoices() if invoice.status == "open"]
    harness.client.v1.invoices.pay(str(owed.id))
    await harness.deliver()
    assert (await harness.current()).executions_remaining == 4_800
    assert harness.rows(BRIDGES) == [(1,)]


async def test_cancelled_subscription_is_not_bridged(harness: BillingHarness) -> None:
    found = await harness.subscribed()
    await harness.cancel(When.PERIOD_END)
    assert harness.rows(BRIDGES) == [(0,)]
    await harness.resume()
    assert harness.rows(BRIDGES) == [(1,)]
    await harness.cancel(When.PERIOD_END)
    skip_to(harness, found.period_end)
    assert await harness.denied() == "insufficient_executions"


async def test_use_after_an_unknown_cancellation_is_owed_on_the_next_plan(
    harness: BillingHarness,
) -> None:
    """Cancelled at Stripe, and we hear of it after the period ended."""
    found = await harness.subscribed()
    theirs = harness.subscriptions()[0].id
    harness.client.v1.subscriptions.update(theirs, {"cancel_at_period_end": True})
    skip_to(harness, found.period_end)
    accepted(await harness.use(300))
    running = accepted(await harness.use(40, Mode.RESERVE))
    await harness.deliver()
    assert await harness.subscription() is None
    assert await harness.denied() == "insufficient_executions"
    answer = accepted(await harness.decide(commit_of(running, 30)))
    assert (answer["executions_used"], answer["executions_held"]) == (330, 0)
    assert (await harness.current()).executions_owed == 330
    await harness.subscribed("growth")
    assert (await harness.current()).executions_remaining == 30_000 - 330
    assert (await harness.current()).executions_owed == 0
    assert await bought(harness) == [("subscription", 5_000, 0), ("subscription", 30_000, 330)]
    assert await verify(harness.services.database) == []


@pytest.mark.parametrize(("next_offer", "size"), [("growth", 30_000), ("starter", 5_000)])
async def test_scheduled_change_is_bridged_with_what_comes(
    harness: BillingHarness, next_offer: str, size: int
) -> None:
    await harness.subscribed("scale")
    await harness.change(next_offer, When.PERIOD_END)
    skip_to(harness, (await harness.live()).period_end)
    assert (await harness.current()).executions_remaining == size
    accepted(await harness.use(70))
    harness.skip(HOUR)
    await harness.deliver()
    assert (await harness.current()).executions_remaining == size - 70
    assert (await bought(harness))[-1] == ("subscription", size, 70)


async def test_change_made_at_once_is_bridged_anew(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.skip(3 * DAY)
    await harness.change("growth")
    await harness.deliver()
    skip_to(harness, (await harness.live()).period_end)
    accepted(await harness.use(8_000))
    await harness.deliver()
    sequences = harness.rows(
        "SELECT executions, used FROM plans WHERE source = 'subscription' ORDER BY sequence"
    )
    assert sequences == [(5_000, 0), (30_000, 0), (30_000, 8_000)]


async def test_soft_limit_has_no_hole_at_a_renewal_nor_in_grace(harness: BillingHarness) -> None:
    await publish_soft(harness)
    await harness.subscribed("soft")
    accepted(await harness.use(1_200))
    harness.use_card("pm_card_chargeCustomerFail")
    skip_to(harness, (await harness.live()).period_end)
    accepted(await harness.use(1_150))
    harness.skip(90 * MINUTE)
    accepted(await harness.use(50))
    await harness.deliver()
    assert (await harness.live()).status == "past_due"
    accepted(await harness.use(100))
    assert await bought(harness) == [
        ("subscription", 1_000, 1_000),
        ("overage", 1_000_000_000, 200),
        ("subscription", 1_000, 1_000),
        ("overage", 1_000_000_000, 300),
    ]
    harness.skip(8 * DAY)
    assert await harness.denied() == "payment_past_due", "overage stops with its plan"


async def test_soft_limit_of_a_draft_renewal_has_no_hole(harness: BillingHarness) -> None:
    await publish_soft(harness)
    await to_the_renewal(harness, "soft")
    await harness.deliver()
    accepted(await harness.use(1_100))


async def test_overage_of_a_bridge_that_leads_nowhere_is_billed(harness: BillingHarness) -> None:
    await publish_soft(harness)
    found = await harness.subscribed("soft")
    theirs = harness.subscriptions()[0].id
    harness.client.v1.subscriptions.update(theirs, {"cancel_at_period_end": True})
    skip_to(harness, found.period_end)
    accepted(await harness.use(1_150))
    await harness.deliver()
    harness.skip(CLOSED_AFTER.total_seconds() + HOUR)
    assert await harness.services.settlements.run(harness.now) == 1
    assert harness.charged_minor() == 1_000 + 100
    assert await verify(harness.services.database) == []


async def test_commit_after_the_plan_ended_tells_its_numbers(harness: BillingHarness) -> None:
    await harness.subscribed()
    running = accepted(await harness.use(100, Mode.RESERVE))
    await harness.cancel(When.NOW)
    answer = accepted(await harness.decide(commit_of(running, 80)))
    assert (answer["executions_used"], answer["executions_held"]) == (80, 0)


async def test_reconciliation_bridges_what_was_live_before(harness: BillingHarness) -> None:
    await harness.subscribed()
    with_bridge = harness.rows(BRIDGES)
    with connect(harness.url) as connection:
        connection.execute("DELETE FROM plans WHERE source = 'bridge'")
    assert await harness.reconcile() == []
    assert harness.rows(BRIDGES) == with_bridge == [(1,)]
