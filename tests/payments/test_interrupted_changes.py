"""A request of several calls that is interrupted between them: it is carried out, or everything is
as it was before: the scheduled change, the cancellation, the tax."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import pytest

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.errors import SameOfferError
from billing_app.composition import build_services
from billing_app.db.enums import When
from tests import factories
from tests.payments.billing_harness import DAY, BillingHarness, payment_settings
from tests.payments.test_failed_changes import refuse
from tests.payments.test_faults import ALWAYS_LATER, Act, Purchase, _card, _faults_of
from tests.payments.test_kills import kill_in_the_middle

pytestmark = pytest.mark.stripe_test_mode

CHALLENGED: Final = "pm_card_authenticationRequired"


@pytest.fixture
def impatient(harness: BillingHarness, monkeypatch: pytest.MonkeyPatch) -> BillingHarness:
    """Services that send each request once."""
    from billing_app.payments import calls

    monkeypatch.setattr(calls, "NETWORK_RETRIES", 0)
    harness.services = build_services(payment_settings(harness.sandbox), harness.url)
    return harness


async def _on_growth(harness: BillingHarness) -> None:
    await _card(harness)
    await harness.begin("growth")


async def _waiting(harness: BillingHarness) -> None:
    await _on_growth(harness)
    await harness.change("starter", When.PERIOD_END)


async def _cancelled(harness: BillingHarness) -> None:
    await _on_growth(harness)
    await harness.cancel(When.PERIOD_END)


async def _cancelled_by_date(harness: BillingHarness) -> None:
    await _on_growth(harness)
    found = await harness.live()
    end: Any = {"cancel_at": int(found.period_end.timestamp()) + DAY}
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, end)
    await harness.services.subscriptions.syncing.customer(harness.customer_id(), harness.now)


@dataclass(frozen=True)
class State:
    """What a customer has at Stripe, and what they were charged."""

    offer: str
    then: str | None
    cancelled: bool
    charged_minor: int


async def state(harness: BillingHarness) -> State:
    found = await harness.live()
    then = found.next_offer.code if found.next_offer else None
    return State(found.offer.code, then, found.cancel_at_period_end, harness.charged_minor())


CHANGES: Final[dict[str, tuple[Act, Act]]] = {
    "change now": (_waiting, lambda each: each.change("scale")),
    "cancel": (_waiting, lambda each: each.cancel(When.PERIOD_END)),
    "withdraw": (_waiting, lambda each: each.resume()),
    "another change later": (_waiting, lambda each: each.change("scale", When.PERIOD_END)),
    "change later": (_cancelled, lambda each: each.change("starter", When.PERIOD_END)),
    "change later, ends by date": (
        _cancelled_by_date,
        lambda each: each.change("starter", When.PERIOD_END),
    ),
}


async def _by_reconciliation(harness: BillingHarness) -> None:
    await harness.reconcile()


async def _by_another_request(harness: BillingHarness) -> None:
    """A preview resolves what is pending first; it may be refused itself."""
    with suppress(SameOfferError):
        await harness.preview("scale")


RESOLVED: Final = (_by_reconciliation, _by_another_request)


@pytest.mark.parametrize("name", CHANGES)
async def test_fault_on_any_write_does_it_or_leaves_everything(
    impatient: BillingHarness, name: str
) -> None:
    harness, (prepare, act) = impatient, CHANGES[name]
    harness.holder = factories.organization(harness.url)
    purchase = Purchase(prepare, act, charged_minor=0, live=1, executions=[])
    # Before a call means after the one before it.
    writes = [each for each in await _faults_of(harness, purchase) if each["method"] != "GET"]
    faults = [each for each in writes if each["when"] == "after" or each is writes[0]]
    wanted = await state(harness)
    for fault, resolve in zip(faults, cycle(RESOLVED), strict=False):
        harness.holder, harness.frozen = factories.organization(harness.url), None
        await prepare(harness)
        before = await state(harness)
        harness.sandbox.fault(**fault)
        with suppress(BillingError):
            await act(harness)
        harness.sandbox.http.delete("/_sandbox/faults")
        harness.frozen = harness.now + ALWAYS_LATER
        await resolve(harness)
        await harness.services.subscriptions.syncing.customer(harness.customer_id(), harness.now)
        assert await state(harness) in (before, wanted), f"{fault}"
        assert _pending(harness) == [], f"{fault}"
    assert [each for each in await harness.reconcile() if not each.healed] == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("change now", "/v1/subscription_schedules/*/release"),
        ("cancel", "/v1/subscription_schedules/*/release"),
        ("change later", "/v1/subscriptions/*"),
        ("change later", "/v1/subscription_schedules"),
    ],
)
async def test_killed_between_two_calls_loses_nothing(
    harness: BillingHarness, name: str, path: str
) -> None:
    prepare, act = CHANGES[name]
    await prepare(harness)
    before = await state(harness)
    await asyncio.to_thread(kill_in_the_middle, harness, path, "after", act, "POST")
    assert len(_pending(harness)) == 1
    harness.frozen = harness.now + ALWAYS_LATER
    await _by_another_request(harness)
    assert await state(harness) == before
    assert _pending(harness) == []
    harness.frozen = None
    harness.skip(32 * DAY)
    await harness.deliver()
    assert harness.charged_minor() == (7_900 if before.cancelled else 7_900 + 1_900)
    assert await harness.reconcile() == []


async def test_killed_while_it_puts_back_goes_on_putting_back(harness: BillingHarness) -> None:
    """A request that is being undone is not sent again."""
    await _waiting(harness)
    before = await state(harness)
    refuse(harness, "/v1/subscriptions/*")
    path = "/v1/subscription_schedules"
    await asyncio.to_thread(
        kill_in_the_middle, harness, path, "after", lambda each: each.change("scale"), "POST"
    )
    await harness.preview("scale")
    assert await state(harness) == before
    newest = "SELECT state, problem FROM provider_writes ORDER BY created_at DESC LIMIT 1"
    assert harness.rows(newest) == [("failed", "payment_provider_failed")]
    assert [each for each in await harness.reconcile() if not each.healed] == []


async def test_what_stripe_refuses_to_restore_is_told(harness: BillingHarness) -> None:
    await _waiting(harness)
    refuse(harness, "/v1/subscriptions/*")
    refuse(harness, "/v1/subscription_schedules")
    with suppress(BillingError):
        await harness.change("scale")
    assert _pending(harness) == []
    [told] = [each for each in await harness.reconcile() if each.what == "intent"]
    assert (told.healed, told.account_id) == (False, harness.holder.account_id)


async def test_unmarked_change_after_confirmation_is_found(harness: BillingHarness) -> None:
    """Killed before the change's invoice carries its key: it waits for the customer, not lost."""
    await _on_growth(harness)
    harness.use_card(CHALLENGED)
    path = "/v1/invoices/*"
    await asyncio.to_thread(
        kill_in_the_middle, harness, path, "before", lambda each: each.change("scale"), "POST"
    )
    [(key, _)] = _pending(harness)
    harness.frozen = harness.now + ALWAYS_LATER
    await harness.reconcile()
    assert _pending(harness) == [(key, "change_now")]
    await harness.cancel(When.PERIOD_END)
    assert _pending(harness) == []
    assert (await state(harness)) == State("growth", None, True, 7_900)
    assert [each.status for each in harness.invoices()] == ["paid", "void"]


def _pending(harness: BillingHarness) -> list[tuple[Any, ...]]:
    account = harness.holder.account_number
    return harness.rows(
        "SELECT key, operation FROM provider_writes WHERE state = 'pending'"  # noqa: S608
        f" AND account_id = {account}"
    )
