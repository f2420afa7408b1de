"""Customers at Stripe: their cards, the portal and checkouts."""

from typing import Any, Final

from billing_app.billing.subscriptions.provider import (
    ENDED,
    OfferPrices,
    ProviderCheckout,
    ProviderPaymentMethod,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentProviderFailedError,
)
from billing_app.payments import translate
from billing_app.payments.calls import PAGE_SIZE, all_rows, options, send
from billing_app.payments.cards import Cards
from billing_app.payments.invoice_fields import fields_with

PORTAL_METADATA: Final = "billing_portal"
PORTAL_VERSION: Final = "2"
# Plans change by our own rules: the portal would credit unused time instead of unused value.
PORTAL_FEATURES: Final[dict[str, Any]] = {
    "customer_update": {"enabled": True, "allowed_updates": ["address", "tax_id"]},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
    "subscription_update": {"enabled": False},
}

# A tax id needs the business's name (docs.stripe.com/tax/checkout/tax-ids).
CHECKOUT_DETAILS: Final[dict[str, Any]] = {
    "allow_promotion_codes": True,
    "billing_address_collection": "required",
    "customer_update": {"address": "auto", "name": "auto"},
    "tax_id_collection": {"enabled": True},
}


class Customers(Cards):
    async def create_customer(
        self, *, account_id: str, name: str, email: str | None, key: str
    ) -> str:
        marks = {translate.ACCOUNT_METADATA: account_id}
        if mark := await self.mark():
            marks[translate.INSTALLATION_METADATA] = mark
        body: dict[str, Any] = {"name": name, "metadata": marks}
        if email:
            body["email"] = email
        made = await send(
            lambda: self.client.v1.customers.create_async(body, options(key))  # pyright: ignore[reportArgumentType]
        )
        return made.id

    async def update_customer(
        self,
        customer_id: str,
        *,
        name: str,
        email: str | None,
        purchase_order: str | None = None,
        key: str,
    ) -> None:
        """An empty value unsets it (docs.stripe.com/api/customers/update). A deleted customer is
        NotAtProviderError."""
        body: dict[str, Any] = {"name": name, "email": email or ""}
        if purchase_order is not None:
            fields = await self._fields_with(customer_id, purchase_order)
            body["invoice_settings"] = {"custom_fields": fields or ""}
        await send(
            lambda: self.client.v1.customers.update_async(customer_id, body, options(key))  # pyright: ignore[reportArgumentType]
        )

    async def _fields_with(self, customer_id: str, purchase_order: str) -> list[dict[str, str]]:
        customer = await send(lambda: self.client.v1.customers.retrieve_async(customer_id))
        if getattr(customer, "deleted", False):
            raise NotAtProviderError(param="customer")
        return fields_with(customer, purchase_order)

    async def payment_method(
        self, customer_id: str, subscription_id: str | None = None
    ) -> ProviderPaymentMethod | None:
        """The one that is charged: the subscription's own, else the customer's default, else the
        newest card. A deleted customer is NotAtProviderError
        (docs.stripe.com/api/customers/delete)."""
        if subscription_id is not None:
            subscription = await send(
                lambda: self.client.v1.subscriptions.retrieve_async(
                    subscription_id, {"expand": ["default_payment_method"]}
                )
            )
            is_live = subscription.status not in ENDED
            if is_live and subscription.default_payment_method is not None:
                return translate.provider_payment_method(subscription.default_payment_method)
        customer = await send(
            lambda: self.client.v1.customers.retrieve_async(
                customer_id, {"expand": ["invoice_settings.default_payment_method"]}
            )
        )
        if getattr(customer, "deleted", False):
            raise NotAtProviderError(param="customer")
        settings = customer.invoice_settings
        if settings is not None and settings.default_payment_method is not None:
            return translate.provider_payment_method(settings.default_payment_method)
        methods = await send(
            lambda: self.client.v1.customers.payment_methods.list_async(customer_id, {"limit": 1})
        )
        return translate.provider_payment_method(methods.data[0]) if methods.data else None

    async def portal_url(self, *, customer_id: str, return_url: str) -> str:
        configuration_id = await self._portal_configuration()
        session = await send(
            lambda: self.client.v1.billing_portal.sessions.create_async(
                {
                    "customer": customer_id,
                    "return_url": return_url,
                    "configuration": configuration_id,
                }
            )
        )
        return session.url

    async def _portal_configuration(self) -> str:
        """The portal without plan changes: found by our metadata, else created."""
        configurations = self.client.v1.billing_portal.configurations
        rows = await all_rows(
            lambda: configurations.list_async({"active": True, "limit": PAGE_SIZE})
        )
        for row in rows:
            if translate.metadata(row).get(PORTAL_METADATA) == PORTAL_VERSION:
                return row.id
        body: dict[str, Any] = {
            "features": PORTAL_FEATURES,
            "metadata": {PORTAL_METADATA: PORTAL_VERSION},
        }
        key = f"portal-configuration-{PORTAL_VERSION}"
        made = await send(lambda: configurations.create_async(body, options(key)))  # pyright: ignore[reportArgumentType]
        return made.id

    async def create_checkout(
        self,
        *,
        customer_id: str,
        prices: OfferPrices,
        trial_days: int,
        is_subscription: bool,
        success_url: str,
        cancel_url: str,
        key: str,
    ) -> ProviderCheckout:
        body: dict[str, Any] = {
            "mode": "subscription" if is_subscription else "payment",
            "customer": customer_id,
            "line_items": translate.items_of(prices),
            "success_url": success_url,
            "cancel_url": cancel_url,
            **CHECKOUT_DETAILS,
            **self.tax,
        }
        if trial_days:
            mark = {translate.TRIAL_METADATA: str(trial_days)}
            body["subscription_data"] = {"trial_period_days": trial_days, "metadata": mark}
        if not is_subscription:
            # Its invoice is made once it is paid: a debit would leave nothing to see for days.
            body["invoice_creation"] = {"enabled": True}
            body["excluded_payment_method_types"] = list(translate.DEBITS)
        session = await send(
            lambda: self.client.v1.checkout.sessions.create_async(body, options(key))  # pyright: ignore[reportArgumentType]
        )
        return translate.provider_checkout(session)

    async def expire_checkout(self, provider_id: str) -> ProviderCheckout:
        """Expire an open checkout; one that has already ended stays as it is."""
        try:
            session = await send(lambda: self.client.v1.checkout.sessions.expire_async(provider_id))
        except PaymentProviderFailedError:
            return await self.checkout(provider_id)
        return translate.provider_checkout(session)

    async def checkout(self, provider_id: str) -> ProviderCheckout:
        session = await send(lambda: self.client.v1.checkout.sessions.retrieve_async(provider_id))
        return translate.provider_checkout(session)
