"""Which card Stripe charges, and what to say when it is no longer on file."""

from typing import Any

from billing_app.billing.subscriptions.errors import CardGoneError, PaymentMethodMissingError
from billing_app.billing.subscriptions.provider_errors import NotAtProviderError
from billing_app.payments import translate
from billing_app.payments.calls import StripeCalls, reference, send


class Cards(StripeCalls):
    async def require_card(self, payment_method_id: str) -> None:
        """A detached one belongs to nobody (docs.stripe.com/api/payment_methods/detach)."""
        retrieve = self.client.v1.payment_methods.retrieve_async
        method = await send(lambda: retrieve(payment_method_id))
        if method.customer is None:
            raise CardGoneError(translate.provider_payment_method(method).last4)

    async def can_charge(self, subscription: Any) -> bool:
        """Whether its invoices are sent, or there is something to charge: its own default, else
        its customer's (docs.stripe.com/api/subscriptions/object)."""
        is_sent = subscription.collection_method == "send_invoice"
        if is_sent or subscription.default_payment_method or subscription.default_source:
            return True
        customer_id = reference(subscription.customer)
        customer = await send(lambda: self.client.v1.customers.retrieve_async(customer_id))
        if getattr(customer, "deleted", False):
            raise NotAtProviderError(param="customer")
        settings = customer.invoice_settings
        has_method = settings is not None and settings.default_payment_method is not None
        return has_method or customer.default_source is not None

    async def require_charge(self, subscription: Any) -> None:
        """Raises PaymentMethodMissingError when there is nothing to charge for a subscription."""
        if await self.can_charge(subscription):
            return
        query: Any = {"customer": reference(subscription.customer), "limit": 1}
        charges = await send(lambda: self.client.v1.charges.list_async(query))
        for charge in charges.data:
            if charge.payment_method:
                await self.require_card(charge.payment_method)
        raise PaymentMethodMissingError("No card is set for payments. Add a card, then try again.")
