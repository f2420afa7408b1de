"""Links to Stripe's dashboard (docs.stripe.com/dashboard), or to the sandbox's pages."""

from typing import Final

DASHBOARD: Final = "https://dashboard.stripe.com"
LIVE_KEYS: Final = ("sk_live_", "rk_live_")


class Dashboard:
    """Implements billing's ProviderLinks."""

    def __init__(self, secret_key: str | None, api_base: str | None = None) -> None:
        """`api_base`: the address of the sandbox, when it is used instead of Stripe. It has pages
        for invoices only."""
        self._sandbox = api_base.rstrip("/") if api_base else None
        if secret_key is None or self._sandbox is not None:
            self._base = None
        else:
            self._base = DASHBOARD if secret_key.startswith(LIVE_KEYS) else f"{DASHBOARD}/test"

    def customer(self, customer_id: str) -> str:
        return self._page("customers", customer_id)

    def subscription(self, subscription_id: str) -> str:
        return self._page("subscriptions", subscription_id)

    def invoice(self, invoice_id: str) -> str:
        if self._sandbox is not None:
            return f"{self._sandbox}/invoices/{invoice_id}"
        return self._page("invoices", invoice_id)

    def payment(self, payment_id: str) -> str:
        return self._page("payments", payment_id)

    def event(self, event_id: str) -> str:
        return self._page("events", event_id)

    def _page(self, folder: str, provider_id: str) -> str:
        return f"{self._base}/{folder}/{provider_id}" if self._base else ""
