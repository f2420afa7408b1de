"""The texts of the confirmation dialogs: every choice shows its consequence first."""

from typing import Final

from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import PlanView, QueuePlace
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.bank_debits import BankDebit, PaidFor
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.billing.subscriptions.provider import ProviderPaymentMethod
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import SubscriptionStatus, When
from billing_app.states import formatting
from billing_app.states.balance import NEXT_PERIOD
from billing_app.states.payment_words import amount_of, confirming, unpaid
from billing_app.states.payments import (
    availability,
    is_in_use,
    is_newer,
    is_smaller,
    place_of,
)
from billing_app.states.views import AmountLine, Choice, Message, OfferDialog, Side

SUBSCRIBE: Final = "subscribe"
BUY: Final = "buy"
CHANGE: Final = "change"
CANCEL: Final = "cancel"
NOW: Final = When.NOW.value
AT_PERIOD_END: Final = When.PERIOD_END.value
BANK_DECIDES: Final = "once your bank has paid, which takes a few days"


def subscribing(
    offer: OfferView,
    method: ProviderPaymentMethod,
    place: QueuePlace,
    due_minor: int,
    *,
    trial_days: int,
    is_taxed: bool = False,
) -> tuple[OfferDialog, list[Choice]]:
    """The card on file is charged, today or after the trial: `due_minor`, with tax, discounts and
    credit. Renewals may have others and are told as the price. `place`: of the plan it buys."""
    amount = formatting.money(due_minor, offer.currency)
    then = f" {formatting.money(offer.price_minor, offer.currency)}{' plus tax' * is_taxed}"
    each = f"{then * (due_minor != offer.price_minor)} every {_interval(offer)}"
    when = f"after {formatting.counted(trial_days, 'day')} of trial" if trial_days else "today"
    dialog = OfferDialog(
        kind=SUBSCRIBE,
        title=f"Subscribe to {offer.name}",
        text=f"{_charge(amount, method)} {when}, then{each} until you cancel.",
        dismiss_label="Not now",
        after=side(offer),
    )
    count = formatting.counted(offer.executions, "execution")
    at = BANK_DECIDES if method.is_debit and not trial_days else "right away"
    consequence = f"You get {count} {at}.{_owed(place)}{_order_of_use(place)}"
    confirm_label = "Start trial" if trial_days else f"Pay {amount}"
    return dialog, [Choice(NOW, "", consequence, confirm_label)]


def _owed(place: QueuePlace) -> str:
    if not place.executions_owed:
        return ""
    owed = formatting.counted(place.executions_owed, "execution")
    return f" {owed} that you used after your last period count against them."


def buying(
    offer: OfferView, method: ProviderPaymentMethod, place: QueuePlace, due_minor: int
) -> tuple[OfferDialog, list[Choice]]:
    """A pack, charged to the card on file once: `due_minor`, with its tax. `place`: of its plan."""
    amount = formatting.money(due_minor, offer.currency)
    dialog = OfferDialog(
        kind=BUY,
        title=f"Buy {offer.name}",
        text=f"{_charge(amount, method)} today, once.",
        dismiss_label="Not now",
        after=side(offer),
    )
    count = formatting.counted(offer.executions, "execution")
    lasts = "They do not expire."
    if offer.valid_days:
        lasts = f"They expire after {formatting.counted(offer.valid_days, 'day')}."
    at = f" {BANK_DECIDES}" if method.is_debit else ""
    consequence = f"You get {count}{at}. {lasts}{_order_of_use(place)}"
    return dialog, [Choice(NOW, "", consequence, f"Pay {amount}")]


def card_name(method: ProviderPaymentMethod) -> str:
    return f"{method.brand} ending in {method.last4}" if method.last4 else method.brand


def _charge(amount: str, method: ProviderPaymentMethod | None) -> str:
    """None: the card or account is not known."""
    if method is not None and method.is_debit:
        return f"Your bank is asked for {amount} from your {_lower(card_name(method))}"
    return f"{amount} is charged to your {card_name(method) if method else 'card'}"


def _lower(name: str) -> str:
    """Names of schemes keep their capitals."""
    return name[:1].lower() + name[1:] if name.startswith(("Bank", "Pre")) else name


def _order_of_use(place: QueuePlace) -> str:
    if not place.executions_before and not place.executions_after:
        return ""
    if not place.executions_after:
        return " What you have now stays and is used first."
    if not place.executions_before:
        return " They are used first; what you have now stays."
    before = formatting.counted(place.executions_before, "execution")
    verb = "is" if place.executions_before == 1 else "are"
    return f" What you have now stays: {before} {verb} used before them, the rest after."


def changing(
    subscription: SubscriptionView,
    offer: OfferView,
    plan: PlanView | None,
    *,
    undecided: BankDebit | None = None,
    is_taxed: bool = False,
) -> tuple[OfferDialog, list[Choice]]:
    """Both plans, and the change at the end of the period, which costs nothing today. `undecided`:
    the debit that rules out a change now."""
    end = formatting.day(subscription.period_end)
    is_update = is_newer(offer, subscription.offer)
    dialog = OfferDialog(
        kind=CHANGE,
        title=f"Change to {_new_version_of(offer, subscription)}",
        text=f"Nothing changes until you confirm.{_not_now(undecided)}{_replaced(subscription)}",
        dismiss_label=f"Stay on {'your version' if is_update else subscription.offer.name}",
        before=side(subscription.offer, ends=f"Period ends {end}"),
        after=side(offer),
    )
    tax = " plus tax" if is_taxed else ""
    later = Choice(
        AT_PERIOD_END,
        f"On {end}",
        f"Nothing is charged today.{_kept_until_then(plan)}"
        f" From then on, you pay {formatting.price(offer)}{tax}.",
        f"Change on {end}",
        ends=f"Starts {end}",
    )
    return dialog, [later]


def _kept_until_then(plan: PlanView | None) -> str:
    """None: the period is not paid for yet."""
    if plan is None:
        return ""
    left = formatting.counted(plan.remaining, "execution")
    return f" You keep your {left} until then; any still unused expire with the period."


def _not_now(undecided: BankDebit | None) -> str:
    if undecided is None:
        return ""
    return (
        f" Your bank has been asked for {amount_of(undecided.outcome)}, which takes a few days."
        " Until it has decided, the plan can be changed at the end of the period only."
    )


def changing_now(
    subscription: SubscriptionView,
    preview: ChangePreview,
    method: ProviderPaymentMethod | None = None,
) -> Choice:
    """The provider's preview, to the cent."""
    due = formatting.money(preview.amount_due_minor, preview.currency)
    until = f" until {formatting.day(preview.period_end)}" if preview.period_end else ""
    count = formatting.counted(preview.executions_after, "execution")
    return Choice(
        NOW,
        "Now",
        f"{_charge(due, method)} today. {_new_period(f'{count}{until}', method)}"
        f" {_unused(subscription, preview)}{_beyond(preview.overage_minor, preview.currency)}",
        f"Pay {due} and change now",
        ends=f"Period ends {formatting.day(preview.period_end)}" if preview.period_end else "",
    )


def _new_period(holds: str, method: ProviderPaymentMethod | None) -> str:
    if method is not None and method.is_debit:
        return f"A new period with {holds} starts {BANK_DECIDES}."
    return f"A new period starts with {holds}."


def starting_next_period(
    subscription: SubscriptionView,
    preview: ChangePreview,
    method: ProviderPaymentMethod | None = None,
) -> tuple[OfferDialog, list[Choice]]:
    """The next period begins today, and renewals follow from today on."""
    name = preview.offer.name
    is_trial = subscription.status is SubscriptionStatus.TRIALING
    what = "trial" if is_trial else "period"
    dialog = OfferDialog(
        kind=NEXT_PERIOD,
        title=f"Start paying for {name} now" if is_trial else f"Start the next period of {name}",
        text=f"The current {what} would end on {formatting.day(subscription.period_end)}.",
        dismiss_label="Not now",
    )
    due = formatting.money(preview.amount_due_minor, preview.currency)
    count = formatting.counted(preview.executions_after, "execution")
    until = formatting.day(preview.period_end) if preview.period_end else ""
    lasts = f" until {until}" if until else ""
    renews = f"{lasts}, when it renews" if until else ""
    lost = formatting.counted(preview.executions_unused, "unused execution")
    if method is not None and method.is_debit:
        begins = _new_period(f"{count}{lasts}", method)
    else:
        begins = f"The {what} ends now, and a new period starts with {count}{renews}."
    text = (
        f"{_charge(due, method)} today. {begins}"
        f"{f' You give up {lost}.' if preview.executions_unused else ''}"
        f"{_beyond(preview.overage_minor, preview.currency)}"
    )
    return dialog, [Choice(NOW, "", text, f"Pay {due} and start now")]


def lines_of(
    preview: ChangePreview, method: ProviderPaymentMethod | None = None
) -> list[AmountLine]:
    """The lines of the invoice, then their total."""
    lines = [
        AmountLine(line.description, formatting.money(line.amount_minor, preview.currency))
        for line in preview.lines
    ]
    due = formatting.money(preview.amount_due_minor, preview.currency)
    is_debit = method is not None and method.is_debit
    return [*lines, AmountLine("Asked from your bank" if is_debit else "Charged today", due)]


def may_change_now(subscription: SubscriptionView, offer: OfferView) -> bool:
    return not is_smaller(offer, subscription.offer)


def cancelling(
    subscription: SubscriptionView,
    plan: PlanView | None,
    *,
    elsewhere: int,
    owed_minor: int,
    debit: BankDebit | None = None,
) -> tuple[OfferDialog, list[Choice]]:
    """`elsewhere`: executions left in other plans, which stay; `owed_minor`: for overage; `debit`:
    of what the subscription is on, while the bank has not paid. `plan`: what can be used."""
    name, end = subscription.offer.name, formatting.day(subscription.period_end)
    kept_until = end
    if debit is not None and plan is not None and plan.ends_at is not None:
        kept_until = formatting.day(plan.ends_at)
    left = plan.remaining if plan else 0
    counted = formatting.counted(left, "execution")
    others = formatting.counted(elsewhere, "execution")
    rest = f" You keep {others} in other plans." if elsewhere else ""
    then = rest or " After that, new executions are refused."
    beyond = _beyond(owed_minor, subscription.offer.currency) + _still_asked(debit)
    later = Choice(
        AT_PERIOD_END,
        f"On {end}",
        f"You keep {counted} until {kept_until}. The plan does not renew.{then}{beyond}"
        " You can undo this until then.",
        f"Cancel on {end}",
    )
    now = Choice(
        NOW,
        "Now",
        f"You lose {counted} right away, and nothing is refunded. Executions already running"
        f" will finish.{rest}{beyond}",
        f"Cancel now and lose {counted}" if left else "Cancel now",
    )
    dialog = OfferDialog(
        kind=CANCEL,
        title=f"Cancel {name}",
        text=f"The current period of {name} ends on {end}.",
        dismiss_label=f"Keep {name}",
    )
    return dialog, [later, now]


def _still_asked(debit: BankDebit | None) -> str:
    if debit is None or debit.decided_at is not None:
        return ""
    amount = amount_of(debit.outcome)
    return f" Your bank has been asked for {amount}: if it pays, you get {debit.name} for it."


def subscribed(subscription: SubscriptionView, summary: AccountSummary, due_minor: int) -> Message:
    """Says that the plan is there once it is among those of the account."""
    offer, plan = subscription.offer, summary.period_plan
    told = _not_paid(subscription, PaidFor.FIRST, summary)
    if told is not None:
        return told
    if plan is None:
        return confirming(offer.name)
    amount = formatting.money(due_minor, offer.currency)
    charged = f"{amount} was charged."
    if subscription.status is SubscriptionStatus.TRIALING:
        due_on = formatting.day(subscription.period_end)
        charged = f"Nothing was charged. {amount} will be charged on {due_on}."
    text = f"{charged} {availability(plan, summary)}"
    return Message("good", place_of(plan, summary), text)


def changed(
    subscription: SubscriptionView, preview: ChangePreview | None, summary: AccountSummary
) -> Message:
    """`preview`: what was confirmed; None if the change is scheduled."""
    next_offer = subscription.next_offer
    if next_offer is not None or preview is None:
        name = _new_version_of(next_offer or subscription.offer, subscription)
        title = f"{name[:1].upper()}{name[1:]} starts on {formatting.day(subscription.period_end)}"
        return Message("good", title, "Nothing was charged. You can undo this until then.")
    told = _not_paid(subscription, PaidFor.CHANGE, summary)
    if told is not None:
        return told
    name, plan = subscription.offer.name, summary.period_plan
    if plan is None:
        return confirming(name)
    title = f"You are now on {name}" if is_in_use(plan) else f"Paid: {place_of(plan, summary)}"
    return Message("good", title, f"{_charged(preview)} {availability(plan, summary)}")


def next_period_started(
    subscription: SubscriptionView, preview: ChangePreview, summary: AccountSummary
) -> Message:
    told = _not_paid(subscription, PaidFor.CHANGE, summary)
    if told is not None:
        return told
    name, plan = subscription.offer.name, summary.period_plan
    if plan is None:
        return confirming(name)
    title = f"The next period of {name} has started"
    return Message("good", title, f"{_charged(preview)} {availability(plan, summary)}")


def _charged(preview: ChangePreview) -> str:
    if not preview.amount_due_minor:
        return "Nothing was charged."
    return f"{formatting.money(preview.amount_due_minor, preview.currency)} was charged."


def _not_paid(
    subscription: SubscriptionView, paid_for: PaidFor, summary: AccountSummary
) -> Message | None:
    payment = subscription.payment
    return unpaid(payment, subscription.offer.name, paid_for, summary) if payment else None


def cancelled(subscription: SubscriptionView) -> Message:
    name = subscription.offer.name
    if subscription.ended_at is not None:
        return Message("good", f"{name} is cancelled", "It does not renew.")
    title = f"{name} ends on {formatting.day(subscription.ends_at)}"
    return Message("good", title, "It does not renew. You can undo this until then.")


def resumed(subscription: SubscriptionView) -> Message:
    end = formatting.day(subscription.period_end)
    return Message("good", f"{subscription.offer.name} continues", f"It renews on {end}.")


def side(offer: OfferView, *, ends: str = "") -> Side:
    count = formatting.counted(offer.executions, "execution")
    return Side(
        name=offer.name,
        price=formatting.price(offer),
        executions=f"{count} a {_interval(offer)}" if offer.is_subscription else count,
        ends=ends,
    )


def _replaced(subscription: SubscriptionView) -> str:
    """What is scheduled, and gives way to a change."""
    if subscription.cancel_at_period_end:
        ends = formatting.day(subscription.ends_at)
        return f" Your cancellation on {ends} is withdrawn then: the plan renews again."
    if subscription.next_offer is not None:
        name = subscription.next_offer.name
        return f" It replaces the change to {name} on {formatting.day(subscription.period_end)}."
    return ""


def _new_version_of(offer: OfferView, subscription: SubscriptionView) -> str:
    """Growth, or the new version of it that replaces the one held."""
    is_update = is_newer(offer, subscription.offer)
    return f"the new version of {offer.name}" if is_update else offer.name


def _unused(subscription: SubscriptionView, preview: ChangePreview) -> str:
    name = subscription.offer.name
    if not preview.executions_unused:
        return f"{name} has nothing left to credit."
    unused = formatting.counted(preview.executions_unused, f"unused {name} execution")
    credit = formatting.money(preview.credit_minor, preview.currency)
    return f"You give up {unused}; their value, {credit}, is deducted."


def _beyond(cost_minor: int, currency: str) -> str:
    """Overage is owed in any case."""
    cost = formatting.money(cost_minor, currency)
    return f" Your usage beyond the plan, {cost}, is billed as well." if cost_minor else ""


def _interval(offer: OfferView) -> str:
    return formatting.INTERVALS.get(offer.interval, "")
