"""One trial for a card: the second account gets none, pays nothing, and can pay right away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from billing_app.billing.accounts.provisioning import AccountFields
from billing_app.billing.offers.catalogue import OfferTerms, list_offers, publish_offer
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.refused_trials import CardTrialUsedError
from billing_app.db.enums import Interval
from billing_app.states.payments import TRIAL_USED, checkout_notice
from tests.factories import OPERATOR, PLATFORM_SERVICE
from tests.pages.summaries import summary_of
from tests.payments.billing_harness import DAY, HOUR, PUBLIC_URL, VISA, BillingHarness, type_card
from tests.stripe_sandbox.running import Sandbox

OTHER = "5555555555554444"
TERMS = OfferTerms("Tried", "", 5_000, 1_900, "USD", Interval.MONTH, trial_days=14)


async def publish(harness: BillingHarness) -> BillingHarness:
    await publish_offer(
        harness.services.database, OPERATOR, code="tried", terms=TERMS, now=harness.now
    )
    return harness


@pytest.fixture
async def site(harness: BillingHarness) -> BillingHarness:
    return await publish(harness)


@pytest.fixture
async def another(site: BillingHarness) -> AsyncIterator[BillingHarness]:
    """Another account of the same site."""
    opened = await BillingHarness(site.sandbox, site.url).open_beside(site)
    yield opened
    await opened.close()


async def come_back(harness: BillingHarness) -> None:
    """From the checkout, before its events arrive."""
    await harness.services.subscriptions.sync_checkout(
        OPERATOR, harness.holder.account_id, now=harness.now
    )


def given(harness: BillingHarness) -> list[Any]:
    account = harness.holder.account_number
    return harness.rows(
        "SELECT executions FROM plans WHERE source <> 'bridge'"  # noqa: S608
        f" AND account_id = {account}"
    )


def refused(harness: BillingHarness) -> list[Any]:
    account = harness.holder.account_number
    return harness.rows(
        "SELECT status, trial_refused_at IS NOT NULL FROM subscriptions"  # noqa: S608
        f" WHERE account_id = {account} ORDER BY number"
    )


async def try_out(harness: BillingHarness, card: str = VISA) -> None:
    type_card((await harness.begin("tried")).checkout_url, card)
    await come_back(harness)


async def test_card_that_had_a_trial_gets_no_other(
    site: BillingHarness, another: BillingHarness
) -> None:
    await try_out(site)
    assert (given(site), refused(site)) == ([(5_000,)], [("trialing", False)])
    await try_out(another)
    assert (given(another), refused(another)) == ([], [("canceled", True)])
    assert [each.status for each in another.subscriptions()] == ["canceled"]
    assert another.charged_minor() == 0
    await another.deliver()
    assert (given(another), await another.subscription()) == ([], None)
    assert await another.reconcile() == []
    assert (await site.live()).status == "trialing"


async def test_customer_is_told_and_can_pay_right_away(
    site: BillingHarness, another: BillingHarness
) -> None:
    await try_out(site)
    await try_out(another)
    account_id = another.holder.account_id
    checkout = await another.services.subscriptions.last_checkout(OPERATOR, account_id)
    summary = summary_of(await another.current())
    assert checkout is not None
    notice = checkout_notice("done", checkout, summary, returned_at=summary.at)
    assert notice == TRIAL_USED
    offer = checkout.offer
    assert await another.services.subscriptions.trial_days(OPERATOR, account_id, offer) == 0
    another.use_card("pm_card_visa")
    begun = await another.begin("tried")
    assert begun.subscription is not None
    assert (begun.subscription.status, another.charged_minor()) == ("active", 1_900)
    assert given(another) == [(5_000,)]
    assert refused(another) == [("canceled", True), ("active", False)]


async def test_card_on_file_that_had_a_trial_is_refused(
    site: BillingHarness, another: BillingHarness
) -> None:
    """Without a checkout, the answer itself says so."""
    await try_out(site)
    await another.services.subscriptions.portal_url(
        OPERATOR, another.holder.account_id, return_url=PUBLIC_URL, now=another.now
    )
    another.use_card("pm_card_visa")
    with pytest.raises(CardTrialUsedError):
        await another.begin("tried")
    assert (given(another), refused(another)) == ([], [("canceled", True)])
    assert another.charged_minor() == 0
    states = "SELECT operation, state FROM provider_writes ORDER BY created_at, operation DESC"
    assert another.rows(states) == [("subscribe", "done"), ("cancel_now", "done")]


async def test_other_cards_and_the_own_account_get_their_trial(
    site: BillingHarness, another: BillingHarness
) -> None:
    await try_out(site)
    await try_out(another, OTHER)
    assert (given(another), refused(another)) == ([(5_000,)], [("trialing", False)])
    for harness in (site, another):
        await harness.deliver()
        await harness.reconcile()
        assert given(harness) == [(5_000,)]


async def test_two_at_once_get_one_trial(site: BillingHarness, another: BillingHarness) -> None:
    for harness in (site, another):
        type_card((await harness.begin("tried")).checkout_url)
    await asyncio.gather(come_back(site), come_back(another))
    assert sorted(given(site) + given(another)) == [(5_000,)]
    assert sorted(refused(site) + refused(another)) == [("canceled", True), ("trialing", False)]


async def test_cancellation_is_repeated_until_stripe_has_it(
    site: BillingHarness, another: BillingHarness, sandbox: Sandbox
) -> None:
    await try_out(site)
    type_card((await another.begin("tried")).checkout_url)
    fault = {"kind": "status", "status": 500, "method": "DELETE", "path": "/v1/subscriptions/*"}
    sandbox.control("faults", **fault, times=3)
    with pytest.raises(PaymentProviderUnavailableError):
        await come_back(another)
    assert given(another) == []
    assert [each.status for each in another.subscriptions()] == ["trialing"]
    sandbox.http.delete("/_sandbox/faults")
    await another.deliver()
    assert (given(another), refused(another)) == ([], [("canceled", True)])
    assert another.rows("SELECT DISTINCT state FROM provider_writes") == [("done",)]


async def test_reconciliation_cancels_what_stripe_refused_to_cancel(
    site: BillingHarness, another: BillingHarness, sandbox: Sandbox
) -> None:
    await try_out(site)
    type_card((await another.begin("tried")).checkout_url)
    error = {"type": "invalid_request_error", "message": "Not now."}
    fault = {"kind": "status", "status": 400, "method": "DELETE", "path": "/v1/subscriptions/*"}
    sandbox.control("faults", **fault, error=error)
    with pytest.raises(PaymentProviderFailedError):
        await come_back(another)
    another.missed()
    (found,) = [each for each in await another.reconcile() if each.what == "subscription"]
    assert (found.healed, "to be cancelled" in found.ours) == (True, True)
    assert (given(another), refused(another)) == ([], [("canceled", True)])


async def test_without_the_setting_everybody_gets_a_trial(
    sandbox: Sandbox, own_database_url: str
) -> None:
    first = await publish(
        await BillingHarness(sandbox, own_database_url, one_trial_per_person=False).open()
    )
    second = BillingHarness(sandbox, own_database_url, one_trial_per_person=False)
    await second.open_beside(first)
    try:
        for harness in (first, second):
            await try_out(harness)
            assert (given(harness), refused(harness)) == ([(5_000,)], [("trialing", False)])
    finally:
        await second.close()
        await first.close()


async def test_trial_that_was_given_is_never_taken_back(
    site: BillingHarness, another: BillingHarness
) -> None:
    """Trials from before there were records are mirrored as they are."""
    for harness in (site, another):
        type_card((await harness.begin("tried")).checkout_url)
        harness.services.subscriptions.syncing.one_trial = False
        await come_back(harness)
        harness.services.subscriptions.syncing.one_trial = True
    site.rows("DELETE FROM trial_uses RETURNING kind")
    for harness in (another, site):
        await harness.deliver()
        await harness.reconcile()
        assert (given(harness), refused(harness)) == ([(5_000,)], [("trialing", False)])


async def test_refused_trial_that_was_paid_after_all_is_a_subscription(
    site: BillingHarness, another: BillingHarness, sandbox: Sandbox
) -> None:
    """It could not be cancelled until it charged: what was paid for is given, and stays."""
    await try_out(site)
    type_card((await another.begin("tried")).checkout_url)
    fault = {"kind": "status", "status": 500, "method": "DELETE", "path": "/v1/subscriptions/*"}
    sandbox.control("faults", **fault, times=3)
    with pytest.raises(PaymentProviderUnavailableError):
        await come_back(another)
    another.skip(14 * DAY + 2 * HOUR)
    sandbox.http.delete("/_sandbox/faults")
    another.rows("DELETE FROM provider_writes RETURNING key")
    await another.deliver()
    assert (another.charged_minor(), given(another)) == (1_900, [(5_000,)])
    assert refused(another) == [("active", True)]
    assert (await another.reconcile(), await another.denied()) == ([], "")
    await another.services.subscriptions.syncing.customer(another.customer_id(), another.now)
    another.skip(((await another.live()).period_end - another.now).total_seconds() + 60)
    assert await another.denied() == ""


async def test_trial_that_an_account_began_with_counts(site: BillingHarness) -> None:
    fields = AccountFields(name="Acme", offer="tried")
    organization_id = site.holder.organization_id
    await site.services.provisioning.put_organization(
        PLATFORM_SERVICE, organization_id, fields, details_queue=None, now=site.now
    )
    assert given(site) == [(5_000,)]
    (offer,) = [each for each in await list_offers(site.services.database) if each.trial_days]
    account_id = site.holder.account_id
    assert await site.services.subscriptions.trial_days(OPERATOR, account_id, offer) == 0
    found = await site.subscribed("tried")
    assert (found.status, site.charged_minor()) == ("active", 1_900)
