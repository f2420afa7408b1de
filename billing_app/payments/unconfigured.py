"""Replaces the payment provider when no key is set."""

from typing import Any, Final, Never

from billing_app.billing.subscriptions.provider import PaymentProviderUnavailableError

PROBLEM: Final = "Payments are not set up: STRIPE_SECRET_KEY is missing."


class NoProvider:
    """Implements billing's PaymentProvider by refusing every call."""

    async def _refuse(self, *_: Any, **__: Any) -> Never:
        raise PaymentProviderUnavailableError(PROBLEM)

    ensure_price = _refuse
    create_customer = _refuse
    payment_method = _refuse
    create_checkout = _refuse
    expire_checkout = _refuse
    create_subscription = _refuse
    preview_change = _refuse
    change_now = _refuse
    change_at_period_end = _refuse
    cancel_at_period_end = _refuse
    cancel_now = _refuse
    resume = _refuse
    portal_url = _refuse
    checkout = _refuse
    customer_snapshot = _refuse
    report_usage = _refuse
    metered_usage = _refuse
    buy_pack = _refuse
    void_invoice = _refuse
    settle_overage = _refuse
    customer_of_charge = _refuse
    our_customers = _refuse
    events_since = _refuse
