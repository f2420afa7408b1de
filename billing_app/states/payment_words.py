"""What became of the payment of a purchase, in words: the same for every way to buy."""

from collections.abc import Sequence
from typing import Final

from billing_app.billing.money import Money
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.bank_debits import BankDebit, PaidFor
from billing_app.billing.subscriptions.purchase_outcomes import PaymentState, PurchaseOutcome
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import PlanSource
from billing_app.states import formatting
from billing_app.states.views import Message

STARTS: Final = (PaidFor.FIRST, PaidFor.CHANGE)
ASKED: Final = "Your bank has been asked for"
CONFIRM: Final = "Your bank asks you to confirm the payment"
UNCLEAR: Final = (
    "Your request may or may not have gone through. We are checking, and this page will show the"
    " result. You are never charged twice."
)


def unpaid(
    outcome: PurchaseOutcome, name: str, paid_for: PaidFor, summary: AccountSummary
) -> Message | None:
    """Of a purchase that was ordered; None: it is paid, or costs nothing."""
    match outcome.state:
        case PaymentState.BANK_ASKED:
            return _asked(outcome, name, paid_for, summary)
        case PaymentState.DECLINED:
            return _declined(outcome, name, paid_for, summary)
        case PaymentState.CONFIRMATION_NEEDED:
            return confirmation(outcome.payment_url)
        case PaymentState.UNCLEAR:
            return confirming(name, is_paid=False)
        case PaymentState.CHARGED | PaymentState.NOTHING_DUE:
            return None


def debit_messages(summary: AccountSummary) -> list[Message]:
    """What banks are being asked for, and what they have decided lately; oldest first."""
    debits = [debit for debit in summary.debits if not _is_overtaken(debit, summary.debits)]
    found = [_debit(debit, summary) for debit in debits]
    return [message for message in found if message is not None]


def _is_overtaken(debit: BankDebit, debits: Sequence[BankDebit]) -> bool:
    """Whether a newer debit for the same says more: one that was asked for after the bank did not
    pay this one, or that is paid too."""
    decided_at, is_paid = debit.decided_at, debit.outcome.state is PaymentState.CHARGED
    same = [each for each in debits if (each.paid_for, each.name) == (debit.paid_for, debit.name)]
    newer = same[same.index(debit) + 1 :]
    return decided_at is not None and any(
        each.outcome.state is PaymentState.CHARGED if is_paid else each.asked_at >= decided_at
        for each in newer
    )


def confirming(name: str, *, is_paid: bool = True, is_late: bool = False) -> Message:
    """While a payment is not applied here. `is_late`: it takes longer than usual."""
    title = "Paid, being confirmed" if is_paid else "Your payment is being confirmed"
    then = "Until then nothing else can be bought, so nothing is charged twice."
    text = (
        f"Stripe has not confirmed it yet. {name} usually appears here within a minute; a bank"
        f" debit takes several days. {then}"
    )
    if is_late:
        text = (
            f"A card usually takes less than a minute, a bank debit several days. {name} will"
            f" appear here as soon as Stripe confirms it; there is no need to pay again. {then} If"
            " you paid by card and it does not appear, contact support."
        )
    return Message("", title, text)


def confirmation(payment_url: str | None, detail: str = "") -> Message:
    """`payment_url` None: it has to be ordered again, as `detail` says."""
    if payment_url is None:
        return Message("warning", CONFIRM, f"{detail} Nothing was charged.".lstrip())
    return Message(
        "warning",
        CONFIRM,
        "Nothing was charged or changed yet. Confirm on Stripe's page, then come back: the change"
        " appears here. If you don't confirm within 23 hours, everything stays as it is.",
        url=payment_url,
        url_label="Confirm with your bank",
    )


def unpaid_terms(debit: BankDebit, subscription: SubscriptionView) -> tuple[str, str]:
    """What the subscription waits for, and the button that withdraws its cancellation or change."""
    amount = amount_of(debit.outcome)
    text = f"Starts as soon as your bank has paid {amount}."
    if debit.decided_at is not None:
        name = subscription.offer.name
        text = f"Your bank did not pay {amount}. {name} starts as soon as the invoice is paid."
    if subscription.cancel_at_period_end:
        return f"{text} It ends on {formatting.day(subscription.ends_at)}.", "Keep the plan"
    if subscription.next_offer is not None:
        end = formatting.day(subscription.period_end)
        changes = f"It changes to {subscription.next_offer.name} on {end}."
        return f"{text} {changes}", f"Stay on {subscription.offer.name}"
    return text, ""


def starts_when_paid(debit: BankDebit, subscription: SubscriptionView) -> str:
    """What comes next while a subscription is not paid for."""
    amount, offer = amount_of(debit.outcome), subscription.offer
    count = formatting.counted(offer.executions * subscription.quantity, "execution")
    once = f"once your bank has paid {amount}"
    if debit.decided_at is not None:
        once = f"once {amount} is paid"
    return f"{offer.name} starts {once}: {count}"


def amount_of(outcome: PurchaseOutcome) -> str:
    amount = outcome.amount or Money(0, "USD")
    return formatting.money(amount.minor, amount.currency)


def _debit(debit: BankDebit, summary: AccountSummary) -> Message | None:
    """The banner on every page tells of renewals that were not paid."""
    if debit.paid_for is PaidFor.RENEWAL and debit.decided_at is not None:
        return None
    if debit.outcome.state is PaymentState.CHARGED:
        return _paid(debit, summary)
    return unpaid(debit.outcome, debit.name, debit.paid_for, summary)


def _asked(
    outcome: PurchaseOutcome, name: str, paid_for: PaidFor, summary: AccountSummary
) -> Message:
    title = f"{ASKED} {amount_of(outcome)}"
    what = _what(name, paid_for, summary)
    then = {
        PaidFor.RENEWAL: _until_decided(name, summary),
        PaidFor.USAGE: "It pays for executions that were used beyond the plan.",
        PaidFor.OTHER: f"{what} is added as soon as your bank has paid.",
    }.get(paid_for, f"{what} starts as soon as your bank has paid.")
    text = f"This can take a few days. {then}{_meanwhile(paid_for, summary)}"
    return Message("", title, text.rstrip())


def _declined(
    outcome: PurchaseOutcome, name: str, paid_for: PaidFor, summary: AccountSummary
) -> Message:
    amount = amount_of(outcome)
    title = f"Your bank did not pay {amount} for {name}"
    if outcome.payment_url is None:
        again = "Nothing was charged, and the order was cancelled. You can order it again."
        return Message("bad", title, again)
    what = _what(name, paid_for, summary)
    then = "Pay the invoice to settle it."
    if paid_for in STARTS:
        then = f"{what} starts as soon as the invoice is paid."
    text = f"Nothing was charged. {then}{_meanwhile(paid_for, summary)}"
    return Message("bad", title, text, url=outcome.payment_url, url_label=f"Pay {amount}")


def _paid(debit: BankDebit, summary: AccountSummary) -> Message | None:
    """None: the plan is stopped again, which the banner on every page tells."""
    title = f"Your bank has paid {amount_of(debit.outcome)}"
    if debit.paid_for is PaidFor.USAGE:
        return Message("good", title, "The executions used beyond the plan are paid.")
    plans = [plan for plan in summary.queue if plan.name == debit.name]
    newest = max(plans, key=lambda plan: plan.sequence, default=None)
    if newest is None:
        return Message("good", title, f"{debit.name} is paid.")
    if newest.is_suspended:
        return None
    place = "is available" if newest.began_at is not None else "is in your queue"
    left = formatting.counted(newest.remaining, "execution")
    return Message("good", title, f"{debit.name} {place}, with {left}.")


def _what(name: str, paid_for: PaidFor, summary: AccountSummary) -> str:
    """A change to the plan that they have begins its next period."""
    plans = [*summary.queue, *([summary.current.plan] if summary.current.plan else [])]
    has_it = any(plan.name == name and plan.source is PlanSource.SUBSCRIPTION for plan in plans)
    is_next = paid_for is PaidFor.CHANGE and has_it
    return f"The next period of {name}" if is_next else name


def _until_decided(name: str, summary: AccountSummary) -> str:
    """Of a renewal; "" when an earlier invoice stops it."""
    is_stopped = any(plan.name == name and plan.is_suspended for plan in summary.queue)
    return "" if is_stopped else f"You can use {name} in the meantime."


def _meanwhile(paid_for: PaidFor, summary: AccountSummary) -> str:
    has_more = paid_for in STARTS and summary.current.executions_remaining > 0
    return " Until then you can use what you have now." if has_more else ""
