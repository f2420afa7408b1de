"""Decline reasons in plain words (docs.stripe.com/declines/codes)."""

from typing import Final

import stripe

from billing_app.billing.subscriptions.errors import CONFIRM_CODES
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
)

GENERAL: Final = "The bank declined the payment. Try another card, or contact your bank."
CONFIRM: Final = "Your bank asks you to confirm the payment."
MESSAGES: Final = {
    "insufficient_funds": "The card has insufficient funds.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The card's security code is incorrect.",
    "incorrect_number": "The card number is incorrect.",
    "lost_card": GENERAL,
    "stolen_card": GENERAL,
    "processing_error": "The bank could not process the payment. Try again in a moment.",
    "card_velocity_exceeded": "The card has reached its limit. Use another card or try later.",
    **dict.fromkeys(CONFIRM_CODES, CONFIRM),
}


def asks_to_confirm(error: PaymentDeclinedError) -> bool:
    """Whether the bank did not decline, but wants the customer's confirmation (3-D Secure)."""
    return error.extensions["decline_reason"] in CONFIRM_CODES


def declined(error: stripe.CardError) -> PaymentDeclinedError:
    decline_code = getattr(error.error, "decline_code", None) if error.error else None
    reason = decline_code or error.code or "generic_decline"
    detail = MESSAGES.get(reason) or MESSAGES.get(error.code or "") or GENERAL
    return PaymentDeclinedError(reason=reason, detail=detail)
