"""Stripe down in the middle: what happened is found out on the next try, never guessed."""

import asyncio
from datetime import timedelta

import pytest

from billing_app.billing.subscriptions.provider import PaymentProviderUnavailableError
from billing_app.billing.subscriptions.provider_requests import IN_FLIGHT, WritePendingError
from billing_app.db.enums import When
from billing_app.payments import calls
from billing_app.payments.gateway import StripeGateway
from tests.payments.billing_harness import Bed, accepted
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
def impatient(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Bed:
    """A gateway that gives up after half a second."""
    monkeypatch.setattr(calls, "TIMEOUT_SECONDS", 0.5)
    quick = StripeGateway(KEY, bed.sandbox.url)
    subscriptions = bed.services.subscriptions
    parts = (subscriptions, subscriptions.syncing, subscriptions.intents, subscriptions._checkouts)
    for part in parts:
        monkeypatch.setattr(part, "_provider", quick)
    return bed


def break_writes(bed: Bed, path: str, kind: str, when: str, times: int = TRIES) -> None:
    bed.sandbox.fault(
        kind=kind, when=when, method="POST", path=path, times=times, status=503, seconds=0.8
    )


def keys(bed: Bed) -> list[tuple[str, str]]:
    return [(key, state) for key, state in bed.rows("SELECT key, state FROM provider_writes")]


async def test_whoever_waits_is_told_before_all_attempts_have_run_out(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    bed.sandbox.fault(
        kind="hang", when="before", method="POST", path="/v1/subscriptions", times=TRIES, seconds=10
    )
    monkeypatch.setattr(calls, "GIVE_UP_SECONDS", 0.5)
    async with asyncio.timeout(calls.TIMEOUT_SECONDS / 2):
        with pytest.raises(PaymentProviderUnavailableError):
            await bed.begin("starter")
    bed.sandbox.http.delete("/_sandbox/faults")
    ((_, state),) = keys(bed)
    assert state == "pending"


@pytest.mark.parametrize(("kind", "when"), FAULTS)
async def test_subscribing(impatient: Bed, kind: str, when: str) -> None:
    bed = impatient
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    break_writes(bed, "/v1/subscriptions", kind, when)
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.begin("starter")
    ((first_key, state),) = keys(bed)
    assert state == "pending"
    bed.sandbox.http.delete("/_sandbox/faults")
    begun = await bed.begin("starter")
    assert begun.subscription is not None
    assert begun.subscription.status == "active"
    assert keys(bed) == [(first_key, "done")]
    assert (bed.charged_minor(), len(bed.subscriptions()), len(bed.plans())) == (1_900, 1, 1)


@pytest.mark.parametrize(("kind", "when"), [("status", "before"), ("reset", "after")])
async def test_upgrading(impatient: Bed, kind: str, when: str) -> None:
    bed = impatient
    first = await bed.subscribed("starter")
    accepted(await bed.use(1_000))
    break_writes(bed, f"/v1/subscriptions/{bed.subscriptions()[0].id}", kind, when)
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.change("growth")
    accepted(await bed.use(500))
    bed.sandbox.http.delete("/_sandbox/faults")
    after = await bed.change("growth")
    assert (after.id, after.offer.code) == (first.id, "growth")
    credit_minor = 1_900 * 4_000 // 5_000
    assert bed.charged_minor() == 1_900 + 7_900 - credit_minor
    assert [plan["executions"] for plan in bed.plans()] == [5_000, 29_500]
    assert [state for _, state in keys(bed)] == ["done"]


async def test_an_upgrade_whose_events_came_before_the_retry(impatient: Bed) -> None:
    """The retry asks for what is there already: it is told so, and nothing is charged."""
    bed = impatient
    await bed.subscribed("starter")
    break_writes(bed, f"/v1/subscriptions/{bed.subscriptions()[0].id}", "reset", "after")
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.change("growth")
    bed.sandbox.http.delete("/_sandbox/faults")
    await bed.deliver()
    assert (await bed.change("growth")).offer.code == "growth"
    assert bed.charged_minor() == 7_900
    assert [state for _, state in keys(bed)] == ["done"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_change_at_period_end(impatient: Bed, when: str) -> None:
    bed = impatient
    await bed.subscribed("growth")
    break_writes(bed, "/v1/subscription_schedules*", "reset", when)
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.change("starter", When.PERIOD_END)
    bed.sandbox.http.delete("/_sandbox/faults")
    found = await bed.change("starter", When.PERIOD_END)
    assert found.next_offer is not None
    assert found.next_offer.code == "starter"


async def test_a_checkout_is_opened_once(impatient: Bed) -> None:
    bed = impatient
    break_writes(bed, "/v1/checkout/sessions", "reset", "after")
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.begin("starter")
    bed.sandbox.http.delete("/_sandbox/faults")
    assert (await bed.begin("growth")).checkout_url is not None
    statuses = [session.status for session in bed.client.v1.checkout.sessions.list().data]
    assert sorted(map(str, statuses)) == ["expired", "open"]


async def test_a_customer_is_made_once(impatient: Bed) -> None:
    bed = impatient
    break_writes(bed, "/v1/customers", "reset", "after")
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.begin("starter")
    bed.sandbox.http.delete("/_sandbox/faults")
    await bed.begin("starter")
    assert len(bed.client.v1.customers.list().data) == 1


async def test_something_else_waits_until_the_outcome_is_known(impatient: Bed) -> None:
    bed = impatient
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    break_writes(bed, "/v1/subscriptions", "reset", "before")
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.begin("starter")
    bed.sandbox.http.delete("/_sandbox/faults")
    with pytest.raises(WritePendingError):
        await bed.begin("growth")
    bed.frozen = bed.now + IN_FLIGHT + timedelta(seconds=1)
    begun = await bed.begin("growth")
    assert begun.subscription is not None
    assert bed.charged_minor() == 7_900
    assert sorted(state for _, state in keys(bed)) == ["done", "failed"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_nobody_comes_back_and_reconciliation_finds_out(impatient: Bed, when: str) -> None:
    """What was charged makes its plan; what was not is not charged behind anyone's back."""
    bed = impatient
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    break_writes(bed, "/v1/subscriptions", "reset", when)
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.begin("starter")
    bed.sandbox.http.delete("/_sandbox/faults")
    await bed.reconcile()
    assert [state for _, state in keys(bed)] == ["pending"]
    bed.frozen = bed.now + IN_FLIGHT + timedelta(seconds=1)
    await bed.reconcile()
    happened = when == "after"
    assert [state for _, state in keys(bed)] == ["done" if happened else "failed"]
    assert bed.charged_minor() == (1_900 if happened else 0)
    assert len(bed.plans()) == int(happened)


async def test_reconciliation_asks_again_for_what_takes_no_money(impatient: Bed) -> None:
    bed = impatient
    await bed.subscribed()
    break_writes(bed, f"/v1/subscriptions/{bed.subscriptions()[0].id}", "reset", "before")
    with pytest.raises(PaymentProviderUnavailableError):
        await bed.cancel(When.PERIOD_END)
    bed.sandbox.http.delete("/_sandbox/faults")
    bed.frozen = bed.now + IN_FLIGHT + timedelta(seconds=1)
    await bed.reconcile()
    assert (await bed.live()).cancel_at_period_end
    assert [state for _, state in keys(bed)] == ["done"]


async def test_rate_limits_are_waited_for(impatient: Bed) -> None:
    bed = impatient
    bed.sandbox.fault(kind="status", status=429, method="GET", path="*", times=2)
    assert (await bed.begin("starter")).checkout_url is not None
