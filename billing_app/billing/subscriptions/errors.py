"""Why a subscription cannot be started or changed."""

from billing_app.billing.errors import ConflictError


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


class QuoteOutdatedError(ConflictError):
    code = "quote_outdated"
    title = "The preview is out of date"
