"""Reads from Stripe: everything of a customer, all our customers, the event log."""

from datetime import datetime
from typing import Any, Final

from billing_app.billing.subscriptions.provider import (
    OurCustomer,
    ProviderEvent,
    ProviderSnapshot,
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

EXPANDED: Final = ["data.schedule", "data.default_payment_method"]


class Snapshots(StripeCalls):
    async def customer_snapshot(self, customer_id: str) -> ProviderSnapshot:
        of_customer = {"customer": customer_id, "limit": PAGE_SIZE}
        subscriptions = of_customer | {"status": "all", "expand": EXPANDED}
        invoices = of_customer | {"expand": ["data.payments"]}
        client = self.client.v1
        subscribed = await all_rows(lambda: client.subscriptions.list_async(subscriptions))  # pyright: ignore[reportArgumentType]
        billed = await all_rows(lambda: client.invoices.list_async(invoices))  # pyright: ignore[reportArgumentType]
        for subscription in subscribed:
            await complete(subscription.items)
        for invoice in billed:
            await complete(invoice.lines)
            await complete(invoice.payments)
        returned = await self._returned(customer_id) if billed else {}
        processing = await self._processing(billed)
        return ProviderSnapshot(
            customer_id=customer_id,
            subscriptions=[translate.provider_subscription(row) for row in reversed(subscribed)],
            invoices=[
                translate.provider_invoice(row, returned, processing) for row in reversed(billed)
            ],
        )

    async def customer_of_charge(self, charge_id: str) -> str:
        charge = await send(lambda: self.client.v1.charges.retrieve_async(charge_id))
        return reference(charge.customer) if charge.customer else ""

    async def our_customers(self) -> list[OurCustomer]:
        rows = await all_rows(lambda: self.client.v1.customers.list_async({"limit": PAGE_SIZE}))
        return [
            OurCustomer(
                row.id,
                translate.metadata(row)[translate.ACCOUNT_METADATA],
                translate.metadata(row).get(translate.INSTALLATION_METADATA, ""),
                row.name or "",
                row.email or None,
            )
            for row in rows
            if translate.ACCOUNT_METADATA in translate.metadata(row)
        ]

    async def events_since(self, since: datetime) -> list[ProviderEvent]:
        """Stripe keeps events for 30 days (docs.stripe.com/api/events)."""
        query = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
        rows = await all_rows(lambda: self.client.v1.events.list_async(query))  # pyright: ignore[reportArgumentType]
        return [translate.provider_event(row) for row in rows]

    async def _returned(self, customer_id: str) -> dict[str, translate.Returned]:
        """Refunds and disputes by payment intent."""
        query = {"customer": customer_id, "limit": PAGE_SIZE}
        returned: dict[str, translate.Returned] = {}
        for charge in await all_rows(lambda: self.client.v1.charges.list_async(query)):  # pyright: ignore[reportArgumentType]
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
            if intent
        ]
        retrieve = self.client.v1.payment_intents.retrieve_async
        found = [await send(lambda intent=intent: retrieve(intent)) for intent in intents]
        return {intent.id for intent in found if intent.status == "processing"}

    async def _disputes(self, intent_id: str) -> list[Any]:
        query = {"payment_intent": intent_id, "limit": PAGE_SIZE}
        return await all_rows(lambda: self.client.v1.disputes.list_async(query))  # pyright: ignore[reportArgumentType]
