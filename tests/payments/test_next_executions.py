"""What is announced comes: time moves to `at`, and the executions are there; where nothing is
announced, nothing comes until somebody acts."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import pytest

from billing_app.billing.accounts.free_refills import refill_free_offers
from billing_app.billing.accounts.provisioning import AccountFields
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.requests import Accepted
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms, publish_offer
from billing_app.billing.overage.limits import set_overage_limit
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.next_executions import NextExecutions, NextSource
from billing_app.db.enums import Interval, When
from tests.factories import OPERATOR, PLATFORM_SERVICE, add_plan, connect
from tests.payments.billing_harness import DAY, BillingHarness
from tests.payments.test_ends_and_pauses import at_stripe, seconds

FREE: Final = OfferTerms("Free", "", 500, 0, "USD", Interval.MONTH)
TRIED: Final = OfferTerms("Tried", "", 5_000, 1_900, "USD", Interval.MONTH, trial_days=14)
SOFT: Final = OfferTerms(
    "Soft", "", 1_000, 1_000, "USD", Interval.MONTH, overage=OverageTerms(50, 100, 200)
)
MINUTE: Final = timedelta(minutes=1)
Situation = Callable[[BillingHarness], Awaitable[None]]


async def publish(harness: BillingHarness, code: str, terms: OfferTerms) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
    )


async def begin(harness: BillingHarness, code: str, terms: OfferTerms) -> None:
    """The account begins with the offer, as a product's PUT does."""
    await publish(harness, code, terms)
    await harness.services.provisioning.put_organization(
        PLATFORM_SERVICE,
        harness.holder.organization_id,
        AccountFields(name="Acme", offer=code),
        details_queue=None,
        now=harness.now,
    )


def queue(harness: BillingHarness, after: timedelta) -> None:
    add_plan(harness.url, harness.holder, 90, 70, starts_at=harness.now + after)


def change(harness: BillingHarness, statement: str) -> None:
    with connect(harness.url) as connection:
        connection.execute(statement, [harness.holder.account_number])  # pyright: ignore[reportArgumentType, reportCallIssue]


async def renews(harness: BillingHarness) -> None:
    await harness.subscribed("starter")


async def renews_after_a_year(harness: BillingHarness) -> None:
    await harness.subscribed("growth-yearly")


async def changes_its_offer(harness: BillingHarness) -> None:
    await harness.subscribed("growth")
    await harness.change("starter", When.PERIOD_END)


async def is_not_collected(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    await at_stripe(harness, pause_collection={"behavior": "void"})


async def is_cancelled(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    await harness.cancel(When.PERIOD_END)


async def is_cancelled_for_later(harness: BillingHarness) -> None:
    found = await harness.subscribed("starter")
    await at_stripe(harness, cancel_at=seconds(found.period_end + timedelta(days=40)))


async def is_cancelled_within_its_period(harness: BillingHarness) -> None:
    found = await harness.subscribed("starter")
    await at_stripe(harness, cancel_at=seconds(found.period_end - timedelta(days=10)))


async def is_overdue(harness: BillingHarness) -> None:
    found = await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    harness.skip((found.period_end - harness.now).total_seconds() + 2 * 3_600)
    await harness.deliver()


async def is_overdue_with_a_queued_plan(harness: BillingHarness) -> None:
    await is_overdue(harness)
    queue(harness, timedelta(days=9))


async def is_on_trial(harness: BillingHarness) -> None:
    await publish(harness, "tried", TRIED)
    await harness.subscribed("tried")


async def began_with_a_trial(harness: BillingHarness) -> None:
    await begin(harness, "tried", TRIED)


async def spent_its_limit(harness: BillingHarness) -> None:
    await publish(harness, "soft", SOFT)
    await harness.subscribed("soft")
    await set_overage_limit(
        harness.services.database,
        OPERATOR,
        harness.holder.account_id,
        limit_minor=Money(50, "USD").minor,
        currency="USD",
        now=harness.now,
    )


async def renewal_is_not_confirmed(harness: BillingHarness) -> None:
    """Its webhooks are late, and the next period is used up already."""
    found = await harness.subscribed("starter")
    harness.skip((found.period_end - harness.now).total_seconds() + 60)


async def has_a_queued_plan(harness: BillingHarness) -> None:
    queue(harness, timedelta(days=3))


async def has_a_queued_plan_before_the_renewal(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    queue(harness, timedelta(days=3))


async def queued_plan_is_paused(harness: BillingHarness) -> None:
    queue(harness, timedelta(days=3))
    change(harness, "UPDATE plans SET paused_at = now() WHERE account_id = %s")


async def period_is_paused(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    change(
        harness,
        "UPDATE plans SET paused_at = now() WHERE account_id = %s AND source = 'subscription'",
    )


async def is_blocked(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    queue(harness, timedelta(days=3))
    change(harness, "UPDATE accounts SET blocked_at = now() WHERE id = %s")
    change(harness, "UPDATE plans SET blocked_at = now() WHERE account_id = %s")


async def has_a_free_offer(harness: BillingHarness) -> None:
    await begin(harness, "free", FREE)


async def has_a_queued_refill(harness: BillingHarness) -> None:
    await begin(harness, "free", FREE)
    ((refills_at,),) = harness.rows("SELECT refills_at FROM account_profiles")
    harness.skip((refills_at - harness.now).total_seconds() - DAY)
    await refill_free_offers(harness.services.database, harness.now)


async def subscribed_beside_a_free_offer(harness: BillingHarness) -> None:
    await begin(harness, "free", FREE)
    harness.skip(10 * DAY)
    await harness.subscribed("starter")


async def cancelled_beside_a_free_offer(harness: BillingHarness) -> None:
    await subscribed_beside_a_free_offer(harness)
    await harness.cancel(When.PERIOD_END)


async def is_closed(harness: BillingHarness) -> None:
    await begin(harness, "free", FREE)
    await harness.services.closing.close(
        PLATFORM_SERVICE, harness.holder.organization_id, harness.now
    )


async def has_nothing(_: BillingHarness) -> None:
    pass


SITUATIONS: Final[dict[Situation, NextSource | None]] = {
    renews: NextSource.RENEWAL,
    renews_after_a_year: NextSource.RENEWAL,
    changes_its_offer: NextSource.CHANGE,
    is_not_collected: NextSource.RENEWAL,
    is_cancelled: None,
    is_cancelled_for_later: NextSource.RENEWAL,
    is_cancelled_within_its_period: None,
    is_overdue: None,
    is_overdue_with_a_queued_plan: NextSource.PLAN,
    is_on_trial: NextSource.RENEWAL,
    began_with_a_trial: None,
    spent_its_limit: NextSource.RENEWAL,
    renewal_is_not_confirmed: NextSource.RENEWAL,
    has_a_queued_plan: NextSource.PLAN,
    has_a_queued_plan_before_the_renewal: NextSource.PLAN,
    queued_plan_is_paused: None,
    period_is_paused: NextSource.RENEWAL,
    is_blocked: None,
    has_a_free_offer: NextSource.REFILL,
    has_a_queued_refill: NextSource.PLAN,
    subscribed_beside_a_free_offer: NextSource.RENEWAL,
    cancelled_beside_a_free_offer: NextSource.REFILL,
    is_closed: None,
    has_nothing: None,
}


@pytest.mark.parametrize(
    ("situation", "source"), SITUATIONS.items(), ids=[each.__name__ for each in SITUATIONS]
)
async def test_what_is_announced_comes_and_nothing_else(
    harness: BillingHarness, situation: Situation, source: NextSource | None
) -> None:
    await situation(harness)
    await use_up(harness)
    coming = await announced(harness)
    assert (coming and coming.source) == source
    if coming is None:
        await let_pass(harness, harness.now + timedelta(days=70))
        assert await harness.denied() != ""
        return
    assert coming.at > harness.now
    await let_pass(harness, coming.at - MINUTE)
    if situation is not is_overdue_with_a_queued_plan:
        assert await harness.denied() != ""
    harness.skip(2 * MINUTE.total_seconds())
    assert isinstance(await harness.use(coming.executions), Accepted)


async def announced(harness: BillingHarness) -> NextExecutions | None:
    summary = await read_summary(
        harness.services.database, OPERATOR, harness.holder.account_id, harness.now
    )
    return summary.next_executions


async def use_up(harness: BillingHarness) -> None:
    """Everything that can be used now, overage too."""
    for executions in (100_000, 1_000, 100, 1):
        while isinstance(await harness.use(executions), Accepted):
            pass
    assert isinstance(await harness.use(1), BillingError)


async def let_pass(harness: BillingHarness, until: datetime) -> None:
    """With webhooks and the job of free offers twice a day, but for the last day: what comes on
    time does not wait for them."""
    while harness.now < until:
        left = until - harness.now
        step = min(timedelta(hours=12), left)
        harness.skip(step.total_seconds())
        if left > timedelta(days=1):
            await harness.deliver()
            await refill_free_offers(harness.services.database, harness.now)
