"""Upgrades and downgrades at random moments: what was charged is what was had, to the cent."""

import asyncio
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.subscriptions.rules import ChangeLosesValueError, SameOfferError
from billing_app.db.enums import When
from tests.conftest import create_database
from tests.payments.billing_harness import DAY, HOUR, OFFERS, Bed, accepted
from tests.stripe_sandbox.running import Sandbox

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
async def test_money_and_executions_add_up(
    sandbox_process: Sandbox,
    server_url: str,
    database_template: str,
    start: str,
    steps: list[tuple[str, Any]],
) -> None:
    """charged = value used + value still there + value lapsed, but for the cents that credits are
    rounded down by: nobody gets anything for nothing, and nobody loses a cent's worth."""
    sandbox_process.control("reset")
    name = f"value_{next(_numbers)}"
    url = await asyncio.to_thread(create_database, server_url, name, database_template)
    bed = await Bed(sandbox_process, url).open()
    try:
        await bed.begin(start)
        bed.use_card("pm_card_visa")
        await bed.begin(start)
        changes = 0
        for kind, what in steps:
            changes += await _step(bed, kind, what)
            _assert_adds_up(bed, changes)
    finally:
        await bed.close()


def _counter() -> Any:
    number = 0
    while True:
        number += 1
        yield number


_numbers = _counter()


async def _step(bed: Bed, kind: str, what: Any) -> int:
    """Returns how many changes with a credit happened."""
    if kind == "use":
        current = await bed.current()
        count = current.executions_remaining * what // 100
        if count:
            accepted(await bed.use(count))
    elif kind == "wait":
        bed.skip(what * DAY + HOUR)
        await bed.deliver()
    elif kind == "later":
        try:
            await bed.change(what, When.PERIOD_END)
        except SameOfferError:
            return 0
    else:
        return await _change_now(bed, what)
    return 0


async def _change_now(bed: Bed, offer: str) -> int:
    charged = bed.charged_minor()
    try:
        preview = await bed.preview(offer)
    except (SameOfferError, ChangeLosesValueError) as refused:
        with pytest.raises(type(refused)):
            await bed.change(offer)
        assert bed.charged_minor() == charged
        return 0
    await bed.change(offer)
    assert bed.charged_minor() - charged == preview.amount_due_minor
    assert (await bed.current()).executions_remaining == preview.executions_after
    return 1


def _assert_adds_up(bed: Bed, changes: int) -> None:
    value = Fraction(0)
    for plan in bed.plans():
        had = plan["used"] if plan["ended_because"] == "replaced" else plan["executions"]
        value += had * UNIT[plan["name"]]
    rest = bed.charged_minor() - value
    assert 0 <= rest < max(1, changes), (rest, bed.plans())
