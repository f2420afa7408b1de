"""From offers, the subscription, invoices and checkouts to what the overview says about them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing_app.billing.money import share_rounded_down
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.subscriptions.checkouts import CheckoutView
from billing_app.billing.subscriptions.invoices import InvoiceView
from billing_app.billing.subscriptions.provider import ProviderPaymentMethod
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import (
    CheckoutStatus,
    Interval,
    InvoiceStatus,
    PlanSource,
    SubscriptionStatus,
)
from billing_app.states import formatting
from billing_app.states.views import CardOnFile, InvoiceRow, Message, OfferItem, SubscriptionTerms

UNIT_EXECUTIONS: Final = 1_000
INTERVALS: Final = (Interval.MONTH.value, Interval.YEAR.value)
# How long after a checkout its outcome is news to who comes back from it.
NEWS: Final = timedelta(hours=1)
INVOICE_TONES: Final = {
    InvoiceStatus.PAID: "good",
    InvoiceStatus.OPEN: "warning",
    InvoiceStatus.UNCOLLECTIBLE: "bad",
}
UNAVAILABLE: Final = CardOnFile(
    state="unavailable",
    words="Stripe does not answer right now, so the card on file can't be shown. "
    "Everything else on this page is up to date.",
)
UNREADABLE: Final = CardOnFile(
    state="unavailable", words="The card on file can't be read right now."
)


@dataclass(frozen=True, slots=True)
class PurchaseState:
    """What an account has of what can be bought."""

    subscription: SubscriptionView | None
    checkout: CheckoutView | None

    def is_open(self, offer: OfferView) -> bool:
        found = self.checkout
        return (
            found is not None
            and found.status is CheckoutStatus.OPEN
            and found.offer.version_id == offer.version_id
        )


def offer_item(offer: OfferView, purchase_state: PurchaseState) -> OfferItem:
    """An offer with the one thing that can be done with it."""
    subscription = purchase_state.subscription
    current = subscription.offer if subscription and offer.is_subscription else None
    following = subscription.next_offer if subscription else None
    is_current = current is not None and current.code == offer.code
    mark, action = "", _action(offer, current)
    if is_current:
        mark, action = "Your plan", ""
    elif following is not None and following.code == offer.code and subscription:
        mark, action = f"From {formatting.day(subscription.period_end)}", ""
    elif purchase_state.is_open(offer):
        action = "Continue to pay"
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
        mark=mark,
        is_current=is_current,
    )


def interval_of(subscription: SubscriptionView | None, sold: set[str]) -> str:
    """What is paid now, else monthly, unless only the other is sold."""
    if subscription is not None:
        return str(subscription.offer.interval)
    preferred = Interval.MONTH.value
    return preferred if preferred in sold else next(iter(sorted(sold)), preferred)


def is_smaller(offer: OfferView, than: OfferView) -> bool:
    """Does it give fewer executions a month? Then it waits for the end of the period."""
    months = {Interval.MONTH: 1, Interval.YEAR: 12}
    return offer.executions * months[than.interval] < than.executions * months[offer.interval]


def period_plan(current: CurrentPlan, subscription: SubscriptionView) -> PlanView | None:
    """The plan that the subscription's running period gives."""
    for plan in open_plans(current):
        is_of_period = plan.source is PlanSource.SUBSCRIPTION
        if is_of_period and plan.ends_at == subscription.period_end:
            return plan
    return None


def open_plans(current: CurrentPlan) -> list[PlanView]:
    """The plan in force, and those that wait behind it."""
    in_force = [current.plan] if current.plan else []
    return [plan for plan in (*in_force, *current.upcoming) if plan.state is not PlanState.ENDED]


def terms_of(subscription: SubscriptionView | None, current: CurrentPlan) -> SubscriptionTerms:
    """What it costs, and what happens when the period ends."""
    if subscription is None:
        return SubscriptionTerms()
    end = formatting.day(subscription.period_end)
    explained, take_back = f"Renews on {end}.", ""
    if subscription.cancel_at_period_end:
        plan = period_plan(current, subscription)
        left = formatting.counted(plan.remaining if plan else 0, "execution")
        explained, take_back = f"Ends on {end}. You keep {left} until then.", "Keep the plan"
    elif subscription.next_offer is not None:
        following = subscription.next_offer
        explained = f"Changes to {following.name} ({formatting.price(following)}) on {end}."
        take_back = f"Stay on {subscription.offer.name}"
    elif subscription.status is SubscriptionStatus.TRIALING:
        explained = f"On trial until {end}, then {formatting.price(subscription.offer)}."
    elif subscription.past_due_since is not None:
        explained = f"This period is not paid yet; it ends on {end}."
    return SubscriptionTerms(
        name=subscription.offer.name,
        price=formatting.price(subscription.offer),
        words=explained,
        take_back=take_back,
        may_cancel=not subscription.cancel_at_period_end,
    )


def what_follows(
    subscription: SubscriptionView | None, current: CurrentPlan, *, tops_up: bool
) -> str:
    """What comes behind the plans of the queue; empty when nobody can say, or it is said already.

    `tops_up`: packs are bought by themselves.
    """
    if subscription is None:
        return _nothing_follows(current, tops_up=tops_up)
    if subscription.cancel_at_period_end:
        return _last_end(subscription, current, tops_up=tops_up)
    if subscription.past_due_since is not None:
        return ""
    name, end = subscription.offer.name, formatting.day(subscription.period_end)
    following = subscription.next_offer or subscription.offer
    count = formatting.counted(following.executions, "execution")
    bought = f"{count} for {formatting.money(following.price_minor, following.currency)}"
    if subscription.next_offer is not None:
        return f"Changes to {following.name} on {end}: {bought}"
    if subscription.status is SubscriptionStatus.TRIALING:
        return f"The trial of {name} ends on {end}, then {bought}"
    return f"{name} renews on {end}: {bought}"


def _nothing_follows(current: CurrentPlan, *, tops_up: bool) -> str:
    waiting = open_plans(current)
    is_refused = not current.executions_remaining
    if len(waiting) != 1 or is_refused or tops_up or _goes_beyond(current):
        return ""
    when = "it is used up or ends" if waiting[0].ends_at else "it is used up"
    return f"Nothing follows: when {when}, new runs are refused"


def _last_end(subscription: SubscriptionView, current: CurrentPlan, *, tops_up: bool) -> str:
    waiting, end = open_plans(current), subscription.period_end
    if not waiting and not _goes_beyond(current):
        return ""
    stay = [plan for plan in waiting if plan.ends_at is None or plan.ends_at > end]
    then = "" if stay or tops_up else ", then new runs are refused"
    return f"{subscription.offer.name} ends on {formatting.day(end)}{then}"


def _goes_beyond(current: CurrentPlan) -> bool:
    """May more be used than the plans hold?"""
    return current.overage is not None and current.overage.executions_limit > 0


def invoice_row(invoice: InvoiceView) -> InvoiceRow:
    is_open = invoice.status in {InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE}
    return InvoiceRow(
        invoice_id=invoice.id,
        number=invoice.number or "—",
        issued=formatting.day(invoice.issued_at),
        amount=formatting.money(invoice.amount_due_minor, invoice.currency),
        refunded=formatting.refunded(invoice.refunded_minor, invoice.currency),
        status=formatting.INVOICE_STATUSES[invoice.status],
        tone=INVOICE_TONES.get(invoice.status, ""),
        page_words="Pay" if is_open else "View",
        page_url=invoice.page_url,
        pdf_url=invoice.pdf_url,
    )


def card_on_file(method: ProviderPaymentMethod | None) -> CardOnFile:
    if method is None:
        return CardOnFile(state="none", words="No card on file")
    ending = f" ending in {method.last4}" if method.last4 else ""
    expires = f"Expires {method.expires}" if method.expires else ""
    return CardOnFile(state="known", words=f"{method.brand}{ending}", expires=expires)


def returned(
    answer: str, checkout: CheckoutView | None, current: CurrentPlan, now: datetime
) -> Message:
    """What to say to somebody who comes back from a checkout: `answer` is "done" or "left"."""
    if checkout is None or not answer or now - checkout.created_at > NEWS:
        return Message()
    name = checkout.offer.name
    if checkout.is_paid:
        count = formatting.counted(checkout.offer.executions, "execution")
        if current.plan and name != current.plan.name and _waits(name, current):
            begins = f"Its {count} begin when {current.plan.name} is used up or ends."
            return Message("good", f"Paid: {name} is next", begins)
        return Message("good", f"Paid: {name} is active", f"{count} are yours from now on.")
    if answer == "done":
        return Message(
            "",
            "Your payment is being confirmed",
            f"Stripe has not told us yet. {name} appears here by itself within a minute.",
        )
    if checkout.status is CheckoutStatus.OPEN:
        return Message(
            "",
            "You left without paying",
            f"Nothing was charged. The checkout for {name} stays open.",
            url=checkout.url or "",
            url_words="Continue to pay",
        )
    return Message("", "The checkout has ended", "Nothing was charged. Choose a plan to go on.")


def _waits(name: str, current: CurrentPlan) -> bool:
    return any(plan.name == name and plan.began_at is None for plan in current.upcoming)


def _action(offer: OfferView, current: OfferView | None) -> str:
    if not offer.is_subscription:
        return "Buy"
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
    """What happens after its last execution, and before the first payment."""
    days = formatting.counted(offer.trial_days, "day")
    trial = f" · {days} of trial for new subscribers" if offer.trial_days else ""
    if offer.overage is None:
        return f"Stops at the last execution{trial}"
    each = offer.overage
    price = formatting.unit_price(each.unit_price_minor, each.unit_executions, offer.currency)
    return f"Then {price}{trial}"


def _unit_price(offer: OfferView) -> str:
    amount_minor = share_rounded_down(
        offer.price_minor * UNIT_EXECUTIONS, 1, max(1, offer.executions)
    )
    return (
        f"{formatting.money(amount_minor, offer.currency)} per {formatting.number(UNIT_EXECUTIONS)}"
    )
