"""Staff move a subscription to another version: at Stripe, with an audit entry, and back."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import AccountNotFoundError, InvalidInputError
from billing_app.billing.offers.catalogue import OfferUnknownError
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.account_history import read_account_history
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs import service
from billing_app.billing.staff.repairs.moves import (
    MOVE_OFFER,
    Cancellation,
    Move,
    MoveInForceError,
    MovePreview,
    NoSubscriptionError,
    SubscriptionCancelledError,
)
from billing_app.billing.staff.repairs.provider_driver import RequestFailedError
from billing_app.billing.staff.repairs.repair import AlreadyInStateError
from billing_app.billing.staff.repairs.service import carry_out, undo
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.errors import (
    CurrencyDiffersError,
    SameOfferError,
)
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_request_recovery import NeverArrivedError
from billing_app.db.enums import ProviderRequestState, StaffRole, When
from tests import factories
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, HOUR, BillingHarness

pytestmark = pytest.mark.stripe_test_mode

WHY = "Their contract says so"
KEEP = Cancellation.KEEP


@pytest.fixture
def billing(own_database_url: str) -> StaffActor:
    return factories.staff_member(own_database_url, StaffRole.BILLING)


async def move(harness: BillingHarness, actor: StaffActor, offer: str, **more: Any) -> EntryView:
    when, cancellation = more.pop("when", When.PERIOD_END), more.pop("cancellation", KEEP)
    form = Move(offer, more.pop("version", None), when, cancellation)
    return await carry_out(
        harness.services.repairs,
        actor,
        MOVE_OFFER,
        harness.holder.account_id,
        form,
        reason=WHY,
        now=harness.now,
        **more,
    )


async def take_back(
    harness: BillingHarness, actor: StaffActor, entry: EntryView, key: str | None = None
) -> EntryView:
    repairs = harness.services.repairs
    return await undo(repairs, actor, entry.id, reason="No", now=harness.now, key=key)


async def entries(harness: BillingHarness) -> list[tuple[str, str]]:
    where = audit_reading.EntryQuery(account_id=harness.holder.account_id)
    page = await audit_reading.list_entries(harness.services.database, OPERATOR, where)
    return [(entry.action, entry.reason) for entry in page.items]


def second_version(harness: BillingHarness, code: str, price_minor: int) -> None:
    """Version 2 of an offer at a higher price; buyers of version 1 stay on it."""
    with factories.connect(harness.url) as connection:
        connection.execute(
            "INSERT INTO offer_versions (offer_id, version, name, description, executions,"
            " price_minor, currency, interval, overage, trial_days, overage_unit_executions,"
            " priority, created_at)"
            " SELECT offer_id, 2, name, '', executions, %s, currency, interval, 'hard', 0, 1,"
            " priority, now() FROM offer_versions JOIN offers ON offers.id = offer_id"
            " WHERE code = %s",
            [price_minor, code],
        )


async def test_move_is_scheduled_for_period_end(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    second_version(harness, "starter", 2_900)
    entry = await move(harness, billing, "starter", version=2)
    assert (entry.before["offer"], entry.after["when"]) == ("Starter", "period_end")
    waiting = await harness.live()
    assert (waiting.offer.version, waiting.next_offer and waiting.next_offer.version) == (1, 2)
    with pytest.raises(AlreadyInStateError):
        await move(harness, billing, "starter", version=2)
    harness.skip(32 * DAY)
    await harness.deliver()
    assert (await harness.live()).offer.version == 2
    assert harness.charged_minor() == 1_900 + 2_900
    with pytest.raises(MoveInForceError):
        await take_back(harness, billing, entry)
    assert await entries(harness) == [("move_offer", WHY)]
    history = await read_account_history(
        harness.services.database, OPERATOR, harness.holder.account_id
    )
    assert history.items[0].what == "Moved from Starter to Starter at the end of the period"


async def test_scheduled_move_is_withdrawn(harness: BillingHarness, billing: StaffActor) -> None:
    await harness.subscribed("starter")
    first = await move(harness, billing, "growth")
    second = await move(harness, billing, "scale")
    with pytest.raises(MoveInForceError):
        await take_back(harness, billing, first)
    undone = await take_back(harness, billing, second)
    assert undone.undoes == second.id
    waiting = await harness.live()
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == "growth"
    await take_back(harness, billing, first)
    assert (await harness.live()).next_offer is None
    harness.skip(32 * DAY)
    await harness.deliver()
    assert (await harness.live()).offer.code == "starter"


async def test_undoing_a_move_restores_scheduled_cancellation(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    await harness.cancel(When.PERIOD_END)
    with pytest.raises(SubscriptionCancelledError, match="It ends on"):
        await move(harness, billing, "growth")
    assert (await harness.live()).cancel_at_period_end
    entry = await move(harness, billing, "growth", cancellation=Cancellation.WITHDRAW)
    assert not (await harness.live()).cancel_at_period_end
    assert MOVE_OFFER.wording(entry.before, entry.after).endswith("the cancellation was withdrawn")
    await take_back(harness, billing, entry)
    assert (await harness.live()).cancel_at_period_end


@pytest.mark.parametrize("cancellation", Cancellation)
async def test_move_now_treats_a_cancellation_as_reviewed(
    harness: BillingHarness, billing: StaffActor, cancellation: Cancellation
) -> None:
    await harness.subscribed("starter")
    await harness.cancel(When.PERIOD_END)
    cancelled_at = (await harness.live()).ends_at
    found = await preview(harness, billing, "growth", when=When.NOW, cancellation=cancellation)
    assert found.cancelled_at == cancelled_at
    entry = await move(
        harness, billing, "growth", when=When.NOW, cancellation=cancellation, agreed=found
    )
    moved = await harness.live()
    keeps = cancellation is Cancellation.KEEP
    said = MOVE_OFFER.wording(entry.before, entry.after)
    assert said.endswith(f"the cancellation was {'kept' if keeps else 'withdrawn'}")
    assert (moved.offer.code, moved.cancel_at_period_end) == ("growth", keeps)
    assert (found.ends_at is not None, found.next_invoice.amount_minor == 0) == (keeps, keeps)
    if found.ends_at is not None:
        assert abs(moved.ends_at - found.ends_at) < timedelta(minutes=1)
    harness.skip(33 * DAY)
    await harness.deliver()
    assert harness.charged_minor() == 1_900 + found.charged_minor + found.next_invoice.amount_minor


async def test_replaced_change_is_named(harness: BillingHarness, billing: StaffActor) -> None:
    await harness.subscribed("starter")
    await move(harness, billing, "scale")
    for when in When:
        replaced = (await preview(harness, billing, "growth", when=when)).replaces
        assert replaced is not None
        assert replaced.code == "scale"
    entry = await move(harness, billing, "growth", when=When.NOW)
    assert MOVE_OFFER.wording(entry.before, entry.after) == (
        "Moved from Starter to Growth immediately, instead of the scheduled change to Scale"
    )


async def test_move_now_charges_the_difference(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    entry = await move(harness, billing, "growth", when=When.NOW)
    assert (await harness.live()).offer.code == "growth"
    assert harness.charged_minor() == 7_900
    with pytest.raises(MoveInForceError):
        await take_back(harness, billing, entry)


async def test_declined_card_undoes_the_move(harness: BillingHarness, billing: StaffActor) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await move(harness, billing, "growth", when=When.NOW)
    assert (await harness.live()).offer.code == "starter"
    assert await entries(harness) == [
        ("undo", "The payment provider refused the request: The payment was declined"),
        ("move_offer", WHY),
    ]


async def test_move_repeated_after_outage_is_recorded_once(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    await move(harness, billing, "growth")
    await take_back(harness, billing, await move(harness, billing, "scale"))
    harness.sandbox.control(
        "faults", kind="status", path="/v1/subscription_schedules*", times=9, status=503
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await move(harness, billing, "scale")
    harness.sandbox.http.delete("/_sandbox/faults")
    before = await entries(harness)
    entry = await move(harness, billing, "scale")
    assert entry.after["offer"] == "Scale"
    assert await entries(harness) == before
    waiting = await harness.live()
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == "scale"


@pytest.mark.parametrize("who", ["colleague", "customer"])
async def test_move_that_somebody_else_made_is_not_returned_as_ones_own(
    harness: BillingHarness, billing: StaffActor, who: str
) -> None:
    colleague = factories.staff_member(harness.url, StaffRole.BILLING)
    await harness.subscribed("starter")
    await take_back(harness, billing, await move(harness, billing, "growth"))
    harness.sandbox.control(
        "faults", kind="status", path="/v1/subscription_schedules*", times=9, status=503
    )
    is_customer = who == "customer"
    with pytest.raises(PaymentProviderUnavailableError):
        await (
            harness.change("scale", When.PERIOD_END)
            if is_customer
            else move(harness, colleague, "scale")
        )
    harness.sandbox.http.delete("/_sandbox/faults")
    before = await entries(harness)
    with pytest.raises(AlreadyInStateError, match=r"has done the same in the meantime"):
        await move(harness, billing, "scale")
    assert await entries(harness) == before
    next_offer = (await harness.live()).next_offer
    assert next_offer is not None
    assert next_offer.code == "scale"


async def test_request_ends_once_under_its_lock(
    harness: BillingHarness, billing: StaffActor
) -> None:
    """Whoever finds its result last changes nothing, and writes no second entry."""
    await harness.subscribed("starter")
    harness.sandbox.control(
        "faults", kind="status", path="/v1/subscription_schedules*", times=9, status=503
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await move(harness, billing, "growth")
    database, requests = harness.services.database, harness.services.repairs.provider_requests
    async with database.reading() as session:
        [row] = await provider_requests.pending(session)
    async with database.transaction() as session:
        await provider_requests.finish(session, row, ProviderRequestState.DONE, harness.now)
        late = asyncio.create_task(requests._fail(row, NeverArrivedError(), harness.now))
        await asyncio.sleep(0.3)
        assert not late.done()
    assert await late is ProviderRequestState.DONE
    assert await entries(harness) == [("move_offer", WHY)]
    assert harness.rows("SELECT state FROM provider_writes ORDER BY created_at DESC")[0] == (
        "done",
    )


async def test_move_that_never_reached_stripe_is_recorded_as_undone(
    harness: BillingHarness, billing: StaffActor
) -> None:
    """A request whose sender is gone never charges anyone."""
    await harness.subscribed("starter")
    harness.sandbox.control(
        "faults", kind="status", path="/v1/subscriptions/*", times=99, status=503
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await move(harness, billing, "growth", when=When.NOW, key="k")
    assert await entries(harness) == [("move_offer", WHY)]
    harness.sandbox.http.delete("/_sandbox/faults")
    harness.skip(HOUR)
    await harness.reconcile()
    assert await entries(harness) == [
        ("undo", "The request never reached the payment provider"),
        ("move_offer", WHY),
    ]
    with pytest.raises(RequestFailedError) as failed:
        await move(harness, billing, "growth", when=When.NOW, key="k")
    assert failed.value.extensions == {"problem": "never_arrived"}
    assert (await harness.live()).offer.code == "starter"
    assert harness.charged_minor() == 1_900


async def test_repeated_key_returns_result_of_its_move(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await move(harness, billing, "growth", when=When.NOW, key="refused")
    harness.use_card("pm_card_visa")
    with pytest.raises(RequestFailedError) as failed:
        await move(harness, billing, "growth", when=When.NOW, key="refused")
    assert failed.value.extensions == {"problem": "payment_declined"}
    done = await move(harness, billing, "growth", when=When.NOW, key="new")
    assert (await move(harness, billing, "growth", when=When.NOW, key="new")).id == done.id
    assert harness.charged_minor() == 7_900


async def test_repeated_key_with_pending_result_resumes_its_move(
    harness: BillingHarness, billing: StaffActor
) -> None:
    await harness.subscribed("starter")
    fault: dict[str, Any] = {"kind": "status", "path": "/v1/subscription_schedules*", "status": 503}
    harness.sandbox.control("faults", **fault, times=9)
    with pytest.raises(PaymentProviderUnavailableError):
        await move(harness, billing, "growth", key="k")
    harness.sandbox.http.delete("/_sandbox/faults")
    entry = await move(harness, billing, "growth", key="k")
    waiting = await harness.live()
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == "growth"
    harness.sandbox.control("faults", **fault, times=9)
    with pytest.raises(PaymentProviderUnavailableError):
        await take_back(harness, billing, entry, key="back")
    harness.sandbox.http.delete("/_sandbox/faults")
    undone = await take_back(harness, billing, entry, key="back")
    assert (await take_back(harness, billing, entry, key="back")).id == undone.id
    assert (await harness.live()).next_offer is None
    assert await entries(harness) == [("undo", "No"), ("move_offer", WHY)]


async def test_impossible_moves_are_refused(harness: BillingHarness, billing: StaffActor) -> None:
    with pytest.raises(NoSubscriptionError):
        await move(harness, billing, "growth")
    await harness.subscribed("starter")
    for offer, error in (
        ("nothing", OfferUnknownError),
        ("pack", InvalidInputError),
        ("starter", SameOfferError),
        ("euros", CurrencyDiffersError),
    ):
        with pytest.raises(error):
            await move(harness, billing, offer)
    with pytest.raises(OfferUnknownError):
        await move(harness, billing, "starter", version=9)
    with pytest.raises(AccountNotFoundError):
        await carry_out(
            harness.services.repairs,
            billing,
            MOVE_OFFER,
            "acc_" + "f" * 16,
            Move("growth"),
            reason=WHY,
            now=harness.now,
        )
    assert await entries(harness) == []


async def preview(
    harness: BillingHarness, actor: StaffActor, offer: str, **more: Any
) -> MovePreview:
    account_id, form = harness.holder.account_id, Move(offer, **more)
    return await service.preview(
        harness.services.repairs, actor, MOVE_OFFER, account_id, form, harness.now
    )
