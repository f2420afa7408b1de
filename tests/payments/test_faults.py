"""Stripe fails at any single call of a purchase, and goes on failing there while the customer tries
again: one wish is charged once, one subscription is live, and words about money are true."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Final

import pytest

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.provider_requests import (
    IN_FLIGHT,
    ProviderRequestPendingError,
)
from billing_app.composition import build_services
from billing_app.db.enums import CheckoutStatus, When
from billing_app.payments import calls
from billing_app.states.error_messages import problem, unexpected_problem
from tests import factories
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness, accepted, payment_settings, type_card
from tests.payments.test_top_ups import order

PACK: Final = 2_500
STARTER: Final = 1_900
GROWTH: Final = 7_900
IDS: Final = re.compile(r"/[a-z]+_[A-Za-z0-9_]+(?=/|$)")
LASTING: Final = 1_000
ALWAYS_LATER: Final = IN_FLIGHT + timedelta(seconds=1)

Act = Callable[[BillingHarness], Awaitable[object]]


@pytest.fixture
def impatient(harness: BillingHarness, monkeypatch: pytest.MonkeyPatch) -> BillingHarness:
    """Services that send each request once."""
    monkeypatch.setattr(calls, "NETWORK_RETRIES", 0)
    harness.services = build_services(payment_settings(harness.sandbox), harness.url)
    return harness


async def _pay_in_checkout(harness: BillingHarness, offer: str) -> None:
    """Buy, pay on Stripe's page, come back. Who sees what they bought does not buy again."""
    if any(plan["source_reference"] for plan in _plans(harness)):
        return
    url = (await harness.begin(offer)).checkout_url
    if url is not None:
        assert type_card(url).status_code == 303
        await _come_back(harness)


async def _come_back(harness: BillingHarness) -> None:
    await harness.services.subscriptions.sync_checkout(
        OPERATOR, harness.holder.account_id, now=harness.now
    )


async def _nothing(_: BillingHarness) -> None:
    """No customer at Stripe yet."""


async def _card(harness: BillingHarness) -> None:
    await harness.services.subscriptions.portal_url(
        OPERATOR, harness.holder.account_id, return_url="http://localhost:3000", now=harness.now
    )
    harness.use_card("pm_card_visa")


async def _on_starter(harness: BillingHarness) -> None:
    await _card(harness)
    await harness.begin("starter")


async def _on_starter_by_checkout(harness: BillingHarness) -> None:
    await _card(harness)
    await harness.begin("pack")


async def _low(harness: BillingHarness) -> None:
    await _on_starter(harness)
    accepted(await harness.use(4_500))
    await order(harness, cap_minor=PACK)


async def _upgrade(harness: BillingHarness) -> None:
    if (await harness.live()).offer.code != "growth":
        preview = await harness.preview("growth")
        await harness.services.subscriptions.change(
            OPERATOR,
            (await harness.live()).id,
            offer_code="growth",
            when=When.NOW,
            now=harness.now,
            agreed=preview,
        )


async def _top_up(harness: BillingHarness) -> None:
    await harness.services.top_ups.run(harness.now)


@dataclass(frozen=True)
class Purchase:
    """`prepare` happens without faults; `act` is repeated by the customer. `live`: subscriptions
    at Stripe afterwards; `executions`: of all plans but the trial."""

    prepare: Act
    act: Act
    charged_minor: int
    live: int
    executions: list[int]


PURCHASES: Final = {
    "checkout": Purchase(
        _nothing, lambda each: _pay_in_checkout(each, "starter"), STARTER, 1, [5_000]
    ),
    "card on file": Purchase(_card, lambda each: each.begin("starter"), STARTER, 1, [5_000]),
    "card on file, checkout open": Purchase(
        _on_starter_by_checkout, lambda each: each.begin("starter"), STARTER, 1, [5_000]
    ),
    "pack": Purchase(_nothing, lambda each: _pay_in_checkout(each, "pack"), PACK, 0, [10_000]),
    "change now": Purchase(_on_starter, _upgrade, GROWTH, 1, [5_000, 30_000]),
    "top-up": Purchase(_low, _top_up, STARTER + PACK, 1, [5_000, 10_000]),
}


@dataclass
class Run:
    """One customer's purchase, with what they were told."""

    harness: BillingHarness
    purchase: Purchase
    told: list[str] = field(default_factory=list[str])

    async def attempt(self) -> None:
        before = _charged(self.harness)
        text = ""
        try:
            await self.purchase.act(self.harness)
        except BillingError as error:
            text = problem(error, charges=True).text
        except Exception:
            text = unexpected_problem(charges=True).text
        if _charged(self.harness) != before:
            assert "othing was charged" not in text
        self.told.append(text)

    def assert_right(self, *, done: bool) -> None:
        if not _has_customer(self.harness):
            assert not done
            return
        charged = _charged(self.harness)
        live = [each for each in self.harness.subscriptions() if each.status == "active"]
        assert charged <= self.purchase.charged_minor
        assert len(live) <= 1
        if done:
            assert (charged, len(live)) == (self.purchase.charged_minor, self.purchase.live)
            assert [plan["executions"] for plan in _plans(self.harness)] == self.purchase.executions


@pytest.mark.parametrize("name", PURCHASES)
async def test_fault_on_any_call_charges_one_wish_once(
    impatient: BillingHarness, name: str
) -> None:
    harness, purchase = impatient, PURCHASES[name]
    for fault in await _faults_of(harness, purchase):
        harness.holder, harness.frozen = factories.organization(harness.url), None
        await purchase.prepare(harness)
        run = Run(harness, purchase)
        harness.sandbox.fault(**fault)
        await run.attempt()
        await run.attempt()
        harness.sandbox.http.delete("/_sandbox/faults")
        run.assert_right(done=False)
        await run.attempt()
        harness.frozen = harness.now + ALWAYS_LATER
        await run.attempt()
        try:
            run.assert_right(done=True)
        except AssertionError as error:
            raise AssertionError(f"{fault}: {run.told}") from error


async def _faults_of(harness: BillingHarness, purchase: Purchase) -> list[dict[str, Any]]:
    """For each call of an undisturbed purchase, a fault that begins there and lasts: before its
    effect, and after it where it writes."""
    harness.holder = factories.organization(harness.url)
    await purchase.prepare(harness)
    before = len(harness.sandbox.requests())
    await purchase.act(harness)
    sent = [(each["method"], each["path"]) for each in harness.sandbox.requests()[before:]]
    faults: list[dict[str, Any]] = []
    for place, (method, path) in enumerate(sent):
        glob = IDS.sub("/*", path)
        earlier = [
            each for each in sent[:place] if each[0] == method and fnmatchcase(each[1], glob)
        ]
        faults.extend(
            {"kind": "status", "status": 500, "method": method, "path": glob, "when": when,
             "skip": len(earlier), "times": LASTING}
            for when in (["before"] if method == "GET" else ["before", "after"])
        )  # fmt: skip
    assert faults
    return faults


def _charged(harness: BillingHarness) -> int:
    """Counted at Stripe beside the faults."""
    if not _has_customer(harness):
        return 0
    faults = harness.sandbox.http.get("/_sandbox/faults").json()["faults"]
    harness.sandbox.http.delete("/_sandbox/faults")
    charged = harness.charged_minor()
    for fault in faults:
        harness.sandbox.fault(**fault)
    return charged


def _has_customer(harness: BillingHarness) -> bool:
    account = harness.holder.account_number
    query = f"SELECT 1 FROM provider_customers WHERE account_id = {account}"  # noqa: S608
    return bool(harness.rows(query))


def _plans(harness: BillingHarness) -> list[dict[str, Any]]:
    account = harness.holder.account_number
    found = harness.rows(
        "SELECT executions, source_reference FROM plans WHERE source <> 'bridge' AND"  # noqa: S608
        f" account_id = {account} ORDER BY sequence"
    )
    return [{"executions": row[0], "source_reference": row[1]} for row in found]


async def test_paid_checkout_that_cannot_be_applied_blocks_every_purchase(
    impatient: BillingHarness,
) -> None:
    """The case of the issue: Stripe's charges cannot be read while a new customer pays."""
    harness = impatient
    type_card((await harness.begin("starter")).checkout_url)
    harness.sandbox.fault(
        kind="status", status=500, method="GET", path="/v1/invoices", times=LASTING
    )
    with suppress(BillingError):
        await _come_back(harness)
    for offer in ("starter", "growth", "pack"):
        with pytest.raises(ProviderRequestPendingError, match="has been paid"):
            await harness.begin(offer)
    subscriptions = harness.services.subscriptions
    seen = await subscriptions.last_checkout(OPERATOR, harness.holder.account_id)
    assert seen is not None
    assert (seen.status, seen.url) == (CheckoutStatus.CONFIRMING, None)
    harness.sandbox.http.delete("/_sandbox/faults")
    await harness.deliver()
    assert (harness.charged_minor(), len(harness.subscriptions())) == (STARTER, 1)
    seen = await subscriptions.last_checkout(OPERATOR, harness.holder.account_id)
    assert seen is not None
    assert (seen.status, seen.is_paid) == (CheckoutStatus.COMPLETE, True)


async def test_reconciliation_applies_a_paid_checkout(impatient: BillingHarness) -> None:
    harness = impatient
    type_card((await harness.begin("starter")).checkout_url)
    harness.sandbox.fault(kind="status", status=500, method="GET", path="/v1/invoices", times=1)
    with suppress(BillingError):
        await _come_back(harness)
    assert harness.rows("SELECT status FROM checkouts") == [("confirming",)]
    found = await harness.reconcile()
    assert {each.healed for each in found if each.what == "subscription"} == {True}
    assert harness.rows("SELECT status FROM checkouts") == [("complete",)]
    assert (await harness.live()).offer.code == "starter"


async def test_live_subscription_of_stripe_is_applied_before_anything_is_charged(
    harness: BillingHarness,
) -> None:
    """It was made while its events were lost."""
    await _card(harness)
    await harness.begin("starter")
    harness.rows("DELETE FROM subscriptions RETURNING 1")
    for offer in ("starter", "growth"):
        with pytest.raises(BillingError) as refused:
            await harness.begin(offer)
        assert refused.value.code == "subscription_exists"
    assert (harness.charged_minor(), len(harness.subscriptions())) == (STARTER, 1)
    assert (await harness.live()).offer.code == "starter"
