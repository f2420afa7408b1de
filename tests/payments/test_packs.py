"""Packs: their expiry, the order of use, and the terms that an offer may have."""

from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import (
    OfferTerms,
    OverageTerms,
    check_terms,
    list_offers,
    publish_offer,
)
from billing_app.db.enums import Interval
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, BillingHarness, accepted, type_card

pytestmark = pytest.mark.stripe_test_mode

PACK = OfferTerms("Pack", "", 100, 500, "USD", Interval.ONCE)


async def publish(harness: BillingHarness, code: str, **terms: Any) -> None:
    said = OfferTerms(
        **{
            "name": code,
            "description": "",
            "executions": 100,
            "price_minor": 500,
            "currency": "USD",
            "interval": Interval.ONCE,
        }
        | terms
    )
    await publish_offer(harness.services.database, OPERATOR, code=code, terms=said, now=harness.now)


async def buy(harness: BillingHarness, code: str) -> None:
    assert type_card((await harness.begin(code)).checkout_url).status_code in (200, 303)
    await harness.deliver()


async def test_pack_expires_and_is_used_by_priority(
    harness: BillingHarness,
) -> None:
    await publish(harness, "lasting")
    await publish(harness, "first", priority=50, valid_days=30)
    await buy(harness, "lasting")
    await buy(harness, "first")
    lasting, first = harness.plans()
    assert (lasting["priority"], lasting["ends_at"]) == (200, None)
    assert first["priority"] == 50
    assert first["ends_at"] == first["starts_at"] + timedelta(days=30)
    accepted(await harness.use(60))
    assert [plan["used"] for plan in harness.plans()] == [0, 60]
    harness.skip(31 * DAY)
    accepted(await harness.use(100))
    assert [plan["used"] for plan in harness.plans()] == [100, 60]
    assert await harness.denied() == "insufficient_executions"


async def test_subscription_is_used_before_packs_by_default(
    harness: BillingHarness,
) -> None:
    await publish(harness, "first", priority=50)
    await publish(harness, "later", priority=150)
    await harness.subscribed("starter")
    await buy(harness, "later")
    await buy(harness, "first")
    accepted(await harness.use(5_150))
    assert {plan["name"]: plan["used"] for plan in harness.plans()} == {
        "first": 100,
        "Starter": 5_000,
        "later": 50,
    }


async def test_catalogue_shows_soft_limit_terms(harness: BillingHarness) -> None:
    soft = OverageTerms(unit_price_minor=40, unit_executions=100, limit_executions=1_000)
    await publish(harness, "soft", interval=Interval.MONTH, overage=soft, trial_days=14)
    found = {offer.code: offer for offer in await list_offers(harness.services.database)}["soft"]
    assert (found.overage, found.trial_days, found.priority) == (soft, 14, 100)
    assert [soft.cost_minor(used) for used in (0, 1, 100, 101)] == [0, 40, 40, 80]


@pytest.mark.parametrize(
    "change",
    [
        {"overage": OverageTerms(1)},
        {"trial_days": 1},
        {"valid_days": 0},
        {"interval": Interval.MONTH, "valid_days": 30},
        {"interval": Interval.MONTH, "trial_days": 731},
        {"interval": Interval.MONTH, "overage": OverageTerms(0)},
        {"interval": Interval.MONTH, "overage": OverageTerms(1, 0)},
        {"interval": Interval.MONTH, "overage": OverageTerms(1, 1, 0)},
        {"priority": 1_000},
        {"priority": 0},
        {"executions": 0},
        {"name": " "},
    ],
)
def test_invalid_terms_are_refused(change: dict[str, Any]) -> None:
    values = {name: getattr(PACK, name) for name in OfferTerms.__slots__}
    check_terms(OfferTerms(**values))
    with pytest.raises(InvalidInputError):
        check_terms(OfferTerms(**values | change))
