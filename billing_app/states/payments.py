"""Turns offers, the subscription, invoices and checkouts into what the overview shows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing_app.billing.money import share_rounded_down
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.bank_debits import BankDebit, PaidFor
from billing_app.billing.subscriptions.checkouts import CheckoutView
from billing_app.billing.subscriptions.invoices import InvoiceView
from billing_app.billing.subscriptions.next_executions import NextExecutions, NextSource
from billing_app.billing.subscriptions.provider import ProviderPaymentMethod
from billing_app.billing.subscriptions.purchase_outcomes import PurchaseOutcome
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import (
    CheckoutStatus,
    Interval,
    InvoiceStatus,
    SubscriptionStatus,
)
from billing_app.states import formatting
from billing_app.states.balance import start_label
from billing_app.states.payment_words import (
    confirming,
    starts_when_paid,
    unpaid,
    unpaid_terms,
)
from billing_app.states.views import CardOnFile, InvoiceRow, Message, OfferItem, SubscriptionTerms

UNIT_EXECUTIONS: Final = 1_000
INTERVALS: Final = (Interval.MONTH.value, Interval.YEAR.value)
# How long the result of a checkout is shown to someone who comes back from it.
CHECKOUT_NOTICE_FOR: Final = timedelta(hours=1)
# Until a payment is confirmed.
USUAL_WAIT: Final = timedelta(minutes=1)
INVOICE_TONES: Final = {
    InvoiceStatus.PAID: "good",
    InvoiceStatus.OPEN: "warning",
    InvoiceStatus.UNCOLLECTIBLE: "bad",
}
UNAVAILABLE: Final = CardOnFile(
    state="unavailable",
    text="Stripe is not responding, so your card can't be shown. "
    "Everything else on this page is up to date.",
)
TRIAL_USED: Final = Message(
    "warning",
    "This card has already been used for a trial",
    "Nothing was charged. Choose the plan to start paying right away.",
)
UNREADABLE: Final = CardOnFile(state="unavailable", text="Your card can't be shown right now.")


@dataclass(frozen=True, slots=True)
class PurchaseState:
    """What the account has bought or is about to buy. `unpaid_start`: the debit of what its
    subscription is on, while the bank has not paid."""

    subscription: SubscriptionView | None
    checkout: CheckoutView | None
    unpaid_start: BankDebit | None = None

    def is_open(self, offer: OfferView) -> bool:
        checkout = self.checkout
        is_open = checkout is not None and checkout.status is CheckoutStatus.OPEN
        return is_open and self.is_of_checkout(offer)

    def is_of_checkout(self, offer: OfferView) -> bool:
        return self.checkout is not None and self.checkout.offer.version_id == offer.version_id

    @property
    def is_confirming(self) -> bool:
        """Whether a paid checkout blocks every purchase."""
        checkout = self.checkout
        return checkout is not None and checkout.status is CheckoutStatus.CONFIRMING


def offers_shown(offers: list[OfferView], subscription: SubscriptionView | None) -> list[OfferView]:
    """What is sold; before an offer with a newer version, the version that the account has."""
    held = subscription.offer if subscription else None
    shown = list[OfferView]()
    for offer in offers:
        if held is not None and is_newer(offer, held):
            shown.append(held)
        shown.append(offer)
    return shown


def is_newer(offer: OfferView, than: OfferView) -> bool:
    """Whether it is another version of the same offer."""
    return offer.code == than.code and offer.version_id != than.version_id


def offer_item(offer: OfferView, purchase_state: PurchaseState) -> OfferItem:
    """An offer with the one action that it allows."""
    subscription = purchase_state.subscription
    current = subscription.offer if subscription and offer.is_subscription else None
    next_offer = subscription.next_offer if subscription else None
    is_current = current is not None and current.version_id == offer.version_id
    badge = "New version" if current is not None and is_newer(offer, current) else ""
    action = _action(offer, current)
    if is_current:
        badge, action = _current_badge(purchase_state.unpaid_start), ""
    elif purchase_state.is_confirming:
        is_bought = purchase_state.is_of_checkout(offer)
        badge, action = "Paid, being confirmed" if is_bought else badge, ""
    elif next_offer is not None and next_offer.version_id == offer.version_id and subscription:
        badge, action = f"Starts {formatting.day(subscription.period_end)}", ""
    elif purchase_state.is_open(offer):
        action = "Continue checkout"
    return OfferItem(
        code=offer.code,
        name=offer.name,
        description=offer.description,
        executions=_executions(offer),
        price=formatting.money(offer.price_minor, offer.currency),
        interval=_per(offer),
        unit_price=_unit_price(offer),
        beyond=_beyond(offer),
        action=action,
        badge=badge,
        is_current=is_current,
    )


def _current_badge(unpaid_start: BankDebit | None) -> str:
    if unpaid_start is None:
        return "Your plan"
    return "Waiting for your bank" if unpaid_start.decided_at is None else "Not paid"


def interval_of(subscription: SubscriptionView | None, sold: set[str]) -> str:
    """The subscription's interval, else monthly if it is sold."""
    if subscription is not None:
        return str(subscription.offer.interval)
    preferred = Interval.MONTH.value
    return preferred if preferred in sold else next(iter(sorted(sold)), preferred)


def is_smaller(offer: OfferView, than: OfferView) -> bool:
    """Whether it has fewer executions a month; such a change waits for the end of the period."""
    months = {Interval.MONTH: 1, Interval.YEAR: 12}
    return offer.executions * months[than.interval] < than.executions * months[offer.interval]


def terms_of(summary: AccountSummary) -> SubscriptionTerms:
    """What the subscription costs, and what happens when the period ends."""
    subscription = summary.subscription
    if subscription is None:
        return SubscriptionTerms()
    end = formatting.day(subscription.period_end)
    text, undo_label = f"Renews on {end}.", ""
    if summary.unpaid_start is not None:
        text, undo_label = unpaid_terms(summary.unpaid_start, subscription)
    elif subscription.cancel_at_period_end:
        plan = summary.period_plan
        left = formatting.counted(plan.remaining if plan else 0, "execution")
        end = formatting.day(subscription.ends_at)
        text, undo_label = f"Ends on {end}. You keep {left} until then.", "Keep the plan"
    elif subscription.next_offer is not None:
        next_offer = subscription.next_offer
        text = f"Changes to {next_offer.name} ({formatting.price(next_offer)}) on {end}."
        undo_label = f"Stay on {subscription.offer.name}"
    elif subscription.status is SubscriptionStatus.TRIALING:
        text = f"On trial until {end}, then {formatting.price(subscription.offer)}."
    elif subscription.status is SubscriptionStatus.UNPAID:
        text = "Unpaid: payment was not retried. Pay the open invoices to use the plan again."
    elif subscription.past_due_since is not None:
        text = f"This period is not paid yet. It ends on {end}."
    elif not subscription.is_collecting:
        text = f"Payments are paused. You keep the plan, and it continues after {end}."
    return SubscriptionTerms(
        name=subscription.offer.name,
        price=_times(subscription.quantity) + formatting.price(subscription.offer),
        text=text,
        undo_label=undo_label,
        start_label=start_label(summary),
        may_cancel=not subscription.cancel_at_period_end,
    )


def _times(quantity: int) -> str:
    return "" if quantity == 1 else f"{quantity} \N{MULTIPLICATION SIGN} "


def renewal_note(summary: AccountSummary, *, tops_up: bool) -> str:
    """What follows the queued plans; empty if unknown, or shown elsewhere on the page.

    `tops_up`: packs are bought automatically.
    """
    subscription, coming = summary.subscription, summary.next_executions
    if coming is not None and coming.source is NextSource.REFILL:
        return _refill_note(coming, subscription)
    if subscription is None:
        return _nothing_follows(summary, tops_up=tops_up)
    if summary.unpaid_start is not None:
        return starts_when_paid(summary.unpaid_start, subscription)
    if subscription.cancel_at_period_end:
        return _last_end(subscription, summary, tops_up=tops_up)
    if subscription.past_due_since is not None:
        return ""
    return _next_period_note(subscription)


def _refill_note(coming: NextExecutions, cancelled: SubscriptionView | None) -> str:
    count = formatting.counted(coming.executions, "execution")
    told = f"{coming.name} refills on {formatting.day(coming.at)}: {count}"
    if cancelled is None:
        return told
    return f"{cancelled.offer.name} ends on {formatting.day(cancelled.ends_at)}. {told}"


def _next_period_note(subscription: SubscriptionView) -> str:
    name, end = subscription.offer.name, formatting.day(subscription.period_end)
    offer, quantity = subscription.next_offer or subscription.offer, subscription.quantity
    count = formatting.counted(offer.executions * quantity, "execution")
    bought = f"{count} for {formatting.money(offer.price_minor * quantity, offer.currency)}"
    if subscription.next_offer is not None:
        return f"Changes to {offer.name} on {end}: {bought}"
    if subscription.status is SubscriptionStatus.TRIALING:
        return f"The {name} trial ends on {end}, then {bought}"
    paused = f"{name} continues after {end}: payments are paused"
    return f"{name} renews on {end}: {bought}" if subscription.is_collecting else paused


def _nothing_follows(summary: AccountSummary, *, tops_up: bool) -> str:
    plans = summary.queue
    is_refused = not summary.current.executions_remaining
    if len(plans) != 1 or is_refused or tops_up or _allows_overage(summary.current):
        return ""
    when = "is used up or ends" if plans[0].ends_at else "is used up"
    return f"No plan is queued. When this one {when}, new executions are refused"


def _last_end(subscription: SubscriptionView, summary: AccountSummary, *, tops_up: bool) -> str:
    plans, end = summary.queue, subscription.ends_at
    if not plans and not _allows_overage(summary.current):
        return ""
    stay = [plan for plan in plans if plan.ends_at is None or plan.ends_at > end]
    then = "" if stay or tops_up else ", then new executions are refused"
    return f"{subscription.offer.name} ends on {formatting.day(end)}{then}"


def _allows_overage(current: CurrentPlan) -> bool:
    return current.overage is not None and current.overage.executions_limit > 0


def invoice_row(invoice: InvoiceView) -> InvoiceRow:
    is_unpaid = invoice.status in {InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE}
    is_open = is_unpaid and not invoice.is_processing
    status, tone = formatting.INVOICE_STATUSES[invoice.status], INVOICE_TONES.get(invoice.status)
    if invoice.is_processing:
        status, tone = formatting.BANK_ASKED, None
    return InvoiceRow(
        invoice_id=invoice.id,
        number=invoice.number or "—",
        issued=formatting.day(invoice.issued_at),
        what_for=invoice.what_for or "—",
        amount=formatting.money(invoice.amount_due_minor, invoice.currency),
        refunded=formatting.refunded(invoice.refunded_minor, invoice.currency),
        status=status,
        tone=tone or "",
        page_label="Pay" if is_open else "View",
        page_url=invoice.page_url,
        pdf_url=invoice.pdf_url,
    )


def card_on_file(method: ProviderPaymentMethod | None) -> CardOnFile:
    if method is None:
        return CardOnFile(state="none", text="No card on file")
    ending = f" ending in {method.last4}" if method.last4 else ""
    expires = f"Expires {method.expires}" if method.expires else ""
    return CardOnFile(state="known", text=f"{method.brand}{ending}", expires=expires)


def bought(
    offer: OfferView, summary: AccountSummary, outcome: PurchaseOutcome | None = None
) -> Message:
    """What was paid for, as the account has it: in use, next, or used up already; else what became
    of its payment."""
    told = unpaid(outcome, offer.name, PaidFor.OTHER, summary) if outcome else None
    if told is not None:
        return told
    plans = [plan for plan in summary.queue if plan.name == offer.name]
    newest = max(plans, key=lambda plan: plan.sequence, default=None)
    if newest is None:
        return Message("good", f"You paid for {offer.name}", "It is used up or has ended.")
    return Message("good", f"Paid: {place_of(newest, summary)}", availability(newest, summary))


def is_in_use(plan: PlanView) -> bool:
    return plan.state is PlanState.CURRENT


def place_of(plan: PlanView, summary: AccountSummary) -> str:
    """Growth is active, is next, or is queued behind several."""
    if is_in_use(plan):
        return f"{plan.name} is active"
    return f"{plan.name} is {'next' if len(_ahead_of(plan, summary)) < 2 else 'queued'}"


def availability(plan: PlanView, summary: AccountSummary) -> str:
    """When the executions of a plan that was just paid for can be used."""
    count = formatting.counted(plan.remaining, "execution")
    ahead = [] if is_in_use(plan) else _ahead_of(plan, summary)
    if not ahead:
        return f"Your {count} {'is' if plan.remaining == 1 else 'are'} available."
    if len(ahead) == 1:
        return f"Its {count} become available when {ahead[0].name} is used up or ends."
    return f"Its {count} become available when the {len(ahead)} plans before it are used up or end."


def _ahead_of(plan: PlanView, summary: AccountSummary) -> list[PlanView]:
    queue = summary.queue
    return queue[: queue.index(plan)] if plan in queue else []


def checkout_notice(
    answer: str,
    checkout: CheckoutView | None,
    summary: AccountSummary,
    *,
    returned_at: datetime,
) -> Message:
    """What to show someone who comes back from a checkout; `answer` is "done" or "left". They came
    back at `returned_at`. A paid one that is not applied yet is shown on every visit."""
    now = summary.at
    is_late = now - returned_at > USUAL_WAIT
    if checkout is not None and checkout.status is CheckoutStatus.CONFIRMING:
        return confirming(checkout.offer.name, is_late=is_late or answer != "done")
    if checkout is None or not answer or now - checkout.created_at > CHECKOUT_NOTICE_FOR:
        return Message()
    name = checkout.offer.name
    if any(debit.name == name for debit in summary.debits):
        return Message()  # its debit has a message of its own
    if answer == "done" and not checkout.is_paid and not checkout.is_trial_refused:
        is_complete = checkout.status is CheckoutStatus.COMPLETE
        return confirming(name, is_paid=is_complete, is_late=is_late)
    return _returned(checkout, summary)


def _returned(checkout: CheckoutView, summary: AccountSummary) -> Message:
    """From a checkout whose result is known."""
    if checkout.is_paid:
        return bought(checkout.offer, summary)
    return TRIAL_USED if checkout.is_trial_refused else _left(checkout)


def _left(checkout: CheckoutView) -> Message:
    name = checkout.offer.name
    if checkout.status is CheckoutStatus.OPEN:
        return Message(
            "",
            "Checkout not completed",
            f"Nothing was charged. The checkout for {name} is still open.",
            url=checkout.url or "",
            url_label="Continue checkout",
        )
    return Message(
        "", "The checkout is no longer open", "Nothing was charged. Choose a plan to continue."
    )


def _action(offer: OfferView, current: OfferView | None) -> str:
    if not offer.is_subscription:
        return "Buy"
    if current is not None and is_newer(offer, current):
        return "Change to the new version"
    return f"Change to {offer.name}" if current else f"Choose {offer.name}"


def _executions(offer: OfferView) -> str:
    count = formatting.counted(offer.executions, "execution")
    if not offer.is_subscription and offer.valid_days:
        return f"{count}, for {formatting.counted(offer.valid_days, 'day')}"
    return f"{count}{' a' if offer.is_subscription else ''}{_interval(offer)}"


def _interval(offer: OfferView) -> str:
    name = formatting.INTERVALS.get(offer.interval)
    return f" {name}" if name else ""


def _per(offer: OfferView) -> str:
    return f"/{_interval(offer)}" if offer.is_subscription else "once"


def _beyond(offer: OfferView) -> str:
    """What happens when it is used up, and before the first payment."""
    trial = f" · {offer.trial_days}-day trial for new subscribers" if offer.trial_days else ""
    overage = offer.overage
    if overage is None:
        return f"Stops when used up{trial}"
    price = formatting.unit_price(overage.unit_price_minor, overage.unit_executions, offer.currency)
    return f"Then {price}{trial}"


def _unit_price(offer: OfferView) -> str:
    amount_minor = share_rounded_down(
        offer.price_minor * UNIT_EXECUTIONS, 1, max(1, offer.executions)
    )
    return (
        f"{formatting.money(amount_minor, offer.currency)} per {formatting.number(UNIT_EXECUTIONS)}"
    )
