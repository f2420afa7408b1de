"""One-off amounts at Stripe: a pack bought with the card on file, and overage that is settled late.

Each step has its own key, and each object carries our write's key, so that what was interrupted
is found again and nothing is asked for twice.
"""

from contextlib import suppress
from typing import Any

from billing_app.billing.money import Money
from billing_app.billing.subscriptions.provider import (
    NotAtProviderError,
    PaymentDeclinedError,
    PaymentProviderFailedError,
)
from billing_app.payments import translate
from billing_app.payments.calls import PAGE_SIZE, StripeCalls, all_rows, asked, options


class Charges(StripeCalls):
    async def buy_pack(
        self, *, customer_id: str, price_id: str, payment_method_id: str, key: str
    ) -> None:
        """Charge a pack to the card on file. A decline leaves no invoice that could be paid."""
        body: dict[str, Any] = {
            "customer": customer_id,
            "auto_advance": False,
            "default_payment_method": payment_method_id,
            "pending_invoice_items_behavior": "exclude",
            "metadata": {translate.WRITE_METADATA: key},
        }
        invoices = self.client.v1.invoices
        made = await asked(lambda: invoices.create_async(body, options(f"{key}:invoice")))  # pyright: ignore[reportArgumentType]
        item: dict[str, Any] = {
            "customer": customer_id,
            "invoice": made.id,
            "pricing": {"price": price_id},
            "quantity": 1,
        }
        items = self.client.v1.invoice_items
        await asked(lambda: items.create_async(item, options(f"{key}:item")))  # pyright: ignore[reportArgumentType]
        await asked(
            lambda: invoices.finalize_invoice_async(
                made.id, {"auto_advance": False}, options(f"{key}:finalize")
            )
        )
        try:
            await asked(
                lambda: invoices.pay_async(made.id, {"off_session": True}, options(f"{key}:pay"))
            )
        except PaymentDeclinedError:
            await self.give_up_invoice(made.id)
            raise

    async def give_up_invoice(self, invoice_id: str) -> None:
        """Void what is not paid, so that it never will be; done before, it is done."""
        invoices = self.client.v1.invoices
        found = await asked(lambda: invoices.retrieve_async(invoice_id))
        with suppress(PaymentProviderFailedError, NotAtProviderError):
            if found.status == "draft":
                await asked(lambda: invoices.delete_async(invoice_id))
            elif found.status in ("open", "uncollectible"):
                await asked(lambda: invoices.void_invoice_async(invoice_id))

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

        With a payment method no invoice is to come by itself: one is made, and charged to it. What
        the bank declines stays open, and Stripe tries again.
        """
        if not await self._has_item(customer_id, key):
            item = translate.item(amount, description)
            item |= {"customer": customer_id, "metadata": {translate.WRITE_METADATA: key}}
            items = self.client.v1.invoice_items
            await asked(lambda: items.create_async(item, options(f"{key}:item")))  # pyright: ignore[reportArgumentType]
        if payment_method_id is not None:
            await self._collect(customer_id, amount.currency, payment_method_id, key=key)

    async def _collect(
        self, customer_id: str, currency: str, payment_method_id: str, *, key: str
    ) -> None:
        """One invoice of all that waits for one; taken up where an earlier try was cut off."""
        invoices = self.client.v1.invoices
        body: dict[str, Any] = {
            "customer": customer_id,
            "auto_advance": True,
            "currency": currency.lower(),
            "default_payment_method": payment_method_id,
            "pending_invoice_items_behavior": "include",
            "metadata": {translate.WRITE_METADATA: key},
        }
        found = await self._invoice_of(customer_id, key)
        if found is None:
            found = await asked(
                lambda: invoices.create_async(body, options(f"{key}:invoice"))  # pyright: ignore[reportArgumentType]
            )
        identifier: str = found.id
        if found.status == "draft":
            found = await asked(
                lambda: invoices.finalize_invoice_async(
                    identifier, {"auto_advance": True}, options(f"{key}:finalize")
                )
            )
        if found.status == "open":
            with suppress(PaymentDeclinedError, PaymentProviderFailedError):
                await asked(
                    lambda: invoices.pay_async(
                        identifier, {"off_session": True}, options(f"{key}:pay")
                    )
                )

    async def _has_item(self, customer_id: str, key: str) -> bool:
        query = {"customer": customer_id, "limit": PAGE_SIZE}
        items = self.client.v1.invoice_items
        rows = await all_rows(lambda: items.list_async(query))  # pyright: ignore[reportArgumentType]
        return any(translate.metadata(row).get(translate.WRITE_METADATA) == key for row in rows)

    async def _invoice_of(self, customer_id: str, key: str) -> Any | None:
        query = {"customer": customer_id, "limit": PAGE_SIZE}
        invoices = self.client.v1.invoices
        rows = await all_rows(lambda: invoices.list_async(query))  # pyright: ignore[reportArgumentType]
        carrying = (
            row for row in rows if translate.metadata(row).get(translate.WRITE_METADATA) == key
        )
        return next(carrying, None)
