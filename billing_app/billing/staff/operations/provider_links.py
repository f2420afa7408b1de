"""Links to the payment provider's pages."""

from typing import Protocol


class ProviderLinks(Protocol):
    """URLs of the provider's own pages for staff; "" where it has none."""

    def customer(self, customer_id: str) -> str: ...

    def subscription(self, subscription_id: str) -> str: ...

    def invoice(self, invoice_id: str) -> str: ...

    def payment(self, payment_id: str) -> str: ...

    def event(self, event_id: str) -> str: ...
