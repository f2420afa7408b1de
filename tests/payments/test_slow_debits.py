"""Debits that the bank decides days later: grace waits for it, then counts from the due date."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.subscriptions.account_alerts import read_stop
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, GRACE_DAYS, HOUR, BillingHarness, accepted


def use_bank_account(harness: BillingHarness) -> None:
    """For the subscription's next payments (docs.stripe.com/payments/ach-direct-debit)."""
    client, who = harness.client.v1, harness.customer_id()
    body: Any = {
        "type": "us_bank_account",
        "us_bank_account": {
            "account_holder_type": "company",
            "account_number": "000123456789",
            "routing_number": "110000000",
        },
        "billing_details": {"name": "Ada", "email": "ada@example.com"},
    }
    method = client.payment_methods.create(body).id
    client.payment_methods.attach(method, {"customer": who})
    client.subscriptions.update(harness.subscriptions()[0].id, {"default_payment_method": method})


def decide(harness: BillingHarness, *, succeeds: bool) -> None:
    """The bank decides on the newest payment."""
    query: Any = {"customer": harness.customer_id(), "limit": 100}
    intents = harness.client.v1.payment_intents.list(query).data
    (waiting,) = [each for each in intents if each.status == "processing"]
    harness.sandbox.control("debits", payment_intent=waiting.id, succeeds=succeeds)


def newest_plan(harness: BillingHarness) -> dict[str, Any]:
    return harness.plans()[-1]


@pytest.fixture
async def renewed(harness: BillingHarness) -> BillingHarness:
    """A renewal that is being debited."""
    found = await harness.subscribed("starter")
    use_bank_account(harness)
    harness.skip((found.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    assert harness.invoices()[-1].status == "open"
    return harness


async def test_clock_of_grace_stops_until_the_debit_succeeds(renewed: BillingHarness) -> None:
    harness = renewed
    for _ in range(2):
        harness.skip(GRACE_DAYS * DAY)
        await harness.deliver()
        assert await harness.denied() == ""
    database = harness.services.database
    assert await read_stop(database, OPERATOR, harness.holder.account_id, harness.now) is None
    assert newest_plan(harness)["suspended_at"] is None
    assert await harness.reconcile() == []
    accepted(await harness.use(1_000))
    decide(harness, succeeds=True)
    await harness.deliver()
    assert harness.charged_minor() == 3_800
    plan = newest_plan(harness)
    assert (plan["executions"], plan["used"], plan["suspended_at"]) == (5_000, 1_000, None)
    assert len(harness.plans()) == 2
    assert await harness.reconcile() == []


@pytest.mark.parametrize(("days", "denial"), [(3, ""), (GRACE_DAYS + 1, "payment_past_due")])
async def test_grace_counts_from_the_due_date_when_it_fails(
    renewed: BillingHarness, days: int, denial: str
) -> None:
    harness = renewed
    harness.skip(days * DAY)
    await harness.deliver()
    assert await harness.denied() == ""
    decide(harness, succeeds=False)
    await harness.deliver()
    assert (await harness.live()).past_due_since is not None
    issued = harness.invoices()[-1].status_transitions.finalized_at
    assert issued is not None
    due_at = datetime.fromtimestamp(issued, UTC)
    assert newest_plan(harness)["suspended_at"] == due_at + timedelta(days=GRACE_DAYS)
    assert await harness.denied() == denial
    assert harness.charged_minor() == 1_900


async def test_debit_of_an_ended_subscription_is_not_voided(renewed: BillingHarness) -> None:
    """It gives its period when it is paid all the same; when it fails, the invoice is voided."""
    harness = renewed
    await harness.cancel(When.NOW)
    await harness.deliver()
    assert harness.invoices()[-1].status == "open"
    assert await harness.reconcile() == []
    harness.skip(DAY)
    decide(harness, succeeds=True)
    await harness.deliver()
    assert harness.charged_minor() == 3_800
    assert (await harness.current()).executions_remaining == 5_000
    assert await harness.reconcile() == []


async def test_failed_debit_of_an_ended_subscription_is_voided(renewed: BillingHarness) -> None:
    harness = renewed
    await harness.cancel(When.NOW)
    decide(harness, succeeds=False)
    await harness.deliver()
    assert harness.invoices()[-1].status == "void"
    assert await harness.subscription() is None
