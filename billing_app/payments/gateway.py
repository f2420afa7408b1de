"""The Stripe gateway, composed of its topics. Only `payments/` talks to Stripe.

Small async functions with time-outs; each write has a persisted idempotency key.
"""

from billing_app.payments.catalogue import Prices
from billing_app.payments.charges import Charges
from billing_app.payments.customers import Customers
from billing_app.payments.importing import Imports
from billing_app.payments.snapshots import Snapshots
from billing_app.payments.subscriptions import Subscriptions


class StripeGateway(Prices, Customers, Subscriptions, Charges, Snapshots, Imports):
    """Implements billing's PaymentProvider and ForeignAccount."""
