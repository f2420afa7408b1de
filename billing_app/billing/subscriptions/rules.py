"""The rules of changing an offer, without a database.

Unused executions at a change: what was paid for and not used is credited by its *value*, not by
the time that is left. Using everything in the first hour and upgrading then earns no credit;
an upgrade early with nothing used costs the difference of the prices
(docs/explanation/payments.md).
"""

from billing_app.billing.errors import ConflictError
from billing_app.billing.money import share_rounded_down
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.offers.currencies import chargeable
from billing_app.billing.subscriptions.provider import Credit


class SubscriptionExistsError(ConflictError):
    code = "subscription_exists"
    title = "There is a subscription already"


class SameOfferError(ConflictError):
    code = "same_offer"
    title = "The subscription is on this offer already"


class ChangeLosesValueError(ConflictError):
    code = "change_loses_value"
    title = "What is left is worth more than the new price"


class CurrencyDiffersError(ConflictError):
    code = "currency_differs"
    title = "A subscription keeps its currency"


class PaymentOverdueError(ConflictError):
    code = "payment_overdue"
    title = "A payment is overdue"


def credit_for(offer: OfferView, *, unused: int, refunded_minor: int = 0) -> Credit | None:
    """The value of `unused` executions at the offer's price; None when it is nothing.

    What was paid back already made the whole period cheaper by as much.

    Measured against what the offer sells, not against what the plan holds: a plan that was made
    smaller, because some of it had been credited already, is worth less accordingly.
    """
    bought = max(offer.executions, unused)
    price_minor = max(0, offer.price_minor - refunded_minor)
    amount_minor = chargeable(share_rounded_down(price_minor, unused, bought), offer.currency)
    if amount_minor == 0:
        return None
    description = f"{unused:,} of {bought:,} executions unused"
    return Credit(amount_minor=amount_minor, currency=offer.currency, description=description)


def require_change_now(old: OfferView, new: OfferView, credit: Credit | None) -> None:
    """Raises SameOfferError, CurrencyDiffersError, ChangeLosesValueError."""
    require_other_offer(old, new)
    if credit is not None and credit.amount_minor > new.price_minor:
        raise ChangeLosesValueError(
            "Change at the end of the period instead: nothing of what is left is lost then."
        )


def require_other_offer(old: OfferView, new: OfferView) -> None:
    """Raises SameOfferError, CurrencyDiffersError."""
    if old.version_id == new.version_id:
        raise SameOfferError(offer=new.code)
    if old.currency != new.currency:
        raise CurrencyDiffersError


def executions_after_change(new: OfferView, *, quoted_unused: int, unused: int) -> int:
    """What the new plan holds: those used between quote and change were credited, and count
    against it."""
    return max(0, new.executions - max(0, quoted_unused - unused))
