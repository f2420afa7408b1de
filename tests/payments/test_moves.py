"""Staff move a subscription to another version: at Stripe, with an entry, and back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import AccountNotFoundError, InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OfferUnknownError, publish_offer
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.account_history import read_account_history
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs import undo
from billing_app.billing.staff.repairs.moves import (
    MoveInForceError,
    MovePreview,
    NoSubscriptionError,
)
from billing_app.billing.staff.repairs.provider_results import RequestFailedError
from billing_app.billing.staff.repairs.repairs import AlreadySoError
from billing_app.billing.subscriptions.provider import (
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.quotes import QUOTE_STANDS, QuoteOutdatedError
from billing_app.billing.subscriptions.rules import CurrencyDiffersError, SameOfferError
from billing_app.db.enums import Interval, StaffRole, When
from tests import factories
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, HOUR, Bed, accepted
from tests.payments.test_overage import SOFT
from tests.payments.test_overage_reports import begun, renew, report

WHY = "Their contract says so"


@pytest.fixture
def billing(own_database_url: str) -> StaffActor:
    return factories.staff_member(own_database_url, StaffRole.BILLING)


async def move(bed: Bed, actor: StaffActor, offer: str, **more: Any) -> EntryView:
    values: dict[str, Any] = {"offer_code": offer, "reason": WHY, "now": bed.now}
    return await bed.services.moves.move_offer(actor, bed.holder.account_id, **values | more)


async def take_back(
    bed: Bed, actor: StaffActor, entry: EntryView, key: str | None = None
) -> EntryView:
    undoing = bed.services.undoing
    return await undo.undo(undoing, actor, entry.id, reason="No", now=bed.now, key=key)


async def entries(bed: Bed) -> list[tuple[str, str]]:
    where = audit_reading.EntryQuery(account_id=bed.holder.account_id)
    page = await audit_reading.list_entries(bed.services.database, OPERATOR, where)
    return [(entry.action, entry.reason) for entry in page.items]


def second_version(bed: Bed, code: str, price_minor: int) -> None:
    """Version 2 of an offer, dearer; who bought the first stays on it."""
    with factories.connect(bed.url) as connection:
        connection.execute(
            "INSERT INTO offer_versions (offer_id, version, name, description, executions,"
            " price_minor, currency, interval, overage, trial_days, overage_unit_executions,"
            " priority, created_at)"
            " SELECT offer_id, 2, name, '', executions, %s, currency, interval, 'hard', 0, 1,"
            " priority, now() FROM offer_versions JOIN offers ON offers.id = offer_id"
            " WHERE code = %s",
            [price_minor, code],
        )


async def test_a_move_waits_for_the_end_of_the_period(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    second_version(bed, "starter", 2_900)
    entry = await move(bed, billing, "starter", version=2)
    assert (entry.before["offer"], entry.after["when"]) == ("Starter", "period_end")
    waiting = await bed.live()
    assert (waiting.offer.version, waiting.next_offer and waiting.next_offer.version) == (1, 2)
    with pytest.raises(AlreadySoError):
        await move(bed, billing, "starter", version=2)
    bed.skip(32 * DAY)
    await bed.deliver()
    assert (await bed.live()).offer.version == 2
    assert bed.charged_minor() == 1_900 + 2_900
    with pytest.raises(MoveInForceError):
        await take_back(bed, billing, entry)
    assert await entries(bed) == [("move_offer", WHY)]
    history = await read_account_history(bed.services.database, OPERATOR, bed.holder.account_id)
    assert history.items[0].what == "Moved from Starter to Starter when the period ends"


async def test_a_move_that_waits_is_taken_back(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    first = await move(bed, billing, "growth")
    second = await move(bed, billing, "scale")
    with pytest.raises(MoveInForceError):
        await take_back(bed, billing, first)
    undone = await take_back(bed, billing, second)
    assert undone.undoes == second.id
    waiting = await bed.live()
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == "growth"
    await take_back(bed, billing, first)
    assert (await bed.live()).next_offer is None
    bed.skip(32 * DAY)
    await bed.deliver()
    assert (await bed.live()).offer.code == "starter"


async def test_a_cancellation_that_waited_waits_again(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    await bed.cancel(When.PERIOD_END)
    entry = await move(bed, billing, "growth")
    assert not (await bed.live()).cancel_at_period_end
    await take_back(bed, billing, entry)
    assert (await bed.live()).cancel_at_period_end


async def test_a_move_now_charges_the_difference(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    entry = await move(bed, billing, "growth", when=When.NOW)
    assert (await bed.live()).offer.code == "growth"
    assert bed.charged_minor() == 7_900
    with pytest.raises(MoveInForceError):
        await take_back(bed, billing, entry)


async def test_a_refused_card_undoes_the_move(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    bed.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await move(bed, billing, "growth", when=When.NOW)
    assert (await bed.live()).offer.code == "starter"
    assert await entries(bed) == [
        ("undo", "The payment provider refused: The payment was declined"),
        ("move_offer", WHY),
    ]


async def test_when_stripe_is_down_the_move_is_repeated_and_told_once(
    bed: Bed, billing: StaffActor
) -> None:
    await bed.subscribed("starter")
    await move(bed, billing, "growth")
    await take_back(bed, billing, await move(bed, billing, "scale"))
    bed.sandbox.control(
        "faults", kind="status", path="/v1/subscription_schedules*", times=9, status=503
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await move(bed, billing, "scale")
    bed.sandbox.http.delete("/_sandbox/faults")
    before = await entries(bed)
    entry = await move(bed, billing, "scale")
    assert entry.after["offer"] == "Scale"
    assert await entries(bed) == before
    waiting = await bed.live()
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == "scale"


async def test_a_move_that_never_reached_stripe_is_written_down_as_undone(
    bed: Bed, billing: StaffActor
) -> None:
    """Nobody is charged for a request whose sender has long gone away."""
    await bed.subscribed("starter")
    bed.sandbox.control("faults", kind="status", path="/v1/subscriptions/*", times=99, status=503)
    with pytest.raises(PaymentProviderUnavailableError):
        await move(bed, billing, "growth", when=When.NOW, key="k")
    assert await entries(bed) == [("move_offer", WHY)]
    bed.sandbox.http.delete("/_sandbox/faults")
    bed.skip(HOUR)
    await bed.reconcile()
    assert await entries(bed) == [("undo", "The request never arrived"), ("move_offer", WHY)]
    with pytest.raises(RequestFailedError) as failed:
        await move(bed, billing, "growth", when=When.NOW, key="k")
    assert failed.value.facts == {"problem": "never_arrived"}
    assert (await bed.live()).offer.code == "starter"
    assert bed.charged_minor() == 1_900


async def test_a_key_is_answered_with_what_became_of_its_move(
    bed: Bed, billing: StaffActor
) -> None:
    await bed.subscribed("starter")
    bed.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(PaymentDeclinedError):
        await move(bed, billing, "growth", when=When.NOW, key="refused")
    bed.use_card("pm_card_visa")
    with pytest.raises(RequestFailedError) as failed:
        await move(bed, billing, "growth", when=When.NOW, key="refused")
    assert failed.value.facts == {"problem": "payment_declined"}
    done = await move(bed, billing, "growth", when=When.NOW, key="new")
    assert (await move(bed, billing, "growth", when=When.NOW, key="new")).id == done.id
    assert bed.charged_minor() == 7_900


async def test_a_key_whose_outcome_is_open_takes_its_move_up_again(
    bed: Bed, billing: StaffActor
) -> None:
    await bed.subscribed("starter")
    fault: dict[str, Any] = {"kind": "status", "path": "/v1/subscription_schedules*", "status": 503}
    bed.sandbox.control("faults", **fault, times=9)
    with pytest.raises(PaymentProviderUnavailableError):
        await move(bed, billing, "growth", key="k")
    bed.sandbox.http.delete("/_sandbox/faults")
    entry = await move(bed, billing, "growth", key="k")
    waiting = await bed.live()
    assert waiting.next_offer is not None
    assert waiting.next_offer.code == "growth"
    bed.sandbox.control("faults", **fault, times=9)
    with pytest.raises(PaymentProviderUnavailableError):
        await take_back(bed, billing, entry, key="back")
    bed.sandbox.http.delete("/_sandbox/faults")
    undone = await take_back(bed, billing, entry, key="back")
    assert (await take_back(bed, billing, entry, key="back")).id == undone.id
    assert (await bed.live()).next_offer is None
    assert await entries(bed) == [("undo", "No"), ("move_offer", WHY)]


async def test_what_cannot_be_moved(bed: Bed, billing: StaffActor) -> None:
    with pytest.raises(NoSubscriptionError):
        await move(bed, billing, "growth")
    await bed.subscribed("starter")
    for offer, error in (
        ("nothing", OfferUnknownError),
        ("pack", InvalidInputError),
        ("starter", SameOfferError),
        ("euros", CurrencyDiffersError),
    ):
        with pytest.raises(error):
            await move(bed, billing, offer)
    with pytest.raises(OfferUnknownError):
        await move(bed, billing, "starter", version=9)
    with pytest.raises(AccountNotFoundError):
        await bed.services.moves.move_offer(
            billing, "acc_" + "f" * 16, offer_code="growth", reason=WHY, now=bed.now
        )
    assert await entries(bed) == []


async def preview(bed: Bed, actor: StaffActor, offer: str, **more: Any) -> MovePreview:
    values: dict[str, Any] = {"offer_code": offer, "now": bed.now}
    return await bed.services.moves.preview_move(actor, bed.holder.account_id, **values | more)


@pytest.mark.parametrize("used", [0, 1_300, 5_000])
async def test_the_previewed_charge_is_what_is_invoiced(
    bed: Bed, billing: StaffActor, used: int
) -> None:
    await bed.subscribed("starter")
    if used:
        accepted(await bed.use(used))
    before = bed.snapshot()
    found = await preview(bed, billing, "growth", when=When.NOW)
    assert bed.snapshot() == before
    assert await entries(bed) == []
    assert (found.old.code, found.change.offer.code) == ("starter", "growth")
    accepted(await bed.use(700)) if used < 5_000 else None
    entry = await move(bed, billing, "growth", when=When.NOW, agreed=found.change)
    newest = bed.invoices()[-1]
    assert newest.amount_due == found.charged_minor
    assert newest.amount_paid == found.charged_minor
    assert sum(line.amount_minor for line in found.change.lines) == found.charged_minor
    assert bed.charged_minor() == 1_900 + found.charged_minor
    assert entry.after["charged_minor"] == found.charged_minor
    renewed = await bed.live()
    assert abs(renewed.period_end - found.next_invoice.at) < timedelta(minutes=1)
    bed.skip((found.next_invoice.at - bed.now).total_seconds() + DAY)
    await bed.deliver()
    assert bed.invoices()[-1].amount_due == found.next_invoice.amount_minor
    assert bed.charged_minor() == 1_900 + found.charged_minor + found.next_invoice.amount_minor


async def test_the_previewed_next_invoice_is_what_comes(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    found = await preview(bed, billing, "growth")
    assert (found.charged_minor, found.when) == (0, When.PERIOD_END)
    await move(bed, billing, "growth", agreed=found.change)
    assert bed.charged_minor() == 1_900
    bed.skip((found.next_invoice.at - bed.now).total_seconds() + DAY)
    await bed.deliver()
    assert bed.charged_minor() == 1_900 + found.next_invoice.amount_minor


async def test_what_was_agreed_to_does_not_stand_for_ever(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    found = await preview(bed, billing, "growth", when=When.NOW)
    outdated = replace(found.change, quoted_at=bed.now - QUOTE_STANDS - timedelta(seconds=1))
    with pytest.raises(QuoteOutdatedError):
        await move(bed, billing, "growth", when=When.NOW, agreed=outdated)
    second_version(bed, "growth", 9_900)
    with pytest.raises(QuoteOutdatedError):
        await move(bed, billing, "growth", when=When.NOW, agreed=found.change)
    assert (await bed.live()).offer.code == "starter"
    assert bed.charged_minor() == 1_900
    assert await entries(bed) == []


async def test_a_trial_that_is_moved_now_is_charged_in_full(bed: Bed, billing: StaffActor) -> None:
    terms = OfferTerms("Tried", "", 5_000, 1_900, "USD", Interval.MONTH, trial_days=14)
    database = bed.services.database
    await publish_offer(database, OPERATOR, code="tried", terms=terms, now=bed.now)
    await bed.subscribed("tried")
    found = await preview(bed, billing, "growth", when=When.NOW)
    assert (found.charged_minor, found.change.credit_minor) == (7_900, 0)
    await move(bed, billing, "growth", when=When.NOW, agreed=found.change)
    assert bed.charged_minor() == 7_900


async def test_without_an_answer_nothing_is_previewed(bed: Bed, billing: StaffActor) -> None:
    await bed.subscribed("starter")
    bed.sandbox.control("faults", kind="status", path="/v1/invoices*", times=99, status=503)
    with pytest.raises(PaymentProviderUnavailableError):
        await preview(bed, billing, "growth", when=When.NOW)
    later = await preview(bed, billing, "growth")
    assert later.next_invoice.amount_minor == 7_900
    bed.sandbox.http.delete("/_sandbox/faults")
    assert (await preview(bed, billing, "growth", when=When.NOW)).charged_minor == 6_000
    assert await entries(bed) == []


async def test_what_cannot_be_moved_is_not_previewed(bed: Bed, billing: StaffActor) -> None:
    with pytest.raises(NoSubscriptionError):
        await preview(bed, billing, "growth")
    await bed.subscribed("starter")
    for when in When:
        for offer, error in (
            ("nothing", OfferUnknownError),
            ("pack", InvalidInputError),
            ("starter", SameOfferError),
            ("euros", CurrencyDiffersError),
        ):
            with pytest.raises(error):
                await preview(bed, billing, offer, when=when)
    await move(bed, billing, "growth")
    with pytest.raises(AlreadySoError):
        await preview(bed, billing, "growth")


async def soft_and_over(bed: Bed) -> None:
    """On a plan with a soft limit, 640 executions beyond it."""
    await publish_offer(bed.services.database, OPERATOR, code="soft", terms=SOFT, now=bed.now)
    await begun(bed, "soft")
    accepted(await bed.use(1_640))


async def test_a_move_now_bills_what_was_used_beyond(bed: Bed, billing: StaffActor) -> None:
    await soft_and_over(bed)
    found = await preview(bed, billing, "growth", when=When.NOW)
    assert (found.change.overage_executions, found.change.overage_minor) == (640, 350)
    assert found.charged_minor == 7_900 + 350
    assert found.next_invoice.overage_minor == 0
    accepted(await bed.use(10))
    await move(bed, billing, "growth", when=When.NOW, agreed=found.change)
    assert bed.charged_minor() == 1_000 + found.charged_minor


async def test_the_next_invoice_tells_of_what_was_used_beyond(
    bed: Bed, billing: StaffActor
) -> None:
    await soft_and_over(bed)
    found = await preview(bed, billing, "growth")
    assert found.next_invoice.overage_minor == 350
    await move(bed, billing, "growth", agreed=found.change)
    bed.skip(HOUR)
    await report(bed)
    await renew(bed)
    charged = bed.charged_minor() - 1_000
    assert charged == found.next_invoice.amount_minor + found.next_invoice.overage_minor
