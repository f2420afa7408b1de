"""What a viewer is asked to agree to, each way with its consequence before the yes."""

from typing import Final

from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import PlanView
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.billing.subscriptions.provider import ProviderPaymentMethod
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.db.enums import SubscriptionStatus, When
from billing_app.states import formatting
from billing_app.states.payments import is_smaller
from billing_app.states.views import AmountLine, Choice, Message, OfferDialog, Side

SUBSCRIBE: Final = "subscribe"
CHANGE: Final = "change"
CANCEL: Final = "cancel"
NOW: Final = When.NOW.value
AT_PERIOD_END: Final = When.PERIOD_END.value


def subscribing(
    offer: OfferView, method: ProviderPaymentMethod, *, trial_days: int
) -> tuple[OfferDialog, list[Choice]]:
    """The card on file is charged, at once or after the trial: say so first."""
    amount, interval = formatting.money(offer.price_minor, offer.currency), _interval(offer)
    card = f"{method.brand} ending in {method.last4}" if method.last4 else method.brand
    begins = f"after {formatting.counted(trial_days, 'day')} of trial" if trial_days else "today"
    deal = OfferDialog(
        kind=SUBSCRIBE,
        title=f"Subscribe to {offer.name}",
        words=f"{amount} is charged to your {card} {begins}, and again each {interval}"
        " until you cancel.",
        no="Not now",
        after=side(offer),
    )
    count = formatting.counted(offer.executions, "execution")
    consequence = f"{count} are yours at once. What you have now stays, and is used first."
    return deal, [
        Choice(NOW, "", consequence, "Start the trial" if trial_days else f"Pay {amount}")
    ]


def changing(
    subscription: SubscriptionView, offer: OfferView, plan: PlanView | None
) -> tuple[OfferDialog, list[Choice]]:
    """Both sides; and the change that waits for the end of the period, which costs nothing yet."""
    end = formatting.day(subscription.period_end)
    deal = OfferDialog(
        kind=CHANGE,
        title=f"Change to {offer.name}",
        words="Nothing happens before you say yes.",
        no=f"Stay on {subscription.offer.name}",
        before=side(subscription.offer, ends=f"Ends {end}"),
        after=side(offer),
    )
    left = formatting.counted(plan.remaining if plan else 0, "execution")
    later = Choice(
        AT_PERIOD_END,
        f"On {end}",
        f"Nothing is charged today. You keep your {left} until then; what is still unused that day"
        f" ends with the period. From then on {formatting.price(offer)}.",
        f"Change on {end}",
        ends=f"Begins {end}",
    )
    return deal, [later]


def changing_now(subscription: SubscriptionView, preview: ChangePreview) -> Choice:
    """What the preview says, to the cent."""
    due = formatting.money(preview.amount_due_minor, preview.currency)
    until = f" until {formatting.day(preview.period_end)}" if preview.period_end else ""
    count = formatting.counted(preview.executions_after, "execution")
    return Choice(
        NOW,
        "Now",
        f"{due} is charged to your card today. A new period begins with {count}{until}."
        f" {_unused(subscription, preview)}{_beyond(preview.overage_minor, preview.currency)}",
        f"Pay {due} and change now",
        ends=f"Ends {formatting.day(preview.period_end)}" if preview.period_end else "",
    )


def lines_of(preview: ChangePreview) -> list[AmountLine]:
    """The lines of the invoice, and their sum last."""
    lines = [
        AmountLine(line.description, formatting.money(line.amount_minor, preview.currency))
        for line in preview.lines
    ]
    due = formatting.money(preview.amount_due_minor, preview.currency)
    return [*lines, AmountLine("Charged today", due)]


def may_change_now(subscription: SubscriptionView, offer: OfferView) -> bool:
    return not is_smaller(offer, subscription.offer)


def cancelling(
    subscription: SubscriptionView, plan: PlanView | None, *, elsewhere: int, owed_minor: int
) -> tuple[OfferDialog, list[Choice]]:
    """`elsewhere`: executions of other plans, which a cancellation leaves alone; `owed_minor`:
    for what was used beyond the plan."""
    name, end = subscription.offer.name, formatting.day(subscription.period_end)
    left = plan.remaining if plan else 0
    counted = formatting.counted(left, "execution")
    rest = (
        f" {formatting.counted(elsewhere, 'execution')} of other plans stay." if elsewhere else ""
    )
    then = " Then they go on." if elsewhere else " Then new runs are refused."
    beyond = _beyond(owed_minor, subscription.offer.currency)
    later = Choice(
        AT_PERIOD_END,
        f"On {end}",
        f"You keep {counted} until {end}, and it does not renew.{rest or then}{beyond}"
        " You can take this back until then.",
        f"Cancel on {end}",
    )
    now = Choice(
        NOW,
        "Now",
        f"You lose {counted} at once, and nothing is paid back. Runs that have begun are finished."
        f"{rest}{beyond}",
        f"Cancel now and lose {counted}" if left else "Cancel now",
    )
    deal = OfferDialog(
        kind=CANCEL,
        title=f"Cancel {name}",
        words=f"{name} is paid until {end}.",
        no=f"Keep {name}",
    )
    return deal, [later, now]


def subscribed(subscription: SubscriptionView) -> Message:
    offer = subscription.offer
    amount = formatting.money(offer.price_minor, offer.currency)
    count = formatting.counted(offer.executions, "execution")
    charged = f"{amount} was charged."
    if subscription.status is SubscriptionStatus.TRIALING:
        charged = f"Nothing was charged; on {formatting.day(subscription.period_end)} {amount} is."
    return Message("good", f"{offer.name} is active", f"{charged} {count} are yours.")


def changed(subscription: SubscriptionView, preview: ChangePreview | None) -> Message:
    """`preview`: what was agreed to; None when the change waits."""
    following = subscription.next_offer
    if following is not None or preview is None:
        name = following.name if following else subscription.offer.name
        title = f"{name} begins on {formatting.day(subscription.period_end)}"
        return Message("good", title, "Nothing was charged. You can take this back until then.")
    due = formatting.money(preview.amount_due_minor, preview.currency)
    return Message("good", f"You are on {subscription.offer.name} now", f"{due} was charged.")


def cancelled(subscription: SubscriptionView) -> Message:
    name = subscription.offer.name
    if subscription.ended_at is not None:
        return Message("good", f"{name} is cancelled", "It does not renew.")
    title = f"{name} ends on {formatting.day(subscription.period_end)}"
    return Message("good", title, "It does not renew. You can take this back until then.")


def resumed(subscription: SubscriptionView) -> Message:
    end = formatting.day(subscription.period_end)
    return Message("good", f"{subscription.offer.name} goes on", f"It renews on {end}.")


def side(offer: OfferView, *, ends: str = "") -> Side:
    count = formatting.counted(offer.executions, "execution")
    return Side(
        name=offer.name,
        price=formatting.price(offer),
        executions=f"{count} a {_interval(offer)}" if offer.is_subscription else count,
        ends=ends,
    )


def _unused(subscription: SubscriptionView, preview: ChangePreview) -> str:
    name = subscription.offer.name
    if not preview.executions_unused:
        return f"Nothing of {name} is left to credit."
    unused = formatting.counted(preview.executions_unused, "execution")
    credit = formatting.money(preview.credit_minor, preview.currency)
    return (
        f"The {unused} that you have not used of {name} end; their value, {credit}, is taken off."
    )


def _beyond(cost_minor: int, currency: str) -> str:
    """What was used beyond the plan is owed in any case."""
    if not cost_minor:
        return ""
    return (
        f" What was used beyond the plan, {formatting.money(cost_minor, currency)}, is billed too."
    )


def _interval(offer: OfferView) -> str:
    return formatting.INTERVALS.get(offer.interval, "")
