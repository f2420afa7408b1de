"""Random use, refunds, renewals and changes with a soft limit: Stripe bills what we count."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import BillingError
from billing_app.billing.executions.requests import Accepted
from billing_app.billing.executions.verification import verify
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.subscriptions.errors import ChangeLosesValueError, SameOfferError
from billing_app.db.enums import When
from tests.databases import DatabasePool
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, accepted, fresh_harness
from tests.payments.test_overage import SOFT, SOFTER
from tests.payments.test_overage_reports import begun, give_back, report, settle
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode

NAMES = ["soft", "softer", "starter"]
USE = st.tuples(st.just("use"), st.sampled_from([1, 99, 640, 1_000, 2_345, 5_050]))
BACK = st.tuples(st.just("back"), st.integers(1, 700))
WAIT = st.tuples(st.just("wait"), st.integers(1, 26))
NOW = st.tuples(st.just("now"), st.sampled_from(NAMES))
LATER = st.tuples(st.just("later"), st.sampled_from(NAMES))
JOBS = st.tuples(st.sampled_from(["report", "report", "settle"]), st.just(0))
ACTS = st.lists(st.one_of(USE, USE, BACK, WAIT, NOW, LATER, JOBS), min_size=4, max_size=10)

# What was sold: prices of periods less what was credited, and overage of each period in units.
SOLD = """
SELECT coalesce(sum(CASE WHEN p.source = 'subscription' THEN v.price_minor
    ELSE (p.used + v.overage_unit_executions - 1) / v.overage_unit_executions
         * v.overage_unit_price_minor END), 0)
FROM plans AS p JOIN offer_versions AS v ON v.id = p.offer_version_id
WHERE p.source IN ('subscription', 'overage')
"""
CREDITED = """
SELECT coalesce(sum((parameters -> 'credit' ->> 'amount_minor')::bigint), 0)
FROM provider_writes WHERE state = 'done' AND parameters ->> 'credit' IS NOT NULL
"""
DAILY = "SELECT coalesce(sum(used - refunded), 0) FROM daily_overage"
USED = "SELECT coalesce(sum(used), 0) FROM plans WHERE source = 'overage'"


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=ACTS)
async def test_stripe_bills_exactly_our_count(
    sandbox_process: Sandbox, database_pool: DatabasePool, acts: list[tuple[str, Any]]
) -> None:
    async with fresh_harness(sandbox_process, database_pool) as harness:
        for code, terms in (("soft", SOFT), ("softer", SOFTER)):
            await publish_offer(
                harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
            )
        await begun(harness, "soft")
        harness.use_card("pm_card_visa")
        first = accepted(await harness.use(1_640))
        events: list[dict[str, Any]] = []
        for kind, what in acts:
            await _act(harness, kind, what, events)
        await _wait(harness, (await harness.live()).period_end - harness.now + timedelta(hours=5))
        await give_back(harness, first, 777)
        await _come_to_rest(harness)
        assert harness.rows(DAILY) == harness.rows(USED)
        assert await verify(harness.services.database) == []
        (((sold,),), ((credited,),)) = harness.rows(SOLD), harness.rows(CREDITED)
        assert _taken_minor(harness) == int(sold) - int(credited)
        assert sandbox_process.take_violations() == []


async def _act(harness: BillingHarness, kind: str, what: Any, events: list[dict[str, Any]]) -> None:
    if kind == "use":
        decision = await harness.use(what)
        if isinstance(decision, Accepted):
            events.append(accepted(decision))
    elif kind == "back" and events:
        answer = events.pop()
        await give_back(harness, answer, min(what, answer["executions"]))
    elif kind == "wait":
        await _wait(harness, timedelta(days=what))
    elif kind in ("now", "later"):
        with suppress(ChangeLosesValueError, SameOfferError):
            await harness.change(what, When.NOW if kind == "now" else When.PERIOD_END)
    elif kind == "report":
        await report(harness)
    elif kind == "settle":
        await settle(harness)


async def _wait(harness: BillingHarness, time: timedelta) -> None:
    """In steps, so that the jobs see the draft of each renewal, as in production."""
    until = harness.now + time
    while harness.now < until:
        end = (await harness.live()).period_end
        if harness.now < end < until:
            harness.skip((end - harness.now).total_seconds() + 60)
            await harness.deliver()
            with suppress(BillingError):
                await report(harness)
            harness.skip(2 * HOUR)
        else:
            harness.skip((until - harness.now).total_seconds() + 1)
        await harness.deliver()


async def _come_to_rest(harness: BillingHarness) -> None:
    """Two more periods: late overage is settled and invoiced."""
    for _ in range(2):
        await report(harness)
        await _wait(harness, (await harness.live()).period_end - harness.now + timedelta(hours=5))
        await settle(harness)
    harness.skip(DAY)
    await harness.deliver()
    assert await settle(harness) == 0


def _taken_minor(harness: BillingHarness) -> int:
    """Charged, plus the balance owed (or less the credit balance), plus pending items."""
    customer = harness.client.v1.customers.retrieve(harness.customer_id())
    waiting = harness.client.v1.invoice_items.list({"customer": customer.id, "pending": True})
    return (
        harness.charged_minor()
        + (customer.balance or 0)
        + sum(item.amount for item in waiting.data)
    )
