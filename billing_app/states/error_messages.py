"""Error messages for people: what happened, whether money moved, what to do."""

from typing import Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app.billing.errors import BillingError, InvalidInputError
from billing_app.billing.subscriptions.errors import (
    PaymentMethodMissingError,
)
from billing_app.billing.subscriptions.provider_errors import (
    BillingAddressMissingError,
    PaymentDeclinedError,
)
from billing_app.billing.subscriptions.purchase_outcomes import PaymentState, outcome_of_error
from billing_app.states.payment_words import UNCLEAR, confirmation
from billing_app.states.views import Message

AGAIN: Final = "Nothing was changed and nothing was charged. Try again."
FAILED: Final = "Something went wrong"
# By code: the title, and the button that leads to Stripe's portal.
PORTAL_MENDS: Final = {
    PaymentDeclinedError.code: ("The payment was declined", "Update card"),
    PaymentMethodMissingError.code: (PaymentMethodMissingError.title, "Add a card"),
    BillingAddressMissingError.code: ("Your billing address is missing", "Add billing address"),
}
MESSAGES: Final[dict[str, tuple[str, str]]] = {
    "payment_provider_failed": (
        "Stripe rejected the request",
        "Nothing was charged. If this keeps happening, contact support.",
    ),
    "offer_unavailable": (
        "This offer can't be bought at the moment",
        "Nothing was charged. Our staff can see it; try again later, or choose another offer.",
    ),
    "provider_key_conflict": (
        "Stripe rejected the request",
        "This request was not carried out. If this keeps happening, contact support.",
    ),
    "provider_not_adopted": (
        "Payments are paused",
        "Nothing was changed and nothing was charged. Your executions continue.",
    ),
    "same_offer": ("You are already on this plan", "There is nothing to change."),
    "change_loses_value": (
        "The credit for your current plan exceeds the new price",
        "Change at the end of the period instead, so that nothing is lost.",
    ),
    "currency_differs": (
        "This plan uses another currency",
        "A subscription keeps its currency. Cancel it first, then choose this plan.",
    ),
    "free_period_used": (
        "You have already used this free plan",
        "It starts again with the next period. Nothing was charged.",
    ),
    "card_trial_used": (
        "This card has already been used for a trial",
        "Nothing was charged. Choose the plan to start paying right away.",
    ),
    "payment_overdue": (
        "An invoice is unpaid",
        "Pay the open invoice first. Then you can change the plan right away.",
    ),
    "subscription_exists": (
        "This account already has a subscription",
        "Someone subscribed just now. This page will show it in a moment.",
    ),
    "subscription_ended": ("The subscription has ended", "Choose a plan to continue."),
    "subscription_not_found": ("The subscription no longer exists", "Choose a plan to continue."),
    "provider_write_pending": (
        "An earlier payment or change is being confirmed",
        "Nothing else is charged until Stripe confirms it. We keep checking: try again later.",
    ),
    "quote_outdated": (
        "The amounts have changed since you opened this",
        "Nothing was charged. Open the preview again to see the new amounts.",
    ),
    "offer_unknown": ("This plan is no longer available", "Choose another one."),
    "wrong_password": ("This is not your current password", "Nothing was changed. Try again."),
    "too_many_attempts": ("Too many attempts", "Nothing was changed. Try again later."),
    "mail_not_set_up": (
        "This site can't send email yet",
        "Nothing was changed. Ask its administrator to set up email.",
    ),
    "email_link_expired": (
        "No address is waiting for confirmation",
        "It was confirmed, withdrawn, or not confirmed within an hour.",
    ),
    "too_many_webhook_endpoints": (
        "There are already as many endpoints as possible",
        "Delete one that is no longer needed first.",
    ),
    "webhook_endpoint_not_found": ("This endpoint no longer exists", "Someone deleted it."),
    "webhook_delivery_not_found": (
        "This delivery is no longer kept",
        "Deliveries are kept for 30 days.",
    ),
    "webhook_endpoint_disabled": (
        "This endpoint is switched off",
        "Switch it on first, then send again.",
    ),
    "read_only": ("You are viewing this account read-only", "Nothing was changed."),
    "forbidden": ("You don't have permission to do this", "Ask an owner or billing admin."),
    "account_not_found": ("You don't have access to this account", "Choose one of your accounts."),
}

log = structlog.get_logger(__name__)


def problem(error: BillingError, *, charges: bool) -> Message:
    """`charges`: the request would have taken money. "Nothing was charged" is said only for codes
    that are known to mean it."""
    if error.code in PORTAL_MENDS:
        title, label = PORTAL_MENDS[error.code]
        return Message("bad", title, f"{error.detail} Nothing was charged.", url_label=label)
    outcome = outcome_of_error(error)
    if outcome is not None and outcome.state is PaymentState.CONFIRMATION_NEEDED:
        return confirmation(outcome.payment_url, error.detail)
    if outcome is not None and outcome.state is PaymentState.UNCLEAR:
        return Message("bad", "Stripe is not responding", _unclear(charges=charges))
    if error.code == InvalidInputError.code:
        return Message("bad", "Check what you entered", error.detail)
    unknown = (error.title, _unclear(charges=True) if charges else AGAIN)
    return Message("bad", *MESSAGES.get(error.code, unknown))


def unexpected_problem(*, charges: bool) -> Message:
    """For an error that nobody foresaw."""
    return Message("bad", FAILED, _unclear(charges=True) if charges else AGAIN)


def show_failure(exception: Exception) -> EventSpec:
    """A toast for the viewer, the exception for the log."""
    log.error("event_failed", exc_info=exception)
    return rx.toast.error(
        FAILED,
        description="The server could not do this right now. Try again in a moment.",
        position="top-center",
        id="event-failed",
        fallback_to_alert=True,
    )


def _unclear(*, charges: bool) -> str:
    if charges:
        return UNCLEAR
    return "Nothing was changed. Your executions continue; try again in a few minutes."
