"""Upgrades and downgrades at random moments: charges equal the value received, to the cent."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing_app.billing.subscriptions.errors import ChangeLosesValueError, SameOfferError
from billing_app.db.enums import When
from tests.databases import DatabasePool
from tests.payments.billing_harness import (
    DAY,
    HOUR,
    OFFERS,
    BillingHarness,
    accepted,
    fresh_harness,
)
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode

NAMES = ["starter", "growth", "scale", "growth-yearly"]
USE = st.tuples(st.just("use"), st.integers(1, 100))
CHANGE = st.tuples(st.just("change"), st.sampled_from(NAMES))
LATER = st.tuples(st.just("later"), st.sampled_from(NAMES))
WAIT = st.tuples(st.just("wait"), st.integers(1, 25))
STEPS = st.lists(st.one_of(USE, CHANGE, CHANGE, LATER, WAIT), min_size=3, max_size=7)
UNIT = {terms.name: Fraction(terms.price_minor, terms.executions) for terms in OFFERS.values()}


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(start=st.sampled_from(NAMES[:2]), steps=STEPS)
@example(start="starter", steps=[("change", "growth"), ("use", 76), ("change", "starter")])
async def test_money_and_executions_add_up(
    sandbox_process: Sandbox,
    database_pool: DatabasePool,
    start: str,
    steps: list[tuple[str, Any]],
) -> None:
    """charged = value used + value still there + value lapsed, but for the cents that credits are
    rounded down by: nobody gets anything for nothing, and nobody loses a cent's worth."""
    async with fresh_harness(sandbox_process, database_pool) as harness:
        await harness.begin(start)
        harness.use_card("pm_card_visa")
        await harness.begin(start)
        changes = 0
        for kind, what in steps:
            changes += await _step(harness, kind, what)
            _assert_adds_up(harness, changes)


async def _step(harness: BillingHarness, kind: str, what: Any) -> int:
    """Returns how many changes with a credit were made."""
    if kind == "use":
        current = await harness.current()
        count = current.executions_remaining * what // 100
        if count:
            accepted(await harness.use(count))
    elif kind == "wait":
        harness.skip(what * DAY + HOUR)
        await harness.deliver()
    elif kind == "later":
        try:
            await harness.change(what, When.PERIOD_END)
        except SameOfferError:
            return 0
    else:
        return await _change_now(harness, what)
    return 0


async def _change_now(harness: BillingHarness, offer: str) -> int:
    charged = harness.charged_minor()
    try:
        preview = await harness.preview(offer)
    except (SameOfferError, ChangeLosesValueError) as refused:
        with pytest.raises(type(refused)):
            await harness.change(offer)
        assert harness.charged_minor() == charged
        return 0
    await harness.change(offer)
    assert harness.charged_minor() - charged == preview.amount_due_minor
    assert (await harness.current()).executions_remaining == preview.executions_after
    return 1


def _assert_adds_up(harness: BillingHarness, changes: int) -> None:
    value = Fraction(0)
    for plan in harness.plans():
        had = plan["used"] if plan["ended_because"] == "replaced" else plan["executions"]
        value += had * UNIT[plan["name"]]
    # Stripe moves an amount below its minimum charge to the customer's balance, to be paid later.
    owed_minor = harness.client.v1.customers.retrieve(harness.customer_id()).balance or 0
    rest = harness.charged_minor() + owed_minor - value
    assert 0 <= rest < max(1, changes), (rest, harness.plans())
