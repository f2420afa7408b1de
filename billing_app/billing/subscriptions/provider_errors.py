"""How a call to the payment provider fails."""

from billing_app.billing.errors import BillingError


class PaymentDeclinedError(BillingError):
    """The bank declined. Nothing was charged."""

    code = "payment_declined"
    title = "The payment was declined"

    def __init__(self, *, reason: str, detail: str) -> None:
        super().__init__(detail, decline_reason=reason)


class PaymentProviderUnavailableError(BillingError):
    """The provider gave no clear answer. What it did is looked up, never guessed."""

    code = "payment_provider_unavailable"
    title = "The payment provider is not responding"
    retry_after_seconds = 5


class PaymentProviderFailedError(BillingError):
    """The provider rejected the request itself."""

    code = "payment_provider_failed"
    title = "The payment provider refused the request"


class BillingAddressMissingError(PaymentProviderFailedError):
    """The tax depends on the customer's address, which the provider does not know. Nothing was
    charged."""

    code = "billing_address_missing"
    title = "The billing address is missing"

    def __init__(self) -> None:
        super().__init__("The tax depends on it. Add it in the portal, then try again.")


class OfferUnavailableError(PaymentProviderFailedError):
    """The provider has archived its price and does not put it on sale again. Nothing was charged;
    reconciliation reports it to staff."""

    code = "offer_unavailable"
    title = "This offer cannot be bought at the moment"


class ProviderKeyConflictError(PaymentProviderFailedError):
    """The provider saw this key with another request, so this one was not carried out. It is the
    matter of one account: the provider is up."""

    code = "provider_key_conflict"
    title = "The payment provider has another request under this key"


class NotAtProviderError(BillingError):
    """The provider does not know the object."""

    code = "not_at_provider"
    title = "Not found at the payment provider"
