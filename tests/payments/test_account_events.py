"""What happens at Stripe is told once, in the transaction that applies it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from billing_app.billing.account_events.account_record import (
    AccountRecord,
    PlanRecord,
)
from billing_app.billing.account_events.changes import (
    events_between,
    events_of_time,
    telling,
)
from billing_app.billing.account_events.outbox import plan_ended_key, plan_started_key
from billing_app.billing.account_events.passing_time import tell_passing_time
from billing_app.db.enums import When
from tests.factories import add_plan
from tests.payments.billing_harness import BillingHarness

MONTH: Final = 31 * 86_400
NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Told:
    """Events since the last look, by type in order."""

    def __init__(self, harness: BillingHarness) -> None:
        self.harness = harness
        self.seen: set[str] = set()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        query = "SELECT id::text, type, data FROM account_events ORDER BY created_at, type"
        rows = [row for row in self.harness.rows(query) if row[0] not in self.seen]
        self.seen |= {row[0] for row in rows}
        return [(row[1], row[2]) for row in rows]

    def types(self) -> set[str]:
        return {event_type for event_type, _ in self.events()}


@pytest.fixture
def told(harness: BillingHarness) -> Told:
    return Told(harness)


async def test_subscription_is_told_once(harness: BillingHarness, told: Told) -> None:
    await harness.subscribed("starter")
    events = told.events()
    types = [event_type for event_type, _ in events]
    assert sorted(set(types) - {"account.state_changed"}) == [
        "invoice.paid",
        "plan.started",
        "subscription.created",
    ]
    assert len([each for each in types if each != "account.state_changed"]) == 3
    paid = next(data for event_type, data in events if event_type == "invoice.paid")
    assert paid["invoice"]["amount_paid_minor"] == 1_900
    await harness.deliver_each(harness.missed())
    await harness.reconcile()
    assert told.events() == []


async def test_cancelling_and_resuming_is_told(harness: BillingHarness, told: Told) -> None:
    await harness.subscribed("starter")
    told.events()
    await harness.cancel(When.PERIOD_END)
    await harness.deliver()
    assert told.types() == {"subscription.cancelled", "account.state_changed"}
    await harness.resume()
    await harness.deliver()
    assert told.types() == {"subscription.resumed", "account.state_changed"}
    await harness.cancel(When.NOW)
    await harness.deliver()
    assert told.types() == {"subscription.ended", "plan.ended", "account.state_changed"}


async def test_renewal_ends_a_plan_and_starts_the_next(harness: BillingHarness, told: Told) -> None:
    await harness.subscribed("starter")
    told.events()
    harness.skip(MONTH + 7_200)
    await harness.deliver()
    types = told.types()
    assert {"plan.started", "invoice.paid", "subscription.updated"} <= types
    assert {"invoice.failed", "subscription.past_due", "subscription.created"}.isdisjoint(types)


async def test_failed_renewal_and_its_payment_are_told(harness: BillingHarness, told: Told) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    await harness.deliver()
    told.events()
    harness.skip(MONTH + 7_200)
    await harness.deliver()
    types = told.types()
    assert {"invoice.failed", "subscription.past_due"} <= types
    assert "invoice.paid" not in types
    method = harness.use_card("pm_card_visa")
    (unpaid,) = [each for each in harness.invoices() if each.status == "open"]
    harness.client.v1.invoices.pay(str(unpaid.id), {"payment_method": method})
    await harness.deliver()
    assert {"invoice.paid", "subscription.recovered"} <= told.types()


async def test_change_that_fails_is_not_told(harness: BillingHarness, told: Told) -> None:
    with pytest.raises(RuntimeError):
        await _block_and_fail(harness)
    assert told.events() == []


async def _block_and_fail(harness: BillingHarness) -> None:
    account = harness.holder.account_number
    async with harness.services.database.transaction() as session, telling(session, account, NOW):
        raise RuntimeError


def record(*plans: PlanRecord, **more: Any) -> AccountRecord:
    values: dict[str, Any] = {
        "blocked_at": None,
        "closed_at": None,
        "limit": None,
        "plans": {plan.sequence: plan for plan in plans},
        "subscriptions": {},
        "invoices": {},
        **more,
    }
    return AccountRecord(**values)


def plan(sequence: int, **more: Any) -> PlanRecord:
    values: dict[str, Any] = {
        "type": "paid",
        "name": "Growth",
        "source": "contract",
        "executions": 10,
        "priority": 100,
        "starts_at": NOW - timedelta(days=1),
        "ends_at": None,
        "ended_at": None,
        "ended_because": None,
        "suspended_at": None,
        "paused_at": None,
        "blocked_at": None,
        **more,
    }
    return PlanRecord(sequence=sequence, **values)


def types_between(before: AccountRecord, after: AccountRecord) -> list[str]:
    return [str(event.type) for event in events_between(1, before, after, NOW)]


def test_nothing_is_told_of_nothing() -> None:
    same = record(plan(1), plan(2))
    assert types_between(same, same) == []


def test_plan_that_waits_its_turn_has_not_started() -> None:
    assert types_between(record(plan(1)), record(plan(1), plan(2))) == ["account.state_changed"]


def test_plan_starts_when_the_one_before_it_ends() -> None:
    ended = plan(1, ended_at=NOW, ended_because="cancelled")
    types = types_between(record(plan(1), plan(2)), record(ended, plan(2)))
    assert types == ["plan.ended", "plan.started", "account.state_changed"]


def test_end_that_no_decision_noticed_is_told_with_the_next_change() -> None:
    old = plan(1, ends_at=NOW - timedelta(hours=1))
    events = events_between(1, record(old), record(old, plan(2)), NOW)
    assert [str(event.type) for event in events] == [
        "plan.ended",
        "plan.started",
        "account.state_changed",
    ]
    assert events[0].data["ended_because"] == "period_ended"
    years_ago = plan(1, ends_at=NOW - timedelta(days=700))
    assert types_between(record(years_ago), record(years_ago)) == []


def test_plans_that_start_and_end_by_time_are_told_once() -> None:
    since = NOW - timedelta(minutes=20)
    moment = NOW - timedelta(minutes=5)
    kept = record(plan(1, ends_at=moment), plan(2, starts_at=moment))
    events = events_of_time(1, kept, since=since, now=NOW)
    types = [str(event.type) for event in events]
    assert types == ["plan.ended", "plan.started", "account.state_changed"]
    assert [each.dedup_key for each in events] == [
        plan_ended_key(1, moment),
        plan_started_key(2),
        f"account.state_changed:{plan_started_key(2)}",
    ]
    assert events_of_time(1, kept, since=NOW, now=NOW + timedelta(minutes=20)) == []
    assert events_of_time(1, record(plan(1)), since=since, now=NOW) == []


async def test_time_that_passes_is_told_of_idle_accounts(
    harness: BillingHarness, told: Told
) -> None:
    now, holder = datetime.now(UTC), harness.holder
    add_plan(harness.url, holder, 7, 10, ends_at=now + timedelta(minutes=1))
    add_plan(harness.url, holder, 8, 10, starts_at=now + timedelta(minutes=1))
    database = harness.services.database
    assert await tell_passing_time(database, now) == 0
    later = now + timedelta(minutes=5)
    assert await tell_passing_time(database, later) == 1
    assert told.types() == {"plan.ended", "plan.started", "account.state_changed"}
    assert await tell_passing_time(database, later) == 0
    assert told.events() == []


def test_blocking_and_closing_are_told() -> None:
    blocked = record(plan(1, blocked_at=NOW), blocked_at=NOW)
    (event,) = events_between(1, record(plan(1)), blocked, NOW)
    assert event.data == {"changed": ["plans", "blocked"]}
    closed = record(plan(1, blocked_at=NOW), blocked_at=NOW, closed_at=NOW)
    assert types_between(blocked, closed) == ["account.closed", "account.state_changed"]
