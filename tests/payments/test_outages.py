"""Stripe fails during a request: the result is looked up on the next try, never guessed."""

import asyncio
from datetime import timedelta

import pytest

from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_requests import (
    IN_FLIGHT,
    ProviderRequestPendingError,
)
from billing_app.db.enums import When
from billing_app.payments import calls
from billing_app.payments.gateway import StripeGateway
from tests.payments.billing_harness import BillingHarness, accepted
from tests.stripe_sandbox.running import KEY

TRIES = calls.NETWORK_RETRIES + 1
FAULTS = [
    ("status", "before"),
    ("status", "after"),
    ("reset", "before"),
    ("reset", "after"),
    ("hang", "before"),
    ("hang", "after"),
]


@pytest.fixture
def impatient(harness: BillingHarness, monkeypatch: pytest.MonkeyPatch) -> BillingHarness:
    """A gateway that gives up after half a second."""
    monkeypatch.setattr(calls, "TIMEOUT_SECONDS", 0.5)
    quick = StripeGateway(KEY, harness.sandbox.url)
    subscriptions = harness.services.subscriptions
    requests = subscriptions.provider_requests
    parts = (subscriptions, subscriptions.syncing, requests, subscriptions._checkouts)
    for part in parts:
        monkeypatch.setattr(part, "_provider", quick)
    return harness


def break_writes(
    harness: BillingHarness, path: str, kind: str, when: str, times: int = TRIES
) -> None:
    harness.sandbox.fault(
        kind=kind, when=when, method="POST", path=path, times=times, status=503, seconds=0.8
    )


def keys(harness: BillingHarness) -> list[tuple[str, str]]:
    return [(key, state) for key, state in harness.rows("SELECT key, state FROM provider_writes")]


async def test_caller_gets_an_answer_before_all_retries_are_used(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    harness.sandbox.fault(
        kind="hang", when="before", method="POST", path="/v1/subscriptions", times=TRIES, seconds=10
    )
    monkeypatch.setattr(calls, "GIVE_UP_SECONDS", 0.5)
    async with asyncio.timeout(calls.TIMEOUT_SECONDS / 2):
        with pytest.raises(PaymentProviderUnavailableError):
            await harness.begin("starter")
    harness.sandbox.http.delete("/_sandbox/faults")
    ((_, state),) = keys(harness)
    assert state == "pending"


@pytest.mark.parametrize(("kind", "when"), FAULTS)
async def test_interrupted_subscribe_charges_once(
    impatient: BillingHarness, kind: str, when: str
) -> None:
    harness = impatient
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    break_writes(harness, "/v1/subscriptions", kind, when)
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.begin("starter")
    ((first_key, state),) = keys(harness)
    assert state == "pending"
    harness.sandbox.http.delete("/_sandbox/faults")
    begun = await harness.begin("starter")
    assert begun.subscription is not None
    assert begun.subscription.status == "active"
    assert keys(harness) == [(first_key, "done")]
    assert (harness.charged_minor(), len(harness.subscriptions()), len(harness.plans())) == (
        1_900,
        1,
        1,
    )


@pytest.mark.parametrize(("kind", "when"), [("status", "before"), ("reset", "after")])
async def test_interrupted_upgrade_charges_once(
    impatient: BillingHarness, kind: str, when: str
) -> None:
    harness = impatient
    first = await harness.subscribed("starter")
    accepted(await harness.use(1_000))
    break_writes(harness, f"/v1/subscriptions/{harness.subscriptions()[0].id}", kind, when)
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.change("growth")
    accepted(await harness.use(500))
    harness.sandbox.http.delete("/_sandbox/faults")
    after = await harness.change("growth")
    assert (after.id, after.offer.code) == (first.id, "growth")
    credit_minor = 1_900 * 4_000 // 5_000
    assert harness.charged_minor() == 1_900 + 7_900 - credit_minor
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 29_500]
    assert [state for _, state in keys(harness)] == ["done"]


async def test_upgrade_retried_after_its_events_charges_once(impatient: BillingHarness) -> None:
    """The retry asks for what exists already: it is refused, and nothing is charged."""
    harness = impatient
    await harness.subscribed("starter")
    break_writes(harness, f"/v1/subscriptions/{harness.subscriptions()[0].id}", "reset", "after")
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.change("growth")
    harness.sandbox.http.delete("/_sandbox/faults")
    await harness.deliver()
    assert (await harness.change("growth")).offer.code == "growth"
    assert harness.charged_minor() == 7_900
    assert [state for _, state in keys(harness)] == ["done"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_interrupted_change_at_period_end(impatient: BillingHarness, when: str) -> None:
    harness = impatient
    await harness.subscribed("growth")
    break_writes(harness, "/v1/subscription_schedules*", "reset", when)
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.change("starter", When.PERIOD_END)
    harness.sandbox.http.delete("/_sandbox/faults")
    found = await harness.change("starter", When.PERIOD_END)
    assert found.next_offer is not None
    assert found.next_offer.code == "starter"


async def test_interrupted_checkout_is_opened_once(impatient: BillingHarness) -> None:
    harness = impatient
    break_writes(harness, "/v1/checkout/sessions", "reset", "after")
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.begin("starter")
    harness.sandbox.http.delete("/_sandbox/faults")
    assert (await harness.begin("growth")).checkout_url is not None
    statuses = [session.status for session in harness.client.v1.checkout.sessions.list().data]
    assert sorted(map(str, statuses)) == ["expired", "open"]


async def test_interrupted_customer_is_created_once(impatient: BillingHarness) -> None:
    harness = impatient
    break_writes(harness, "/v1/customers", "reset", "after")
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.begin("starter")
    harness.sandbox.http.delete("/_sandbox/faults")
    await harness.begin("starter")
    assert len(harness.client.v1.customers.list().data) == 1


async def test_other_request_waits_until_result_is_known(impatient: BillingHarness) -> None:
    harness = impatient
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    break_writes(harness, "/v1/subscriptions", "reset", "before")
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.begin("starter")
    harness.sandbox.http.delete("/_sandbox/faults")
    with pytest.raises(ProviderRequestPendingError):
        await harness.begin("growth")
    harness.frozen = harness.now + IN_FLIGHT + timedelta(seconds=1)
    begun = await harness.begin("growth")
    assert begun.subscription is not None
    assert harness.charged_minor() == 7_900
    assert sorted(state for _, state in keys(harness)) == ["done", "failed"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_reconciliation_resolves_abandoned_request(
    impatient: BillingHarness, when: str
) -> None:
    """What was charged creates its plan; what was not is never charged later."""
    harness = impatient
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    break_writes(harness, "/v1/subscriptions", "reset", when)
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.begin("starter")
    harness.sandbox.http.delete("/_sandbox/faults")
    await harness.reconcile()
    assert [state for _, state in keys(harness)] == ["pending"]
    harness.frozen = harness.now + IN_FLIGHT + timedelta(seconds=1)
    await harness.reconcile()
    happened = when == "after"
    assert [state for _, state in keys(harness)] == ["done" if happened else "failed"]
    assert harness.charged_minor() == (1_900 if happened else 0)
    assert len(harness.plans()) == int(happened)


async def test_reconciliation_repeats_requests_that_take_no_money(
    impatient: BillingHarness,
) -> None:
    harness = impatient
    await harness.subscribed()
    break_writes(harness, f"/v1/subscriptions/{harness.subscriptions()[0].id}", "reset", "before")
    with pytest.raises(PaymentProviderUnavailableError):
        await harness.cancel(When.PERIOD_END)
    harness.sandbox.http.delete("/_sandbox/faults")
    harness.frozen = harness.now + IN_FLIGHT + timedelta(seconds=1)
    await harness.reconcile()
    assert (await harness.live()).cancel_at_period_end
    assert [state for _, state in keys(harness)] == ["done"]


async def test_rate_limited_calls_are_retried_after_a_wait(impatient: BillingHarness) -> None:
    harness = impatient
    harness.sandbox.fault(kind="status", status=429, method="GET", path="*", times=2)
    assert (await harness.begin("starter")).checkout_url is not None
