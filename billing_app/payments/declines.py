"""Why a bank said no, in plain words (docs.stripe.com/declines/codes)."""

from typing import Final

import stripe

from billing_app.billing.subscriptions.provider import PaymentDeclinedError

GENERAL: Final = "The bank declined the payment. Try another card, or ask your bank."
CONFIRM: Final = (
    "The bank wants you to confirm this card yourself: add it at Stripe once more, or another one."
)
WORDS: Final = {
    "insufficient_funds": "The card has not enough funds for this payment.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The card's security code is wrong.",
    "incorrect_number": "The card number is wrong.",
    "lost_card": GENERAL,
    "stolen_card": GENERAL,
    "processing_error": "The bank could not process the payment just now. Try again shortly.",
    "card_velocity_exceeded": "The card has reached its limit. Try later, or another card.",
    "authentication_required": CONFIRM,
    "subscription_payment_intent_requires_action": CONFIRM,
    "invoice_payment_intent_requires_action": CONFIRM,
}


def declined(error: stripe.CardError) -> PaymentDeclinedError:
    decline_code = getattr(error.error, "decline_code", None) if error.error else None
    reason = decline_code or error.code or "generic_decline"
    words = WORDS.get(reason) or WORDS.get(error.code or "") or GENERAL
    return PaymentDeclinedError(reason=reason, words=words)
