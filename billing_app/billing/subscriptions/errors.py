"""Why a subscription cannot be started or changed."""

from typing import Final

from billing_app.billing.errors import BillingError, ConflictError

# Reasons of a "decline" by a bank that asks for the customer's confirmation (3-D Secure).
CONFIRM_CODES: Final = frozenset(
    {
        "authentication_required",
        "subscription_payment_intent_requires_action",
        "invoice_payment_intent_requires_action",
    }
)


class SubscriptionExistsError(ConflictError):
    code = "subscription_exists"
    title = "The account already has a subscription"


class SubscriptionEndedError(ConflictError):
    code = "subscription_ended"
    title = "The subscription has ended"


class SameOfferError(ConflictError):
    code = "same_offer"
    title = "The subscription is already on this offer"


class CurrencyDiffersError(ConflictError):
    code = "currency_differs"
    title = "A subscription keeps its currency"


class PaymentOverdueError(ConflictError):
    code = "payment_overdue"
    title = "A payment is overdue"


class ChangeLosesValueError(ConflictError):
    code = "change_loses_value"
    title = "The credit is higher than the new price"


class PaymentActionRequiredError(BillingError):
    """Nothing was charged or changed. `payment_url`: where the customer confirms the payment, which
    also carries out what it is for; None: nothing waits for a confirmation."""

    code = "payment_action_required"
    title = "The bank asks for a confirmation of the payment"

    def __init__(self, detail: str | None = None, *, payment_url: str | None) -> None:
        super().__init__(
            detail or "Open payment_url to confirm the payment. Nothing is changed until then.",
            payment_url=payment_url,
        )
        self.payment_url = payment_url


class PaymentMethodMissingError(ConflictError):
    code = "payment_method_missing"
    title = "There is no card on file"


class CardGoneError(PaymentMethodMissingError):
    """It was on file when somebody agreed to a payment. `last4` "": it is no card."""

    title = "The card is no longer on file"

    def __init__(self, last4: str) -> None:
        card = f"The card ending in {last4}" if last4 else "The payment method"
        super().__init__(f"{card} is no longer on file. Add a card, then try again.")


class QuoteOutdatedError(ConflictError):
    code = "quote_outdated"
    title = "The preview is out of date"
