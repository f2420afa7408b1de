"""Overage reports and invoices: Stripe bills exactly our own count, whatever happens."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.executions.requests import Caller, Mode, Refund
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.overage.comparison import compare_meter
from billing_app.billing.overage.stamps import MINUTE, Period, stamp
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, accepted, commit_of
from tests.payments.test_overage import SOFT, SOFTER

START = datetime(2026, 3, 1, 10, 30, 20, tzinfo=UTC)
MARCH = Period(START, datetime(2026, 4, 1, 10, 30, 20, tzinfo=UTC))


@pytest.fixture
async def soft(harness: BillingHarness) -> BillingHarness:
    for code, terms in (("soft", SOFT), ("softer", SOFTER)):
        await publish_offer(
            harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
        )
    return harness


async def begun(harness: BillingHarness, offer: str) -> SubscriptionView:
    """Subscribed, and past the minute in which the period started."""
    found = await harness.subscribed(offer)
    harness.skip(120)
    return found


async def report(harness: BillingHarness) -> int:
    return await harness.services.subscriptions.reports.run(harness.now)


async def settle(harness: BillingHarness) -> int:
    return await harness.services.settlements.run(harness.now)


async def renew(harness: BillingHarness, *, report_first: bool = True) -> None:
    """Past the end of the period; reports are sent while its invoice is a draft."""
    found = await harness.live()
    harness.skip((found.period_end - harness.now).total_seconds() + 60)
    await harness.deliver()
    if report_first:
        await report(harness)
    harness.skip(2 * HOUR)
    await harness.deliver()


def overage_plans(harness: BillingHarness) -> list[dict[str, Any]]:
    return [plan for plan in harness.plans() if plan["source"] == "overage"]


async def give_back(harness: BillingHarness, answer: dict[str, Any], executions: int) -> None:
    pair = ids.decode(ids.EVENT, answer["event_id"])
    assert pair is not None
    bed_caller = Caller(api_key_id=None, organization_id=None)
    key = f"back-{harness.now.timestamp()}"
    accepted(await harness.decide(Refund(pair[0], pair[1], executions, "failed", key, bed_caller)))


@pytest.mark.parametrize(
    ("day", "now", "expected"),
    [
        (date(2026, 3, 5), datetime(2026, 3, 5, 8, 0, 30, tzinfo=UTC), "2026-03-05 08:00"),
        (date(2026, 3, 5), datetime(2026, 3, 7, 8, tzinfo=UTC), "2026-03-05 23:59"),
        (date(2026, 3, 1), START, "2026-03-01 10:31"),
        (date(2026, 4, 1), datetime(2026, 4, 1, 11, tzinfo=UTC), "2026-04-01 10:29"),
        (date(2026, 4, 2), datetime(2026, 4, 2, 11, tzinfo=UTC), "2026-04-01 10:29"),
    ],
)
def test_report_is_stamped_in_its_day_and_period(day: date, now: datetime, expected: str) -> None:
    at = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert stamp(MARCH, day, now, set()) == at
    if at - MINUTE > START:
        assert stamp(MARCH, day, now, {at}) == at - MINUTE


async def test_renewal_invoice_bills_exact_overage(soft: BillingHarness) -> None:
    await begun(soft, "soft")
    accepted(await soft.use(1_101))
    assert await report(soft) == 1
    assert await report(soft) == 0
    accepted(await soft.use(150))
    soft.skip(DAY)
    accepted(await soft.use(1))
    assert await report(soft) == 2
    await renew(soft)
    assert soft.charged_minor() == 1_000 + 3 * 50 + 1_000
    assert await settle(soft) == 0
    assert soft.invoices()[-1].amount_due == 1_000 + 3 * 50


async def test_late_commit_reaches_the_draft_invoice(soft: BillingHarness) -> None:
    found = await begun(soft, "soft")
    accepted(await soft.use(1_000))
    soft.skip((found.period_end - soft.now).total_seconds() - 30)
    held = accepted(await soft.use(40, Mode.RESERVE))
    soft.skip(90)
    await soft.deliver()
    accepted(await soft.decide(commit_of(held)))
    assert await report(soft) == 1
    soft.skip(2 * HOUR)
    await soft.deliver()
    assert soft.charged_minor() == 1_000 + 50 + 1_000
    assert await settle(soft) == 0


async def test_overage_after_the_invoice_is_settled_on_the_next_one(soft: BillingHarness) -> None:
    await begun(soft, "soft")
    answer = accepted(await soft.use(1_250))
    await report(soft)
    await renew(soft)
    assert soft.charged_minor() == 1_000 + 150 + 1_000
    await give_back(soft, answer, 100)
    soft.skip(HOUR)
    assert await settle(soft) == 1
    assert await settle(soft) == 0
    await renew(soft)
    assert soft.charged_minor() == 1_000 + 150 + 1_000 - 50 + 1_000
    assert await settle(soft) == 0


async def test_late_report_is_settled(soft: BillingHarness) -> None:
    await begun(soft, "soft")
    accepted(await soft.use(1_050))
    await renew(soft, report_first=False)
    assert await report(soft) == 0
    soft.skip(HOUR)
    assert await settle(soft) == 1
    await renew(soft)
    assert soft.charged_minor() == 3 * 1_000 + 50


async def test_change_previews_and_bills_overage(
    soft: BillingHarness,
) -> None:
    await begun(soft, "soft")
    accepted(await soft.use(1_150))
    await report(soft)
    seen = await soft.preview("softer")
    assert (seen.overage_minor, seen.overage_executions) == (100, 150)
    assert seen.amount_due_minor == 4_000 + 100
    assert "150 executions beyond the plan" in [line.description for line in seen.lines]
    await soft.change("softer")
    assert soft.charged_minor() == 1_000 + 4_100
    soft.skip(3 * HOUR)
    await soft.deliver()
    assert await settle(soft) == 0
    accepted(await soft.use(5_001))
    await report(soft)
    await renew(soft)
    assert soft.charged_minor() == 1_000 + 4_100 + 30 + 4_000
    assert await settle(soft) == 0


async def test_change_at_period_end_bills_old_overage(soft: BillingHarness) -> None:
    await begun(soft, "softer")
    accepted(await soft.use(5_150))
    await soft.change("starter", When.PERIOD_END)
    await report(soft)
    await renew(soft)
    soft.skip(HOUR)
    await settle(soft)
    await renew(soft)
    assert soft.charged_minor() == 4_000 + 60 + 1_900 + 1_900


@pytest.mark.parametrize("told", [True, False])
async def test_cancel_now_bills_overage(soft: BillingHarness, told: bool) -> None:
    await begun(soft, "soft")
    accepted(await soft.use(1_101))
    if told:
        await report(soft)
        soft.skip(120)  # a report is of a whole minute, which may be the next one
    await soft.cancel(When.NOW)
    await soft.deliver()
    assert soft.charged_minor() == 1_000 + 100
    soft.skip(3 * HOUR)
    assert await settle(soft) == 0


async def test_overage_committed_after_cancellation_gets_its_own_invoice(
    soft: BillingHarness,
) -> None:
    await begun(soft, "soft")
    soft.use_card("pm_card_visa")
    accepted(await soft.use(1_000))
    held = accepted(await soft.use(150, Mode.RESERVE))
    await soft.cancel(When.NOW)
    accepted(await soft.decide(commit_of(held)))
    soft.skip(3 * HOUR)
    assert await settle(soft) == 1
    soft.skip(2 * HOUR)
    assert soft.charged_minor() == 1_000 + 100
    assert await settle(soft) == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_unclear_answer_counts_once(soft: BillingHarness, when: str) -> None:
    await begun(soft, "soft")
    accepted(await soft.use(1_101))
    soft.sandbox.control(
        "faults", kind="reset", when=when, path="/v1/billing/meter_events", times=3
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await report(soft)
    assert soft.rows("SELECT state FROM meter_reports") == [("pending",)]
    assert await report(soft) == 1
    assert soft.rows("SELECT state FROM meter_reports") == [("done",)]
    await renew(soft)
    assert soft.charged_minor() == 2_000 + 100


@pytest.mark.parametrize("when", ["before", "after"])
async def test_old_unclear_answer_is_read_from_the_meter(soft: BillingHarness, when: str) -> None:
    """After a day Stripe has forgotten the identifier: sent again, the report would count twice."""
    await begun(soft, "soft")
    accepted(await soft.use(1_101))
    soft.sandbox.control(
        "faults", kind="reset", when=when, path="/v1/billing/meter_events", times=3
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await report(soft)
    soft.skip(3 * DAY)
    await report(soft)
    assert soft.rows("SELECT state, executions FROM meter_reports") == [("done", 101)]
    await renew(soft)
    assert soft.charged_minor() == 2_000 + 100


async def test_meter_is_compared_with_reports(soft: BillingHarness) -> None:
    await begun(soft, "soft")
    accepted(await soft.use(1_101))
    await report(soft)
    services = soft.services
    assert await compare_meter(services.database, services.provider, soft.now) == []
    await services.provider.report_usage(
        customer_id=soft.customer_id(), executions=7, identifier="stray", at=soft.now
    )
    soft.skip(120)
    (found,) = await compare_meter(services.database, services.provider, soft.now)
    assert (found.plan_sequence, found.theirs, found.ours) == (2, 108, 101)


async def test_trial_charges_nothing_and_grants_no_overage_or_credit(
    soft: BillingHarness,
) -> None:
    from dataclasses import replace

    await publish_offer(
        soft.services.database,
        OPERATOR,
        code="tried",
        terms=replace(SOFT, name="Tried", trial_days=14),
        now=soft.now,
    )
    found = await begun(soft, "tried")
    assert (found.status, soft.charged_minor()) == ("trialing", 0)
    assert abs((found.period_end - soft.now) - timedelta(days=14)) < timedelta(minutes=3)
    accepted(await soft.use(400))
    assert overage_plans(soft) == []
    assert (await soft.preview("softer")).credit_minor == 0
    await soft.change("softer")
    assert soft.charged_minor() == 4_000
    assert [plan["executions"] for plan in overage_plans(soft)] == [2_000]
    await soft.cancel(When.NOW)
    soft.use_card("pm_card_visa")
    again = await soft.begin("tried")
    assert again.subscription is not None
    assert again.subscription.status == "active"


async def test_trial_ends_with_first_charge(soft: BillingHarness) -> None:
    from dataclasses import replace

    await publish_offer(
        soft.services.database,
        OPERATOR,
        code="tried",
        terms=replace(SOFT, name="Tried", trial_days=14),
        now=soft.now,
    )
    await begun(soft, "tried")
    soft.skip(14 * DAY + 2 * HOUR)
    await soft.deliver()
    assert soft.charged_minor() == 1_000
    assert len(overage_plans(soft)) == 1


async def test_last_use_is_reported_despite_a_later_commit(
    soft: BillingHarness,
) -> None:
    found = await begun(soft, "soft")
    accepted(await soft.use(1_050))
    assert await report(soft) == 1
    accepted(await soft.use(500))
    soft.skip((found.period_end - soft.now).total_seconds() + 60)
    soft.frozen = soft.now
    await soft.use(1)
    ended = {plan["ended_because"] for plan in soft.plans() if plan["source"] != "bridge"}
    assert ended == {"period_ended", "depleted"}
    assert await report(soft) == 1
