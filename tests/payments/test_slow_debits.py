"""Debits that the bank decides days later: grace waits for it, then counts from the due date; what
is bought once comes once it has paid, and is bought once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.subscriptions.account_alerts import read_stop
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.billing.subscriptions.provider_requests import IN_FLIGHT
from billing_app.billing.subscriptions.top_ups import DEBIT_FAILED
from billing_app.db.enums import Interval, When
from billing_app.states.payments import bought
from tests.factories import OPERATOR
from tests.pages.summaries import summary_of
from tests.payments import test_pack_purchases as packs
from tests.payments import test_top_ups as top_ups
from tests.payments.billing_harness import DAY, GRACE_DAYS, HOUR, BillingHarness, accepted
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode

BANK_ACCOUNT = "000123456789"


def use_bank_account(harness: BillingHarness) -> str:
    """For the next payments (docs.stripe.com/payments/ach-direct-debit)."""
    client, who = harness.client.v1, harness.customer_id()
    body: Any = {
        "type": "us_bank_account",
        "us_bank_account": {
            "account_holder_type": "company",
            "account_number": BANK_ACCOUNT,
            "routing_number": "110000000",
        },
        "billing_details": {"name": "Ada", "email": "ada@example.com"},
    }
    method = client.payment_methods.create(body).id
    client.payment_methods.attach(method, {"customer": who})
    client.customers.update(who, {"invoice_settings": {"default_payment_method": method}})
    for found in harness.subscriptions("active"):
        client.subscriptions.update(found.id, {"default_payment_method": method})
    return method


def decide(harness: BillingHarness, *, succeeds: bool) -> None:
    """The bank decides on the newest payment."""
    query: Any = {"customer": harness.customer_id(), "limit": 100}
    intents = harness.client.v1.payment_intents.list(query).data
    (waiting,) = [each for each in intents if each.status == "processing"]
    harness.sandbox.control("debits", payment_intent=waiting.id, succeeds=succeeds)


def debits(harness: BillingHarness) -> int:
    """How many payments wait for the bank."""
    query: Any = {"customer": harness.customer_id(), "limit": 100}
    intents = harness.client.v1.payment_intents.list(query).data
    return sum(each.status == "processing" for each in intents)


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


@pytest.fixture
async def low(harness: BillingHarness) -> BillingHarness:
    """A top-up by debit is needed."""
    await harness.subscribed("starter")
    use_bank_account(harness)
    accepted(await harness.use(4_500))
    await top_ups.order(harness, cap_minor=100_000)
    return harness


async def test_top_up_is_debited_once(low: BillingHarness) -> None:
    """The executions come days later: until then, nothing more is bought."""
    assert await top_ups.run(low) == 0
    assert (await top_ups.seen(low)).spent_minor == 2_500
    for _ in range(3):
        low.skip(DAY)
        await low.deliver()
        assert await top_ups.run(low) == 0
    assert debits(low) == 1
    assert top_ups.packs(low) == []
    decide(low, succeeds=True)
    await low.deliver()
    assert [await top_ups.run(low) for _ in range(2)] == [0, 0]
    assert [plan["executions"] for plan in top_ups.packs(low)] == [10_000]
    assert low.charged_minor() == 1_900 + 2_500
    assert low.rows("SELECT operation, state FROM provider_writes") == [("top_up", "done")]
    assert await low.reconcile() == []


@pytest.mark.parametrize("is_answer_lost", [False, True])
async def test_top_up_whose_debit_fails_stops_and_says_why(
    low: BillingHarness, sandbox: Sandbox, is_answer_lost: bool
) -> None:
    if is_answer_lost:
        path = "/v1/invoices/*/pay"
        sandbox.control("faults", kind="reset", when="after", path=path, times=3)
        with pytest.raises(PaymentProviderUnavailableError):
            await top_ups.run(low)
    await top_ups.run(low)
    assert debits(low) == 1
    await top_ups.run(low)
    decide(low, succeeds=False)
    low.skip(IN_FLIGHT.total_seconds() + 1)
    assert [await top_ups.run(low) for _ in range(2)] == [0, 0]
    assert (await top_ups.seen(low)).stopped_because == DEBIT_FAILED
    assert (debits(low), low.charged_minor(), top_ups.packs(low)) == (0, 1_900, [])
    assert low.invoices()[-1].status == "void"


async def test_pack_by_debit_is_bought_once_and_words_wait_for_the_bank(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    order = await packs.order(harness, use_bank_account(harness))
    account_id, buy = harness.holder.account_id, harness.services.subscriptions.packs.buy
    outcome = await buy(OPERATOR, account_id, order, harness.now)
    outcome = await buy(OPERATOR, account_id, order, harness.now)
    said = bought(order.offer, summary_of(await harness.current()), outcome)
    assert said.title == "Your bank has been asked for $25.00"
    assert await buy(OPERATOR, account_id, order, harness.now) == outcome
    assert (debits(harness), harness.charged_minor()) == (1, 1_900)
    decide(harness, succeeds=True)
    await harness.deliver()
    assert [plan["executions"] for plan in top_ups.packs(harness)] == [10_000]


async def test_interrupted_debit_of_a_pack_is_looked_up(
    harness: BillingHarness, sandbox: Sandbox
) -> None:
    """It asks for no confirmation, and is not given up for the next purchase."""
    await harness.subscribed("starter")
    order = await packs.order(harness, use_bank_account(harness))
    path = "/v1/invoices/*/pay"
    sandbox.control("faults", kind="reset", when="after", path=path, times=3)
    with pytest.raises(PaymentProviderUnavailableError):
        await packs.buy(harness, order)
    await packs.buy(harness, order)
    assert debits(harness) == 1
    assert harness.rows("SELECT operation, state FROM provider_writes") == [("buy_pack", "done")]
    decide(harness, succeeds=True)
    await harness.deliver()
    assert harness.charged_minor() == 1_900 + 2_500
    assert [plan["executions"] for plan in top_ups.packs(harness)] == [10_000]


async def test_trial_with_a_bank_account_is_given(harness: BillingHarness) -> None:
    """It has no card whose fingerprint could be compared."""
    terms = OfferTerms("Tried", "", 5_000, 1_900, "USD", Interval.MONTH, trial_days=14)
    await publish_offer(
        harness.services.database, OPERATOR, code="tried", terms=terms, now=harness.now
    )
    await harness.begin("tried")
    use_bank_account(harness)
    begun = await harness.begin("tried")
    assert begun.subscription is not None
    await harness.deliver()
    assert [plan["executions"] for plan in harness.plans()] == [5_000]
    assert await harness.denied() == ""
