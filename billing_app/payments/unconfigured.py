"""Replaces the payment provider when no key is set."""

from typing import Any, Final, Never

from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)

PROBLEM: Final = "Payments are not set up: STRIPE_SECRET_KEY is missing."


class NoProvider:
    """Implements billing's PaymentProvider by refusing every call."""

    computes_tax = False

    async def close(self) -> None:
        """Nothing is open."""

    async def _refuse(self, *_: Any, **__: Any) -> Never:
        raise PaymentProviderUnavailableError(PROBLEM)

    account = require_writable = _refuse
    ensure_price = activate = create_customer = update_customer = payment_method = _refuse
    require_card = create_checkout = expire_checkout = create_subscription = _refuse
    preview_change = change_now = _refuse
    change_at_period_end = cancel_at_period_end = cancel_now = resume = put_back = _refuse
    portal_url = checkout = customer_snapshot = report_usage = _refuse
    metered_usage = buy_pack = void_invoice = settle_overage = _refuse
    preview_purchase = payment_of_charge = our_customers = events_since = _refuse
    subscriptions_of = recent_invoices = invoice = _refuse
