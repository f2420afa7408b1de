"""Purchases by bank debit, from the order to the bank's decision: what people have, and what they
are told on the page, over the API and by mail."""

from typing import Any

import pytest
import stripe

from billing_app.billing.mail import Mail
from billing_app.billing.subscriptions import debit_mails
from billing_app.billing.subscriptions.account_summary import AccountSummary, read_summary
from billing_app.billing.subscriptions.bank_debits import PaidFor
from billing_app.billing.subscriptions.provider_requests import ProviderRequestPendingError
from billing_app.billing.subscriptions.purchase_outcomes import PaymentState
from billing_app.billing.subscriptions.top_ups import DEBIT_FAILED
from billing_app.db.enums import When
from billing_app.db.tables import BillingDetails
from billing_app.payments.comparison import Difference
from billing_app.states import offer_dialogs, payments
from billing_app.states.payment_words import debit_messages
from tests.factories import OPERATOR
from tests.payments import test_pack_purchases as packs
from tests.payments import test_top_ups as top_ups
from tests.payments.billing_harness import DAY, BillingHarness, accepted, type_card
from tests.payments.test_slow_debits import BANK_ACCOUNT, debits, decide, use_bank_account


async def summary_of(harness: BillingHarness) -> AccountSummary:
    database, account_id = harness.services.database, harness.holder.account_id
    return await read_summary(database, OPERATOR, account_id, harness.now)


async def told(harness: BillingHarness) -> tuple[str, str]:
    """The page's message about a debit; ("", "") without one."""
    messages = debit_messages(await summary_of(harness))
    assert len(messages) < 2
    return (messages[0].title, messages[0].text) if messages else ("", "")


class Outbox:
    """Implements billing's DecisionQueue and Mailer: keeps what would be sent."""

    def __init__(self) -> None:
        self.queued: list[tuple[int, str]] = []
        self.mails: list[Mail] = []

    async def bank_decision(self, session: object, account_id: int, invoice_id: str) -> None:
        assert session
        self.queued.append((account_id, invoice_id))

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


async def mailed(harness: BillingHarness) -> list[Mail]:
    """What is mailed now; it is queued once."""
    outbox, database = Outbox(), harness.services.database
    row = BillingDetails(account_id=harness.holder.account_number, email="books@example.com")
    async with database.transaction() as session:
        await session.merge(row)
    await debit_mails.queue_decisions(database, outbox, harness.now)
    for account_id, invoice_id in outbox.queued:
        await debit_mails.mail_decision(
            database,
            outbox,
            account_id=account_id,
            invoice_id=invoice_id,
            site="https://billing.test",
            now=harness.now,
        )
    return outbox.mails


async def differences(harness: BillingHarness) -> list[Difference]:
    """Without those of the billing address, which `mailed` sets."""
    return [each for each in await harness.reconcile() if each.what != "details"]


def invoice_status(harness: BillingHarness) -> str:
    return str(harness.invoices()[-1].status)


def audited(harness: BillingHarness) -> list[str]:
    rows = harness.rows("SELECT action FROM audit_entries WHERE role = 'system' ORDER BY id")
    return [action for (action,) in rows]


async def decided(harness: BillingHarness, *, succeeds: bool) -> None:
    harness.skip(2 * DAY)
    await harness.deliver()
    decide(harness, succeeds=succeeds)
    await harness.deliver()
    await harness.deliver()  # what the first delivery caused


@pytest.fixture
async def first(harness: BillingHarness) -> BillingHarness:
    """A first subscription that is being debited."""
    await harness.begin("starter")
    use_bank_account(harness)
    begun = await harness.begin("starter")
    assert begun.subscription is not None
    summary = await summary_of(harness)
    said = offer_dialogs.subscribed(begun.subscription, summary, 1_900)
    assert said.title == "Your bank has been asked for $19.00"
    assert begun.subscription.payment is not None
    assert begun.subscription.payment.state is PaymentState.BANK_ASKED
    return harness


@pytest.fixture
async def changing(harness: BillingHarness) -> BillingHarness:
    """A change from Starter to Growth that is being debited."""
    await harness.subscribed("starter")
    use_bank_account(harness)
    accepted(await harness.use(1_000))
    preview = await harness.preview("growth")
    after = await harness.change("growth")
    said = offer_dialogs.changed(after, preview, await summary_of(harness))
    assert said.title == f"Your bank has been asked for ${preview.amount_due_minor / 100:.2f}"
    assert said.text == (
        "This can take a few days. Growth starts as soon as your bank has paid. Until then you can"
        " use what you have now."
    )
    return harness


async def test_first_subscription_waits_for_the_bank(first: BillingHarness) -> None:
    assert await told(first) == (
        "Your bank has been asked for $19.00",
        "This can take a few days. Starter starts as soon as your bank has paid.",
    )
    summary = await summary_of(first)
    assert payments.terms_of(summary).text == "Starts as soon as your bank has paid $19.00."
    assert await first.denied() == "plan_not_found"
    assert (first.plans(), await mailed(first)) == ([], [])
    await decided(first, succeeds=True)
    assert await told(first) == (
        "Your bank has paid $19.00",
        "Starter is available, with 5,000 executions.",
    )
    assert await first.denied() == ""
    (mail,) = await mailed(first)
    assert mail.subject == "Paid: Starter"
    assert await mailed(first) == []
    assert audited(first) == ["debit_paid"]
    assert await differences(first) == []


async def test_first_subscription_that_the_bank_refuses_stays_payable(
    first: BillingHarness,
) -> None:
    await decided(first, succeeds=False)
    title, text = await told(first)
    assert title == "Your bank did not pay $19.00 for Starter"
    assert text == "Nothing was charged. Starter starts as soon as the invoice is paid."
    assert debit_messages(await summary_of(first))[0].url_label == "Pay $19.00"
    assert invoice_status(first) == "open"
    assert (first.charged_minor(), first.plans()) == (0, [])
    (mail,) = await mailed(first)
    assert mail.subject == "Your bank did not pay for Starter"
    assert "Nothing was charged." in mail.text
    assert (first.invoices()[-1].hosted_invoice_url or "?") in mail.text
    assert audited(first) == ["debit_failed"]
    method = first.use_card("pm_card_visa")
    first.client.v1.invoices.pay(first.invoices()[-1].id or "", {"payment_method": method})
    await first.deliver()
    assert await told(first) == ("", "")
    assert (await first.current()).executions_remaining == 5_000
    assert await differences(first) == []


async def test_change_waits_for_the_bank(changing: BillingHarness) -> None:
    """What they had can be used until then, and what is used counts against what they get."""
    due_minor = (await summary_of(changing)).debits[0].outcome.amount
    assert due_minor is not None
    assert (await changing.current()).executions_remaining == 4_000
    accepted(await changing.use(500))
    await decided(changing, succeeds=True)
    assert await told(changing) == (
        f"Your bank has paid ${due_minor.minor / 100:.2f}",
        "Growth is available, with 29,500 executions.",
    )
    ended = [plan["ended_because"] for plan in changing.plans()]
    assert ended == ["replaced", None]
    assert changing.charged_minor() == 1_900 + due_minor.minor
    assert audited(changing) == ["debit_paid"]
    assert await differences(changing) == []


async def test_change_that_the_bank_refuses_leaves_the_plan_before_it(
    changing: BillingHarness,
) -> None:
    await decided(changing, succeeds=False)
    title, text = await told(changing)
    assert title.startswith("Your bank did not pay $")
    assert text == (
        "Nothing was charged. Growth starts as soon as the invoice is paid. Until then you can use"
        " what you have now."
    )
    assert (await changing.current()).executions_remaining == 4_000
    assert [plan["name"] for plan in changing.plans()] == ["Starter"]
    summary = await summary_of(changing)
    assert "did not pay" in payments.terms_of(summary).text
    assert summary.kept_plan is not None
    assert summary.kept_plan.remaining == 4_000
    (mail,) = await mailed(changing)
    assert "Until then you can use the 4,000 executions that you have." in mail.text
    assert invoice_status(changing) == "open"
    assert await differences(changing) == []


async def test_nothing_else_is_charged_for_a_subscription_that_is_being_debited(
    changing: BillingHarness,
) -> None:
    with pytest.raises(ProviderRequestPendingError, match="takes a few days"):
        await changing.preview("starter")
    with pytest.raises(ProviderRequestPendingError, match="takes a few days"):
        await changing.change("starter")
    assert (debits(changing), changing.charged_minor()) == (1, 1_900)


@pytest.mark.parametrize("succeeds", [True, False])
async def test_cancelled_while_the_bank_is_asked(first: BillingHarness, succeeds: bool) -> None:
    """What it pays all the same is given; what it does not pay is not owed."""
    summary = await summary_of(first)
    live = await first.live()
    _, (later, now) = offer_dialogs.cancelling(
        live, summary.kept_plan, elsewhere=0, owed_minor=0, debit=summary.unpaid_start
    )
    asked = "Your bank has been asked for $19.00: if it pays, you get Starter for it."
    assert asked in later.text
    assert asked in now.text
    await first.cancel(When.NOW)
    await decided(first, succeeds=succeeds)
    assert (await first.current()).executions_remaining == (5_000 if succeeds else 0)
    assert invoice_status(first) == ("paid" if succeeds else "void")
    assert await differences(first) == []


@pytest.mark.parametrize("succeeds", [True, False])
async def test_next_period_waits_for_the_bank(harness: BillingHarness, succeeds: bool) -> None:
    await harness.subscribed("starter")
    use_bank_account(harness)
    accepted(await harness.use(5_000))
    preview = await harness.preview("starter")
    after = await harness.change("starter")
    said = offer_dialogs.next_period_started(after, preview, await summary_of(harness))
    assert (said.title, said.text) == (
        "Your bank has been asked for $19.00",
        (
            "This can take a few days. The next period of Starter starts as soon as your bank has"
            " paid."
        ),
    )
    await decided(harness, succeeds=succeeds)
    assert (await harness.current()).executions_remaining == (5_000 if succeeds else 0)
    title, _ = await told(harness)
    assert title == (
        "Your bank has paid $19.00" if succeeds else "Your bank did not pay $19.00 for Starter"
    )


async def test_pack_that_the_bank_does_not_pay_is_cancelled_and_told(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    order = await packs.order(harness, use_bank_account(harness))
    account_id, buy = harness.holder.account_id, harness.services.subscriptions.packs.buy
    await buy(OPERATOR, account_id, order, harness.now)
    assert await told(harness) == (
        "Your bank has been asked for $25.00",
        f"This can take a few days. {order.offer.name} is added as soon as your bank has paid.",
    )
    await decided(harness, succeeds=False)
    assert await told(harness) == (
        f"Your bank did not pay $25.00 for {order.offer.name}",
        "Nothing was charged, and the order was cancelled. You can order it again.",
    )
    assert invoice_status(harness) == "void"
    (mail,) = await mailed(harness)
    assert mail.subject == f"Your bank did not pay for {order.offer.name}"
    assert "not charged later either" in mail.text
    again = await buy(OPERATOR, account_id, order, harness.now)
    assert again.state is PaymentState.DECLINED
    assert (debits(harness), harness.charged_minor()) == (0, 1_900)
    assert audited(harness) == ["debit_failed"]
    assert await differences(harness) == []


async def test_missed_failure_of_a_pack_is_found_by_reconciliation(
    harness: BillingHarness,
) -> None:
    await harness.subscribed("starter")
    order = await packs.order(harness, use_bank_account(harness))
    await packs.buy(harness, order)
    decide(harness, succeeds=False)
    harness.missed()
    found = next(each for each in await harness.reconcile() if each.what == "invoice")
    assert found.healed
    assert "open after its debit failed" in found.theirs
    assert "being debited" in found.ours
    assert invoice_status(harness) == "void"
    assert len(await mailed(harness)) == 1
    await harness.deliver()
    assert await differences(harness) == []


@pytest.mark.parametrize("succeeds", [True, False])
async def test_top_up_says_that_the_bank_is_asked(harness: BillingHarness, succeeds: bool) -> None:
    await harness.subscribed("starter")
    use_bank_account(harness)
    accepted(await harness.use(4_500))
    await top_ups.order(harness, cap_minor=100_000)
    await top_ups.run(harness)
    title, _ = await told(harness)
    assert title == "Your bank has been asked for $25.00"
    await decided(harness, succeeds=succeeds)
    await top_ups.run(harness)
    title, _ = await told(harness)
    assert title.startswith("Your bank has paid" if succeeds else "Your bank did not pay")
    assert (await top_ups.seen(harness)).stopped_because == (None if succeeds else DEBIT_FAILED)
    assert len(await mailed(harness)) == 1


async def test_retried_debit_is_told_again(first: BillingHarness) -> None:
    """Stripe may ask the bank once more: what was said before is over."""
    await decided(first, succeeds=False)
    invoice = first.invoices()[-1]
    method = use_bank_account(first)
    first.client.v1.invoices.pay(invoice.id or "", {"payment_method": method})
    await first.deliver()
    assert await mailed(first) == []
    title, _ = await told(first)
    assert title == "Your bank has been asked for $19.00"
    await decided(first, succeeds=True)
    title, _ = await told(first)
    assert title == "Your bank has paid $19.00"
    assert (await summary_of(first)).debits[0].paid_for is PaidFor.FIRST


@pytest.mark.parametrize("succeeds", [True, False])
async def test_checkout_by_debit_waits_for_the_bank(
    harness: BillingHarness, succeeds: bool
) -> None:
    begun = await harness.begin("starter")
    assert type_card(begun.checkout_url, BANK_ACCOUNT).status_code in (200, 303)
    await harness.deliver()
    summary = await summary_of(harness)
    checkout = await harness.services.subscriptions.last_checkout(
        OPERATOR, harness.holder.account_id
    )
    said = payments.checkout_notice("done", checkout, summary, returned_at=harness.now)
    assert said.title == ""
    assert await told(harness) == (
        "Your bank has been asked for $19.00",
        "This can take a few days. Starter starts as soon as your bank has paid.",
    )
    assert harness.charged_minor() == 0
    await decided(harness, succeeds=succeeds)
    title, _ = await told(harness)
    assert title == (
        "Your bank has paid $19.00" if succeeds else "Your bank did not pay $19.00 for Starter"
    )
    assert (await harness.current()).executions_remaining == (5_000 if succeeds else 0)
    assert await differences(harness) == []


async def test_pack_in_a_checkout_takes_no_debit(harness: BillingHarness) -> None:
    """Stripe makes its invoice once it is paid: nothing could be shown while the bank decides."""
    begun = await harness.begin("pack")
    refused = type_card(begun.checkout_url, BANK_ACCOUNT)
    assert "not offered here" in refused.text
    assert type_card(begun.checkout_url).status_code in (200, 303)


async def test_stripe_holds_back_no_change_that_a_debit_pays(changing: BillingHarness) -> None:
    (subscription,) = changing.subscriptions("active")
    body: Any = {"payment_behavior": "pending_if_incomplete", "trial_end": "now"}
    with pytest.raises(stripe.InvalidRequestError, match="bank debit"):
        changing.client.v1.subscriptions.update(subscription.id, body)


@pytest.mark.parametrize("succeeds", [True, False])
async def test_plan_before_a_change_lasts_until_the_bank_has_decided(
    harness: BillingHarness, succeeds: bool
) -> None:
    """Its period ends in between: time alone refuses nobody."""
    found = await harness.subscribed("starter")
    use_bank_account(harness)
    harness.skip((found.period_end - harness.now).total_seconds() - DAY)
    await harness.deliver()
    accepted(await harness.use(1_000))
    await harness.change("growth")
    for _ in range(2):
        harness.skip(2 * DAY)
        await harness.deliver()
        assert await harness.denied() == ""
    assert await differences(harness) == []
    accepted(await harness.use(500))
    await decided(harness, succeeds=succeeds)
    old, *new = harness.plans()
    assert (old["executions"], old["used"]) == (5_000, 1_500)
    if succeeds:
        assert (old["ended_because"], await harness.denied()) == ("replaced", "")
        assert [plan["executions"] for plan in new] == [29_500]
    else:
        assert (old["ends_at"], new) == (found.period_end, [])
        assert await harness.denied() != ""
    assert await differences(harness) == []
