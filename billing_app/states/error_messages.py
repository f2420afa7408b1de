"""Errors as people's words: what happened, whether money moved, what to do."""

from typing import Final

from billing_app.billing.errors import BillingError, InvalidInputError
from billing_app.states.views import Message

AGAIN: Final = "Nothing was changed and nothing was charged. Try again."
TO_PORTAL: Final = "Change the card"
WORDS: Final[dict[str, tuple[str, str]]] = {
    "payment_provider_failed": (
        "Stripe refused the request",
        "Nothing was charged. If it stays like this, ask support.",
    ),
    "same_offer": ("You are on this plan already", "There is nothing to change."),
    "change_loses_value": (
        "What is left is worth more than the new price",
        "Change when the period ends instead: then nothing of it is lost.",
    ),
    "currency_differs": (
        "This plan has another currency",
        "A subscription keeps its currency. Cancel it first, then choose this plan.",
    ),
    "payment_overdue": (
        "A payment is open",
        "Pay the open invoice first; then the plan can be changed at once.",
    ),
    "subscription_exists": (
        "There is a plan already",
        "Somebody subscribed just now. This page shows it in a moment.",
    ),
    "subscription_ended": ("The subscription has ended", "Choose a plan to go on."),
    "subscription_not_found": ("The subscription is gone", "Choose a plan to go on."),
    "provider_write_pending": (
        "An earlier request is still under way",
        "Stripe did not answer it yet. It is looked up by itself; try again in a few minutes.",
    ),
    "sync_contended": ("This is being changed by others", "Look again in a moment."),
    "quote_outdated": (
        "The amounts have changed while you looked",
        "Nothing was charged. Open the preview again to see the new ones.",
    ),
    "payment_method_missing": (
        "There is no card on file",
        "Add a card at Stripe first, then switch this on.",
    ),
    "offer_unknown": ("This plan is no longer sold", "Choose another one."),
    "forbidden": ("You may not do this", "An owner or billing admin can."),
    "account_not_found": ("This account is not yours", "Choose one of your accounts."),
}
UNKNOWN: Final = Message("bad", "That did not work", AGAIN)


def problem(error: BillingError, *, charges: bool) -> Message:
    """`charges`: the request would have taken money."""
    if error.code == "payment_declined":
        explained = f"{error.detail} Nothing was charged."
        return Message("bad", "The payment was declined", explained, url_words=TO_PORTAL)
    if error.code == "payment_provider_unavailable":
        return Message("bad", "Stripe does not answer right now", _unclear(charges=charges))
    if error.code == InvalidInputError.code:
        return Message("bad", "This can't be used", error.detail)
    title, explained = WORDS.get(error.code, (error.title, AGAIN))
    return Message("bad", title, explained)


def _unclear(*, charges: bool) -> str:
    if charges:
        return (
            "It may have gone through or not: that is looked up, and this page will show it."
            " Nothing is ever charged twice."
        )
    return "Nothing was changed. Your runs go on; try again in a few minutes."
