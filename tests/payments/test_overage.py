"""Overage: allowed up to a limit, shown, and paid for exactly."""

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.executions.receipts import read_receipt
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms, publish_offer
from billing_app.billing.overage.limits import (
    OverageLimitView,
    read_overage_limit,
    set_overage_limit,
)
from billing_app.billing.overage.rules import allowed_executions
from billing_app.billing.plans.service import read_history
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.service import carry_out, undo
from billing_app.billing.staff.repairs.stops import PAUSE
from billing_app.db.enums import Interval, PlanSource, When
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, BillingHarness, accepted

UNIT = OverageTerms(unit_price_minor=50, unit_executions=100)
SOFT = OfferTerms("Soft", "", 1_000, 1_000, "USD", Interval.MONTH, overage=UNIT)
SOFTER = OfferTerms(
    "Softer", "", 5_000, 4_000, "USD", Interval.MONTH, overage=OverageTerms(30, 100, 2_000)
)


@pytest.fixture
async def soft(harness: BillingHarness) -> BillingHarness:
    for code, terms in (("soft", SOFT), ("softer", SOFTER)):
        await publish_offer(
            harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
        )
    return harness


async def limit(
    harness: BillingHarness, limit_minor: int | None, currency: str = "USD"
) -> OverageLimitView:
    return await set_overage_limit(
        harness.services.database,
        OPERATOR,
        harness.holder.account_id,
        limit_minor=limit_minor,
        currency=currency,
        now=harness.now,
    )


@pytest.mark.parametrize(
    ("terms", "limited", "expected"),
    [
        (OverageTerms(50, 100), None, 1_000_000_000),
        (OverageTerms(50, 100, 700), None, 700),
        (OverageTerms(50, 100, 700), Money(149, "USD"), 200),
        (OverageTerms(50, 100, 700), Money(10_000, "USD"), 700),
        (OverageTerms(50, 100), Money(49, "USD"), 0),
        (OverageTerms(50, 100), Money(0, "USD"), 0),
        (OverageTerms(1), Money(7, "EUR"), 0),
    ],
)
def test_allowed_executions(terms: OverageTerms, limited: Money | None, expected: int) -> None:
    assert allowed_executions(terms, "USD", limited) == expected


async def test_soft_limit_allows_overage_up_to_spending_limit(soft: BillingHarness) -> None:
    await soft.subscribed("soft")
    await limit(soft, 100)
    accepted(await soft.use(1_050))
    current = await soft.current()
    assert current.plan is not None
    assert current.executions_remaining == 0
    assert current.upcoming == []
    seen = current.overage
    assert seen is not None
    assert (seen.executions_used, seen.executions_limit, seen.executions_remaining) == (
        50,
        200,
        150,
    )
    assert (seen.cost_minor, seen.currency, seen.limit_minor) == (50, "USD", 100)
    accepted(await soft.use(150))
    assert await soft.denied() == "budget_exceeded"
    await limit(soft, None)
    assert await soft.denied() == ""


async def test_overage_never_counts_as_remaining(soft: BillingHarness) -> None:
    await soft.subscribed("soft")
    await limit(soft, 100)
    used = [accepted(await soft.use(executions)) for executions in (900, 150, 50)]
    database = soft.services.database
    receipts = [await read_receipt(database, OPERATOR, answer["event_id"]) for answer in used]
    assert [
        (found.executions_remaining_before, found.executions_remaining_after) for found in receipts
    ] == [(1_000, 100), (100, 0), (0, 0)]


async def test_limit_below_use_allows_no_more(soft: BillingHarness) -> None:
    await soft.subscribed("soft")
    accepted(await soft.use(1_300))
    await limit(soft, 50)
    assert soft.plans()[1]["executions"] == 300
    assert await soft.denied() == "budget_exceeded"
    await limit(soft, 200)
    accepted(await soft.use(100))
    assert await soft.denied() == "budget_exceeded"


async def test_limit_in_another_currency_allows_nothing(soft: BillingHarness) -> None:
    await limit(soft, 10_000, "EUR")
    await soft.subscribed("soft")
    accepted(await soft.use(1_000))
    assert await soft.denied() == "budget_exceeded"


async def test_overage_plan_follows_its_periods_plan(soft: BillingHarness) -> None:
    found = await soft.subscribed("soft")
    (plan, beside) = soft.plans()
    assert (beside["source"], beside["priority"]) == ("overage", 1_000)
    assert beside["source_reference"] == f"{plan['source_reference']}:overage"
    assert (beside["starts_at"], beside["ends_at"]) == (plan["starts_at"], plan["ends_at"])
    accepted(await soft.use(1_010))
    await soft.change("softer")
    ends = [(plan["source"], plan["ended_because"]) for plan in soft.plans()]
    assert ends == [
        ("subscription", "depleted"),
        ("overage", "replaced"),
        ("subscription", None),
        ("overage", None),
    ]
    assert soft.plans()[3]["executions"] == 2_000
    await soft.cancel(When.NOW)
    assert [plan["ended_because"] for plan in soft.plans()[2:]] == ["cancelled", "cancelled"]
    assert await soft.denied() == "insufficient_executions"
    assert found.offer.code == "soft"


async def test_overage_plan_does_not_affect_other_plans(soft: BillingHarness) -> None:
    await soft.subscribed("soft")
    accepted(await soft.use(1_001))
    soft.skip(32 * DAY)
    await soft.deliver()
    page = await read_history(
        soft.services.database, OPERATOR, soft.holder.account_id, now=soft.now
    )
    told = [(view.source, view.state, view.began_because) for view in page.items]
    assert told == [
        (PlanSource.SUBSCRIPTION, "current", "previous_depleted"),
        (PlanSource.OVERAGE, "ended", "previous_depleted"),
        (PlanSource.SUBSCRIPTION, "ended", "first_plan"),
    ]


async def test_only_managers_set_a_valid_limit(soft: BillingHarness) -> None:
    assert await limit(soft, 500) == await read_overage_limit(
        soft.services.database, OPERATOR, soft.holder.account_id
    )
    for limit_minor, currency in ((-1, "USD"), (1, "usd"), (1, "U1D"), (1, "XXX"), (10**13, "USD")):
        with pytest.raises(InvalidInputError):
            await limit(soft, limit_minor, currency)


async def test_paused_plan_is_not_replaced_by_overage(soft: BillingHarness) -> None:
    await soft.subscribed("soft")
    plan_id = ids.encode(ids.PLAN, soft.holder.account_number, 1)
    paused = await carry_out(
        soft.services.repairs, OPERATOR, PAUSE, plan_id, NoFields(), reason="look", now=soft.now
    )
    assert await soft.denied() == "plan_paused"
    await undo(soft.services.repairs, OPERATOR, paused.id, reason="No", now=soft.now)
    accepted(await soft.use(1_200))
