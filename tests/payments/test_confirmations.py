"""A bank that asks for a confirmation (3-D Secure): never called a decline, and nothing is charged
or changed until the customer has confirmed."""

import httpx
import pytest

from billing_app.billing.subscriptions.errors import PaymentActionRequiredError
from billing_app.billing.subscriptions.provider_requests import IN_FLIGHT
from billing_app.billing.subscriptions.top_ups import NOT_CONFIRMED
from billing_app.composition import build_services
from billing_app.db.enums import When
from billing_app.states.error_messages import problem
from tests.payments.billing_harness import (
    DAY,
    HOUR,
    BillingHarness,
    accepted,
    payment_settings,
    submit_card,
)
from tests.payments.test_top_ups import order, packs, run, seen
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode

ASKS = ["pm_card_authenticationRequiredOnSetup", "pm_card_authenticationRequired"]
ASKING_CARD = "4000002760003184"


def confirm(url: str | None, *, passed: bool = True) -> None:
    """On Stripe's page of the invoice."""
    assert url is not None
    location = submit_card(url, ASKING_CARD).headers["location"]
    form = {"session": "", "result": "approve" if passed else "fail"}
    assert httpx.post(location, data=form, timeout=20).status_code == 303


async def asked(harness: BillingHarness, offer: str = "growth") -> str:
    """A change that the bank asks about; returns where to confirm it."""
    with pytest.raises(PaymentActionRequiredError) as raised:
        await harness.change(offer)
    message = problem(raised.value, charges=True)
    assert "declined" not in f"{message.title} {message.text}"
    assert (message.url, message.url_label) == (raised.value.payment_url, "Confirm with your bank")
    assert raised.value.payment_url is not None
    return raised.value.payment_url


def assert_untouched(harness: BillingHarness) -> None:
    assert harness.charged_minor() == 1_900
    assert [plan["executions"] for plan in harness.plans()] == [5_000]
    assert harness.subscriptions()[0].items.data[0].price.unit_amount == 1_900


@pytest.mark.parametrize("card", ASKS)
async def test_confirmed_change_is_carried_out_once(harness: BillingHarness, card: str) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(1_000))
    harness.use_card(card)
    url = await asked(harness)
    assert_untouched(harness)
    assert await asked(harness) == url, "asked again, it is the same invoice"
    confirm(url)
    await harness.deliver()
    assert (await harness.live()).offer.code == "growth"
    credit_minor = 1_900 * 4_000 // 5_000
    assert harness.charged_minor() == 1_900 + 7_900 - credit_minor
    assert [plan["executions"] for plan in harness.plans()] == [5_000, 30_000]
    harness.frozen = harness.now + IN_FLIGHT
    await harness.reconcile()
    assert harness.rows("SELECT DISTINCT operation, state FROM provider_writes") == [
        ("change_now", "done")
    ]


async def test_confirmed_change_is_charged_with_its_tax(
    sandbox: Sandbox, own_database_url: str
) -> None:
    """Also when the subscription is from before the tax was switched on."""
    harness = await BillingHarness(sandbox, own_database_url).open()
    await harness.subscribed("starter", country="DE")
    await harness.services.close()
    settings = payment_settings(sandbox, stripe_tax=True)
    harness.services = build_services(settings, own_database_url)
    harness.use_card(ASKS[1])
    confirm(await asked(harness))
    await harness.deliver()
    assert (await harness.live()).offer.code == "growth"
    assert harness.charged_minor() == 1_900 + 6_000 + 1_140
    await harness.close()


async def test_abandoned_confirmation_leaves_the_old_plan(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.use_card(ASKS[1])
    url = await asked(harness)
    confirm(url, passed=False)
    await harness.deliver()
    assert_untouched(harness)
    harness.skip(DAY)
    await harness.deliver()
    await harness.reconcile()
    assert_untouched(harness)
    assert (await harness.live()).status == "active"
    assert harness.invoices()[-1].status == "void"
    assert harness.rows("SELECT state FROM provider_writes") == [("failed",)]


async def test_another_request_gives_up_the_unconfirmed_change(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.use_card(ASKS[1])
    await asked(harness)
    assert (await harness.preview("scale")).amount_due_minor == 29_900 - 1_900
    assert (await harness.cancel(When.PERIOD_END)).cancel_at_period_end
    assert_untouched(harness)
    assert harness.invoices()[-1].status == "void"
    harness.use_card("pm_card_visa")
    assert (await harness.change("growth")).offer.code == "growth"
    assert harness.charged_minor() == 7_900


async def test_confirmed_change_withdraws_the_cancellation(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    await harness.cancel(When.PERIOD_END)
    harness.use_card(ASKS[1])
    url = await asked(harness)
    assert (await harness.live()).cancel_at_period_end
    confirm(url)
    await harness.deliver()
    found = await harness.live()
    assert (found.offer.code, found.cancel_at_period_end) == ("growth", False)


async def test_scheduled_change_stays_when_the_bank_asks(harness: BillingHarness) -> None:
    await harness.subscribed("growth")
    await harness.change("starter", When.PERIOD_END)
    harness.use_card(ASKS[1])
    with pytest.raises(PaymentActionRequiredError, match="scheduled change") as raised:
        await harness.change("scale")
    assert raised.value.payment_url is None
    next_offer = (await harness.live()).next_offer
    assert next_offer is not None
    assert next_offer.code == "starter"


async def waiting_top_up(harness: BillingHarness) -> str:
    """Fewer executions than wanted, and a bank that asks; returns where to confirm."""
    await harness.subscribed("starter")
    accepted(await harness.use(4_500))
    harness.use_card(ASKS[1])
    await order(harness)
    assert await run(harness) == 0
    found = await seen(harness)
    assert (found.stopped_because, found.spent_minor) == (None, 2_500)
    assert found.payment_url is not None
    return found.payment_url


async def test_top_up_waits_for_the_confirmation(harness: BillingHarness) -> None:
    url, began = await waiting_top_up(harness), harness.now
    harness.skip(HOUR)
    assert await run(harness) == 0
    assert (harness.charged_minor(), packs(harness)) == (1_900, [])
    confirm(url)
    await harness.deliver()
    await run(harness)
    found = await seen(harness)
    spent = 2_500 if harness.now.month == began.month else 0
    assert (found.payment_url, found.stopped_because, found.spent_minor) == (None, None, spent)
    assert (harness.charged_minor(), len(packs(harness))) == (1_900 + 2_500, 1)


async def test_top_up_that_is_never_confirmed_stops(harness: BillingHarness) -> None:
    await waiting_top_up(harness)
    harness.skip(DAY)
    assert [await run(harness) for _ in range(2)] == [0, 0]
    found = await seen(harness)
    assert (found.payment_url, found.stopped_because) == (None, NOT_CONFIRMED)
    assert (harness.charged_minor(), found.spent_minor) == (1_900, 0)
    assert harness.invoices()[-1].status == "void"


async def test_top_up_switched_on_again_uses_the_new_card(harness: BillingHarness) -> None:
    await waiting_top_up(harness)
    harness.use_card("pm_card_visa")
    await order(harness)
    assert await run(harness) == 1
    assert (harness.charged_minor(), (await seen(harness)).payment_url) == (1_900 + 2_500, None)
