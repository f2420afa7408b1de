"""What becomes of debits after the bank has decided: several at once, money that goes back, and
databases that are copied."""

import pytest

from billing_app.db.enums import When
from billing_app.jobs import mail
from billing_app.states.payment_words import debit_messages
from tests.factories import OPERATOR
from tests.payments import test_pack_purchases as packs
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, accepted
from tests.payments.database_copies import Copies
from tests.payments.test_debit_outcomes import (
    Outbox,
    decided,
    differences,
    first,
    invoice_status,
    summary_of,
)
from tests.payments.test_overage import soft
from tests.payments.test_slow_debits import use_bank_account

__all__ = ["first", "soft"]


async def titles(harness: BillingHarness) -> list[str]:
    return [message.title for message in debit_messages(await summary_of(harness))]


async def buy_pack(harness: BillingHarness, card: str) -> str:
    """The payment that the bank is asked for."""
    order = await packs.order(harness, card)
    account_id = harness.holder.account_id
    await harness.services.subscriptions.packs.buy(OPERATOR, account_id, order, harness.now)
    await harness.deliver()
    harness.skip(HOUR)
    intents = harness.client.v1.payment_intents.list({"customer": harness.customer_id()})
    return next(each.id for each in intents.data if each.status == "processing")


async def decide_on(harness: BillingHarness, payment: str, *, succeeds: bool) -> None:
    harness.sandbox.control("debits", payment_intent=payment, succeeds=succeeds)
    await harness.deliver()
    await harness.deliver()


async def test_debit_that_fails_beside_another_one_is_told(harness: BillingHarness) -> None:
    """Both were ordered: that one is still asked for, or paid, takes nothing back."""
    await harness.subscribed("starter")
    card = use_bank_account(harness)
    older, newer = await buy_pack(harness, card), await buy_pack(harness, card)
    asked, failed = "Your bank has been asked for $25.00", "Your bank did not pay $25.00 for Pack"
    assert await titles(harness) == [asked, asked]
    await decide_on(harness, older, succeeds=False)
    assert await titles(harness) == [failed, asked]
    await decide_on(harness, newer, succeeds=True)
    assert await titles(harness) == [failed, "Your bank has paid $25.00"]
    await buy_pack(harness, card)
    assert await titles(harness) == ["Your bank has paid $25.00", asked]
    assert harness.charged_minor() == 1_900 + 2_500
    assert await differences(harness) == []


async def test_disputed_debit_is_not_told_as_available(first: BillingHarness) -> None:
    await decided(first, succeeds=True)
    assert await titles(first) == ["Your bank has paid $19.00"]
    first.sandbox.control("disputes", charge=first.charges()[0].id)
    await first.deliver()
    assert await first.denied() != ""
    assert await titles(first) == []
    assert await differences(first) == []


async def test_refunded_debit_is_not_told_as_paid(first: BillingHarness) -> None:
    await decided(first, succeeds=True)
    first.client.v1.refunds.create({"charge": first.charges()[0].id})
    await first.deliver()
    assert await titles(first) == []
    assert await differences(first) == []


async def test_copied_database_mails_nobody_about_debits(
    first: BillingHarness, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decided(first, succeeds=True)
    copy = await copies.of(first)
    outbox = Outbox()
    monkeypatch.setattr(mail, "get_mail_queue", lambda: outbox)
    for harness, count in ((copy, 0), (first, 1)):
        services = harness.services
        monkeypatch.setattr(mail, "get_services", lambda services=services: services)
        assert await mail.queue_bank_decisions(harness.now) == count
    assert len(outbox.queued) == 1


@pytest.mark.parametrize("succeeds", [True, False])
async def test_debit_for_executions_beyond_the_plan_adds_none(
    soft: BillingHarness, succeeds: bool
) -> None:
    """They were used before, and what the bank does not pay stays owed."""
    await soft.subscribed("soft")
    use_bank_account(soft)
    accepted(await soft.use(1_300))
    await soft.cancel(When.NOW)
    soft.skip(2 * DAY)
    await soft.deliver()
    assert await soft.services.settlements.run(soft.now) == 1
    summary = await summary_of(soft)
    (asked,) = debit_messages(summary)
    assert asked.title == "Your bank has been asked for $1.50"
    assert asked.text == (
        "This can take a few days. It pays for executions that were used beyond the plan."
    )
    assert summary.awaited_debit is None
    await decided(soft, succeeds=succeeds)
    (told,) = debit_messages(await summary_of(soft))
    if succeeds:
        assert told.text == "The executions used beyond the plan are paid."
    else:
        assert told.title == "Your bank did not pay $1.50 for executions beyond the plan"
        assert told.text == "Nothing was charged. Pay the invoice to settle it."
        assert invoice_status(soft) == "open"
