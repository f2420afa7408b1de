"""One-off charges at Stripe: a pack bought with the card on file, and overage settled late.

Each step has its own key, and each object carries the key of our request: an interrupted charge is
found again, and nothing is charged twice.
"""

from contextlib import suppress
from typing import Any

from billing_app.billing.money import Money
from billing_app.billing.subscriptions.errors import PaymentActionRequiredError
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentDeclinedError,
    PaymentProviderFailedError,
)
from billing_app.payments import declines, translate
from billing_app.payments.calls import PAGE_SIZE, all_rows, options, send
from billing_app.payments.cards import Cards


class Charges(Cards):
    async def buy_pack(
        self, *, customer_id: str, price_id: str, payment_method_id: str, key: str
    ) -> None:
        """Charge a pack to the card on file. A decline leaves no payable invoice behind.

        A bank that asks for a confirmation leaves one for the customer to pay: raises
        PaymentActionRequiredError. Raises PaymentMethodMissingError when the card is gone.
        """
        try:
            await self._buy_pack(customer_id, price_id, payment_method_id, key=key)
        except NotAtProviderError:
            await self.require_card(payment_method_id)
            raise

    async def _buy_pack(
        self, customer_id: str, price_id: str, payment_method_id: str, *, key: str
    ) -> None:
        body: dict[str, Any] = {
            "customer": customer_id,
            "auto_advance": False,
            "default_payment_method": payment_method_id,
            "pending_invoice_items_behavior": "exclude",
            **self.tax,
            "metadata": {translate.WRITE_METADATA: key},
        }
        invoices = self.client.v1.invoices
        made = await send(lambda: invoices.create_async(body, options(f"{key}:invoice")))  # pyright: ignore[reportArgumentType]
        item: dict[str, Any] = {
            "customer": customer_id,
            "invoice": made.id,
            "pricing": {"price": price_id},
            "quantity": 1,
        }
        items = self.client.v1.invoice_items
        await send(lambda: items.create_async(item, options(f"{key}:item")))  # pyright: ignore[reportArgumentType]
        final = await send(
            lambda: invoices.finalize_invoice_async(
                made.id, {"auto_advance": False}, options(f"{key}:finalize")
            )
        )
        if final.status == "paid":  # by the customer's credit balance
            return
        try:
            await send(
                lambda: invoices.pay_async(made.id, {"off_session": True}, options(f"{key}:pay"))
            )
        except PaymentDeclinedError as error:
            if declines.asks_to_confirm(error):
                page_url = final.hosted_invoice_url
                raise PaymentActionRequiredError(payment_url=page_url) from None
            await self.void_invoice(made.id)
            raise

    async def void_invoice(self, invoice_id: str) -> None:
        """Void an unpaid invoice, so that it can never be paid. Repeated, it changes nothing."""
        invoices = self.client.v1.invoices
        invoice = await send(lambda: invoices.retrieve_async(invoice_id))
        with suppress(PaymentProviderFailedError, NotAtProviderError):
            if invoice.status == "draft":
                await send(lambda: invoices.delete_async(invoice_id))
            elif invoice.status in ("open", "uncollectible"):
                await send(lambda: invoices.void_invoice_async(invoice_id))

    async def settle_overage(
        self,
        *,
        customer_id: str,
        amount: Money,
        description: str,
        payment_method_id: str | None,
        key: str,
    ) -> None:
        """Put an amount, or a negative one, on the customer's next invoice.

        A payment method means that no other invoice will come: one is created and charged to it.
        If the bank declines, it stays open and Stripe tries again.
        """
        items = self.client.v1.invoice_items
        if await self._of_request(items.list_async, customer_id, key) is None:
            item = translate.item(amount, description)
            item |= {"customer": customer_id, "metadata": {translate.WRITE_METADATA: key}}
            await send(lambda: items.create_async(item, options(f"{key}:item")))  # pyright: ignore[reportArgumentType]
        if payment_method_id is not None:
            await self._collect(customer_id, amount.currency, payment_method_id, key=key)

    async def _collect(
        self, customer_id: str, currency: str, payment_method_id: str, *, key: str
    ) -> None:
        """Invoice all pending items; resumes an earlier attempt that was interrupted."""
        invoices = self.client.v1.invoices
        body: dict[str, Any] = {
            "customer": customer_id,
            "auto_advance": True,
            "currency": currency.lower(),
            "default_payment_method": payment_method_id,
            "pending_invoice_items_behavior": "include",
            **self.tax,
            "metadata": {translate.WRITE_METADATA: key},
        }
        invoice = await self._of_request(invoices.list_async, customer_id, key)
        if invoice is None:
            invoice = await send(
                lambda: invoices.create_async(body, options(f"{key}:invoice"))  # pyright: ignore[reportArgumentType]
            )
        identifier: str = invoice.id
        if invoice.status == "draft":
            invoice = await send(
                lambda: invoices.finalize_invoice_async(
                    identifier, {"auto_advance": True}, options(f"{key}:finalize")
                )
            )
        if invoice.status == "open":
            with suppress(PaymentDeclinedError, PaymentProviderFailedError):
                await send(
                    lambda: invoices.pay_async(
                        identifier, {"off_session": True}, options(f"{key}:pay")
                    )
                )

    async def _of_request(self, list_rows: Any, customer_id: str, key: str) -> Any | None:
        """The object that carries the key of our request."""
        query = {"customer": customer_id, "limit": PAGE_SIZE}
        rows = await all_rows(lambda: list_rows(query))
        return next((row for row in rows if translate.request_key(row) == key), None)
