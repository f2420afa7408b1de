"""The first payment: through the checkout, or with the card on file."""

import asyncio

import pytest

from billing_app.billing.offers.catalogue import OfferUnknownError
from billing_app.billing.subscriptions.provider import PaymentDeclinedError
from billing_app.billing.subscriptions.rules import SubscriptionExistsError
from billing_app.db.enums import When
from tests.payments.billing_harness import (
    CHALLENGED,
    DECLINED,
    POOR,
    Bed,
    accepted,
    answer_challenge,
    look,
    submit_card,
    type_card,
)


async def test_checkout_pays_and_makes_the_plan(bed: Bed) -> None:
    begun = await bed.begin("starter")
    assert begun.subscription is None
    assert type_card(begun.checkout_url).headers["location"] == "http://localhost:3000/done"
    await bed.deliver()
    found = await bed.live()
    assert (found.status, found.offer.code) == ("active", "starter")
    assert bed.charged_minor() == 1_900
    (plan,) = bed.plans()
    assert (plan["source"], plan["executions"], plan["ends_at"]) == (
        "subscription",
        5_000,
        found.period_end,
    )
    assert accepted(await bed.use(3))["executions_remaining"] == 4_997


async def test_two_requests_race_for_one_customer_and_one_checkout(bed: Bed) -> None:
    first, second = await asyncio.gather(bed.begin("starter"), bed.begin("starter"))
    assert first.checkout_url == second.checkout_url
    assert len(bed.client.v1.customers.list().data) == 1
    assert len(bed.client.v1.checkout.sessions.list().data) == 1
    assert bed.rows("SELECT count(*) FROM provider_customers") == [(1,)]


async def test_another_offer_closes_the_open_checkout(bed: Bed) -> None:
    first = (await bed.begin("starter")).checkout_url
    second = (await bed.begin("growth")).checkout_url
    assert first != second
    assert (await bed.begin("growth")).checkout_url == second
    statuses = [session.status for session in bed.client.v1.checkout.sessions.list().data]
    assert sorted(map(str, statuses)) == ["expired", "open"]
    assert "expired" in look(first)


async def test_who_paid_and_asks_before_the_event_came_is_not_charged_again(bed: Bed) -> None:
    type_card((await bed.begin("starter")).checkout_url)
    with pytest.raises(SubscriptionExistsError):
        await bed.begin("starter")
    assert bed.charged_minor() == 1_900
    assert (await bed.live()).status == "active"
    assert len(bed.plans()) == 1


@pytest.mark.parametrize("card", [DECLINED, POOR])
async def test_a_decline_leaves_the_checkout_open_for_another_card(bed: Bed, card: str) -> None:
    url = (await bed.begin("starter")).checkout_url
    assert type_card(url, card).status_code == 402
    await bed.deliver()
    assert (await bed.subscription(), bed.plans()) == (None, [])
    assert (await bed.begin("starter")).checkout_url == url
    type_card(url)
    await bed.deliver()
    assert (bed.charged_minor(), len(bed.plans())) == (1_900, 1)


async def test_three_d_secure_at_checkout(bed: Bed) -> None:
    url = (await bed.begin("starter")).checkout_url
    challenge = submit_card(str(url), CHALLENGED).headers["location"]
    await bed.deliver()
    assert (bed.charged_minor(), bed.plans()) == (0, [])
    answer_challenge(str(url), challenge, passed=False)
    await bed.deliver()
    assert (await bed.subscription(), bed.plans()) == (None, [])
    type_card(url, CHALLENGED)
    await bed.deliver()
    assert (bed.charged_minor(), len(bed.plans())) == (1_900, 1)
    assert (await bed.live()).status == "active"


async def test_card_on_file_is_charged_at_once(bed: Bed) -> None:
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    begun = await bed.begin("starter")
    assert begun.checkout_url is None
    assert begun.subscription is not None
    assert begun.subscription.status == "active"
    assert (bed.charged_minor(), len(bed.plans())) == (1_900, 1)
    statuses = [session.status for session in bed.client.v1.checkout.sessions.list().data]
    assert statuses == ["expired"], "nobody can pay a second time on the open page"
    await bed.deliver()
    assert len(bed.plans()) == 1


async def test_a_declined_card_on_file_says_why_and_leaves_nothing(bed: Bed) -> None:
    await bed.begin("starter")
    bed.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError) as refused:
        await bed.begin("starter")
    assert "declined" in refused.value.detail
    await bed.deliver()
    assert (await bed.subscription(), bed.plans(), bed.charged_minor()) == (None, [], 0)
    assert bed.rows("SELECT state, problem FROM provider_writes") == [
        ("failed", "payment_declined")
    ]
    bed.use_card("pm_card_visa")
    assert (await bed.begin("starter")).subscription is not None
    assert bed.charged_minor() == 1_900


async def test_a_bank_that_asks_sends_the_customer_to_a_checkout(bed: Bed) -> None:
    await bed.begin("starter")
    bed.use_card("pm_card_authenticationRequired")
    begun = await bed.begin("starter")
    assert begun.subscription is None
    type_card(begun.checkout_url, CHALLENGED)
    await bed.deliver()
    assert (bed.charged_minor(), (await bed.live()).status) == (1_900, "active")


async def test_a_second_subscription_is_refused(bed: Bed) -> None:
    await bed.subscribed()
    with pytest.raises(SubscriptionExistsError):
        await bed.begin("growth")
    await bed.cancel(When.NOW)
    await bed.deliver()
    assert (await bed.begin("growth")).subscription is not None


async def test_two_requests_race_with_a_card_on_file(bed: Bed) -> None:
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    await asyncio.gather(*[bed.begin("starter") for _ in range(4)], return_exceptions=True)
    assert bed.charged_minor() == 1_900
    assert len(bed.subscriptions()) == 1
    assert len(bed.plans()) == 1


async def test_unknown_offer(bed: Bed) -> None:
    with pytest.raises(OfferUnknownError):
        await bed.begin("nothing")
    assert bed.rows("SELECT count(*) FROM provider_customers") == [(0,)]


async def test_a_pack_makes_one_plan_behind_the_subscription_without_an_end(bed: Bed) -> None:
    url = (await bed.begin("pack")).checkout_url
    type_card(url)
    await bed.deliver()
    await bed.subscribed("starter")
    events = list(bed.client.v1.events.list({"limit": 100}).auto_paging_iter())
    assert events
    bed._seen.clear()
    await bed.deliver()
    pack, period = sorted(bed.plans(), key=lambda plan: plan["source"])
    assert (pack["source"], pack["executions"], pack["ends_at"]) == ("pack", 10_000, None)
    assert pack["priority"] > period["priority"]
    assert bed.charged_minor() == 2_500 + 1_900
    accepted(await bed.use(5_001))
    assert [plan["used"] for plan in (pack, period)] == [0, 0]
    used = {plan["source"]: plan["used"] for plan in bed.plans()}
    assert used == {"subscription": 5_000, "pack": 1}
