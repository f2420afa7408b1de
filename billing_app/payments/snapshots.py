"""Reads from Stripe: what a customer has, all our customers, the event log."""

from datetime import datetime
from typing import Any, Final

from billing_app.billing.subscriptions.provider import (
    ChargedPayment,
    OurCustomer,
    OurCustomers,
    ProviderEvent,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
    ReturnedPayment,
)
from billing_app.payments import translate
from billing_app.payments.calls import (
    PAGE_SIZE,
    StripeCalls,
    all_rows,
    complete,
    reference,
    send,
)
from billing_app.payments.invoice_fields import purchase_order_of

EXPANDED: Final = ["data.schedule", "data.default_payment_method"]


class Snapshots(StripeCalls):
    async def customer_snapshot(self, customer_id: str) -> ProviderSnapshot:
        subscriptions = await self.subscriptions_of(customer_id)
        query = self._invoices_of(customer_id)
        billed = await all_rows(lambda: self.client.v1.invoices.list_async(query))
        returned = await self._returned({"customer": customer_id}) if billed else {}
        invoices = await self._translated(billed, returned)
        return ProviderSnapshot(customer_id, subscriptions, invoices)

    async def subscriptions_of(self, customer_id: str) -> list[ProviderSubscription]:
        query: Any = {"customer": customer_id, "limit": PAGE_SIZE}
        query |= {"status": "all", "expand": EXPANDED}
        rows = await all_rows(lambda: self.client.v1.subscriptions.list_async(query))
        for subscription in rows:
            await complete(subscription.items)
        return [translate.provider_subscription(row) for row in reversed(rows)]

    async def recent_invoices(
        self, customer_id: str, after: str | None
    ) -> list[ProviderInvoice] | None:
        query = self._invoices_of(customer_id) | ({"ending_before": after} if after else {})
        page = await send(lambda: self.client.v1.invoices.list_async(query))
        return None if page.has_more else await self._translated(page.data, {})

    async def invoice(self, invoice_id: str, *, with_returned: bool) -> ProviderInvoice:
        query: Any = {"expand": ["payments"]}
        row = await send(lambda: self.client.v1.invoices.retrieve_async(invoice_id, query))
        [invoice] = await self._translated([row], {})
        returned: dict[str, ReturnedPayment] = {}
        for intent_id in invoice.payment_ids if with_returned else ():
            returned |= await self._returned({"payment_intent": intent_id})
        return invoice.with_returned(
            [returned[each] for each in invoice.payment_ids if each in returned]
        )

    async def payment_of_charge(self, charge_id: str) -> ChargedPayment:
        charge = await send(lambda: self.client.v1.charges.retrieve_async(charge_id))
        customer_id = reference(charge.customer) if charge.customer else ""
        payment_id = reference(charge.payment_intent) if charge.payment_intent else ""
        return ChargedPayment(customer_id, payment_id)

    async def our_customers(self, after: str | None) -> OurCustomers:
        query: Any = {"limit": PAGE_SIZE} | ({"starting_after": after} if after else {})
        page = await send(lambda: self.client.v1.customers.list_async(query))
        ours = [
            OurCustomer(
                row.id,
                translate.metadata(row)[translate.ACCOUNT_METADATA],
                translate.metadata(row).get(translate.INSTALLATION_METADATA, ""),
                row.name or "",
                row.email or None,
                purchase_order_of(row),
            )
            for row in page.data
            if translate.ACCOUNT_METADATA in translate.metadata(row)
        ]
        return OurCustomers(ours, page.data[-1].id if page.data else None, page.has_more)

    async def events_since(self, since: datetime) -> list[ProviderEvent]:
        """Stripe keeps events for 30 days (docs.stripe.com/api/events)."""
        query = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
        rows = await all_rows(lambda: self.client.v1.events.list_async(query))  # pyright: ignore[reportArgumentType]
        return [translate.provider_event(row) for row in rows]

    def _invoices_of(self, customer_id: str) -> Any:
        return {"customer": customer_id, "limit": PAGE_SIZE, "expand": ["data.payments"]}

    async def _translated(
        self, newest_first: list[Any], returned: dict[str, ReturnedPayment]
    ) -> list[ProviderInvoice]:
        """Oldest first."""
        for invoice in newest_first:
            await complete(invoice.lines)
            await complete(invoice.payments)
        processing = await self._processing(newest_first)
        return [
            translate.provider_invoice(row, returned, processing) for row in reversed(newest_first)
        ]

    async def _returned(self, of: dict[str, str]) -> dict[str, ReturnedPayment]:
        """Refunds and disputes by payment intent: of a customer, or of one intent."""
        query: Any = of | {"limit": PAGE_SIZE}
        returned: dict[str, ReturnedPayment] = {}
        for charge in await all_rows(lambda: self.client.v1.charges.list_async(query)):
            if charge.payment_intent and (charge.amount_refunded or charge.disputed):
                intent_id = reference(charge.payment_intent)
                disputes = await self._disputes(intent_id) if charge.disputed else []
                returned[intent_id] = translate.returned(charge, disputes)
        return returned

    async def _processing(self, invoices: list[Any]) -> set[str]:
        """The payments of open invoices that the bank has not decided: of slow debits."""
        intents = [
            intent
            for invoice in invoices
            if invoice.status == "open"
            for intent in translate.intents_of(invoice)
        ]
        retrieve = self.client.v1.payment_intents.retrieve_async
        found = [await send(lambda intent=intent: retrieve(intent)) for intent in intents]
        return {intent.id for intent in found if intent.status == "processing"}

    async def _disputes(self, intent_id: str) -> list[Any]:
        query = {"payment_intent": intent_id, "limit": PAGE_SIZE}
        return await all_rows(lambda: self.client.v1.disputes.list_async(query))  # pyright: ignore[reportArgumentType]
