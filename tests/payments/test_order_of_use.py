"""What a customer paid for and expires is used before what does not expire."""

from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import list_offers
from billing_app.billing.plans.service import QueuePlace, months_later, read_history, read_place
from tests.factories import NOW, OPERATOR, add_plan, connect
from tests.payments.billing_harness import DAY, BillingHarness, accepted

pytestmark = pytest.mark.stripe_test_mode


def add_trial(harness: BillingHarness, executions: int, *, days: int | None = None) -> None:
    starts_at = harness.now - timedelta(hours=1)
    ends_at = None if days is None else starts_at + timedelta(days=days)
    add_plan(harness.url, harness.holder, 1, executions, starts_at=starts_at, ends_at=ends_at)
    with connect(harness.url) as connection:
        connection.execute("UPDATE plans SET type = 'trial', source = 'trial', name = 'Trial'")


async def place_of(harness: BillingHarness, code: str) -> QueuePlace:
    database = harness.services.database
    offer = next(each for each in await list_offers(database) if each.code == code)
    account_id = harness.holder.account_id
    return await read_place(database, OPERATOR, account_id, offer, trial_days=0, now=harness.now)


async def begun(harness: BillingHarness) -> list[tuple[str, Any]]:
    """Names with reasons, newest first."""
    history = await read_history(
        harness.services.database, OPERATOR, harness.holder.account_id, now=harness.now
    )
    return [(view.name, view.began_because) for view in history.items]


async def test_paid_month_is_used_before_the_endless_trial(harness: BillingHarness) -> None:
    add_trial(harness, 1_000)
    accepted(await harness.use(300))
    assert await place_of(harness, "starter") == QueuePlace(0, 700)
    await harness.subscribed("starter")
    current = await harness.current()
    assert current.plan is not None
    assert (current.plan.name, current.executions_remaining) == ("Starter", 5_700)
    assert [(plan.name, plan.remaining) for plan in current.upcoming] == [("Trial", 700)]
    assert current.period_end == current.plan.ends_at
    answer = accepted(await harness.use(100))
    assert answer["plan"]["name"] == "Starter"
    assert [plan["used"] for plan in harness.plans()] == [300, 100]
    assert await begun(harness) == [("Starter", "used_before_previous"), ("Trial", "first_plan")]


async def test_trial_goes_on_when_the_month_is_used_up_and_waits_after_the_renewal(
    harness: BillingHarness,
) -> None:
    add_trial(harness, 1_000)
    await harness.subscribed("starter")
    accepted(await harness.use(5_200))
    assert [plan["used"] for plan in harness.plans()] == [200, 5_000]
    harness.skip(32 * DAY)
    await harness.deliver()
    accepted(await harness.use(50))
    assert [plan["used"] for plan in harness.plans()] == [200, 5_000, 50]
    names = [name for name, _ in await begun(harness)]
    assert names == ["Starter", "Starter", "Trial"]


async def test_trial_that_ends_before_the_month_is_used_first(harness: BillingHarness) -> None:
    add_trial(harness, 1_000, days=7)
    assert await place_of(harness, "starter") == QueuePlace(1_000, 0)
    await harness.subscribed("starter")
    accepted(await harness.use(1_100))
    assert [plan["used"] for plan in harness.plans()] == [1_000, 100]
    assert (await begun(harness))[0] == ("Starter", "previous_depleted")


async def test_month_that_replaces_a_year_says_so(harness: BillingHarness) -> None:
    add_trial(harness, 1_000)
    await harness.subscribed("growth-yearly")
    accepted(await harness.use(300_000))
    harness.skip(DAY)
    await harness.change("scale")
    await harness.deliver()
    assert (await begun(harness))[0] == ("Scale", "previous_replaced")
    assert accepted(await harness.use(1))["plan"]["name"] == "Scale"


def test_a_month_later_is_the_same_day_or_the_last() -> None:
    for day, months, expected in ((31, 1, (2, 28)), (31, 12, (1, 31)), (15, 1, (2, 15))):
        later = months_later(NOW.replace(month=1, day=day), months)
        assert (later.month, later.day) == expected
    assert months_later(NOW.replace(month=12, day=31), 1).year == NOW.year + 1
