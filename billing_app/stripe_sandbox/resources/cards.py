"""Stripe's documented test cards and how they behave. Source: https://docs.stripe.com/testing"""

import hashlib
from dataclasses import dataclass

from billing_app.stripe_sandbox.errors import Json, StripeError


@dataclass(frozen=True)
class Decline:
    code: str
    decline_code: str
    message: str


@dataclass(frozen=True)
class Card:
    """A test card: when it is declined, requires 3-D Secure, or is disputed."""

    number: str
    declined: Decline | None = None
    attaches: bool = True
    asks_on_session: bool = False
    asks_off_session: bool = False
    asks_until_set_up: bool = False
    declined_after_challenge: Decline | None = None
    dispute_reason: str | None = None


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", decline_code, message)


_GENERIC = _declined("generic_decline")
_FUNDS = _declined("insufficient_funds", "Your card has insufficient funds.")

_SPECIAL = (
    Card("4000000000000002", _GENERIC, attaches=False),
    Card("4000000000009995", _FUNDS, attaches=False),
    Card("4000000000009987", _declined("lost_card"), attaches=False),
    Card("4000000000009979", _declined("stolen_card"), attaches=False),
    Card("4000000000000069", Decline("expired_card", "expired_card", "Your card has expired."),
         attaches=False),
    Card("4000000000000127", Decline("incorrect_cvc", "incorrect_cvc",
         "Your card's security code is incorrect."), attaches=False),
    Card("4000000000000119", Decline("processing_error", "processing_error",
         "An error occurred while processing your card. Try again in a little bit."),
         attaches=False),
    Card("4000000000000341", _GENERIC),
    Card("4000002500003155", asks_on_session=True, asks_until_set_up=True),
    Card("4000002760003184", asks_on_session=True, asks_off_session=True),
    Card("4000003800000446", asks_on_session=True),
    Card("4000000000003220", asks_on_session=True),
    Card("4000008260003178", asks_on_session=True, asks_until_set_up=True,
         declined_after_challenge=_FUNDS),
    Card("4000008400001629", asks_on_session=True, asks_off_session=True,
         declined_after_challenge=_GENERIC),
    Card("4000000000000259", dispute_reason="fraudulent"),
    Card("4000000000002685", dispute_reason="product_not_received"),
)  # fmt: skip
_CARDS = {card.number: card for card in _SPECIAL}

_TOKENS = {
    "visa": "4242424242424242",
    "visa_debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "amex": "378282246310005",
    "chargeDeclined": "4000000000000002",
    "visa_chargeDeclined": "4000000000000002",
    "chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "chargeDeclinedExpiredCard": "4000000000000069",
    "chargeDeclinedIncorrectCvc": "4000000000000127",
    "chargeDeclinedProcessingError": "4000000000000119",
    "chargeCustomerFail": "4000000000000341",
    "threeDSecure2Required": "4000000000003220",
    "authenticationRequired": "4000002760003184",
    "authenticationRequiredOnSetup": "4000002500003155",
    "authenticationRequiredSetupForOffSession": "4000003800000446",
    "authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "createDispute": "4000000000000259",
    "createDisputeProductNotReceived": "4000000000002685",
}
_BRANDS = (("4", "visa"), ("5", "mastercard"), ("2", "mastercard"), ("34", "amex"),
           ("37", "amex"), ("6", "discover"), ("35", "jcb"), ("30", "diners"))  # fmt: skip


def card_for(number: str) -> Card:
    """The card with this number; one without special behaviour always succeeds."""
    return _CARDS.get(number) or Card(number)


def number_of_token(token: str) -> str | None:
    """The card number behind `tok_visa` or `pm_card_visa`; None for any other name."""
    for prefix in ("pm_card_", "tok_"):
        if token.startswith(prefix):
            return _TOKENS.get(token.removeprefix(prefix))
    return None


def brand_of(number: str) -> str:
    matching = [pair for pair in _BRANDS if number.startswith(pair[0])]
    return max(matching, key=lambda pair: len(pair[0]))[1] if matching else "unknown"


def fingerprint_of(number: str) -> str:
    return hashlib.sha256(f"sandbox:{number}".encode()).hexdigest()[:16]


def check_number(number: str, exp_month: int, exp_year: int, now: tuple[int, int]) -> None:
    """Refuses an impossible card, as Stripe does before it contacts the bank."""
    digits = [int(digit) for digit in number if digit.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
    if not 12 <= len(digits) <= 19 or len(digits) != len(number) or sum(doubled) % 10:
        raise card_error(
            Decline("incorrect_number", "incorrect_number", "Your card number is incorrect."),
            param="number",
        )
    if not 1 <= exp_month <= 12:
        raise card_error(
            Decline("invalid_expiry_month", "", "Your card's expiration month is invalid."),
            param="exp_month",
        )
    if (exp_year, exp_month) < now:
        raise card_error(
            Decline("invalid_expiry_year", "", "Your card's expiration year is invalid."),
            param="exp_year",
        )


def card_error(
    decline: Decline, *, keep: frozenset[str] = frozenset(), **fields: Json | str | None
) -> StripeError:
    return StripeError(
        402,
        "card_error",
        decline.message,
        keep=keep,
        code=decline.code,
        decline_code=decline.decline_code or None,
        **fields,
    )
