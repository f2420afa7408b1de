"""The Stripe gateway: the one module that talks to Stripe.

Small async functions with time-outs; each write has a persisted idempotency key. The SDK retries
connection failures and 5xx with the same key; 429 is retried here (docs.stripe.com/rate-limits).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import stripe
import structlog
from stripe import StripeClient

from billing_app.billing.subscriptions.provider import (
    CheckoutFacts,
    Credit,
    EventFacts,
    InvoiceFacts,
    NotAtProviderError,
    PaymentMethodFacts,
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
    PreviewFacts,
    PriceFacts,
    PriceTerms,
    SubscriptionFacts,
)
from billing_app.db.words import Interval
from billing_app.payments import declines, translate

TIMEOUT_SECONDS: Final = 20
NETWORK_RETRIES: Final = 2
RATE_LIMIT_ATTEMPTS: Final = 5
RATE_LIMIT_WAIT_SECONDS: Final = 0.4
PAGE_SIZE: Final = 100
MAX_LISTED: Final = 10_000
ACCOUNT_METADATA: Final = "billing_account"

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class StripeGateway:
    """Implements billing's PaymentProvider."""

    def __init__(self, secret_key: str, api_base: str | None = None) -> None:
        """`api_base` points to another address than Stripe's: the sandbox's."""
        self._client = StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else None,
            max_network_retries=NETWORK_RETRIES,
            http_client=stripe.HTTPXClient(timeout=TIMEOUT_SECONDS),
        )

    async def ensure_price(self, terms: PriceTerms, *, key: str) -> PriceFacts:
        """The price whose lookup key is the reference; made with its product if need be."""
        prices = self._client.v1.prices
        query = {"lookup_keys": [terms.reference], "limit": 1}
        found = await _asked(lambda: prices.list_async(query))  # pyright: ignore[reportArgumentType]
        if found.data:
            price = found.data[0]
            return PriceFacts(product_id=str(price.product), price_id=price.id)
        product = {"name": terms.name, "metadata": {"offer_version": terms.reference}}
        if terms.description:
            product["description"] = terms.description
        body: dict[str, Any] = {
            "lookup_key": terms.reference,
            "currency": terms.currency.lower(),
            "unit_amount": terms.amount_minor,
        }
        if terms.interval is not Interval.ONCE:
            body["recurring"] = {"interval": terms.interval.value}
        made = await _asked(
            lambda: self._client.v1.products.create_async(product, _options(f"{key}:product"))  # pyright: ignore[reportArgumentType]
        )
        body["product"] = made.id
        price = await _asked(lambda: prices.create_async(body, _options(f"{key}:price")))  # pyright: ignore[reportArgumentType]
        return PriceFacts(product_id=made.id, price_id=price.id)

    async def create_customer(
        self, *, account_id: str, name: str, email: str | None, key: str
    ) -> str:
        body: dict[str, Any] = {"name": name, "metadata": {ACCOUNT_METADATA: account_id}}
        if email:
            body["email"] = email
        made = await _asked(
            lambda: self._client.v1.customers.create_async(body, _options(key))  # pyright: ignore[reportArgumentType]
        )
        return made.id

    async def payment_method(self, customer_id: str) -> PaymentMethodFacts | None:
        """The default one, else the newest card."""
        customer = await _asked(
            lambda: self._client.v1.customers.retrieve_async(
                customer_id, {"expand": ["invoice_settings.default_payment_method"]}
            )
        )
        settings = customer.invoice_settings
        if settings is not None and settings.default_payment_method is not None:
            return translate.payment_method_facts(settings.default_payment_method)
        methods = await _asked(
            lambda: self._client.v1.customers.payment_methods.list_async(customer_id, {"limit": 1})
        )
        return translate.payment_method_facts(methods.data[0]) if methods.data else None

    async def create_checkout(
        self,
        *,
        customer_id: str,
        price_id: str,
        is_subscription: bool,
        success_url: str,
        cancel_url: str,
        key: str,
    ) -> CheckoutFacts:
        body: dict[str, Any] = {
            "mode": "subscription" if is_subscription else "payment",
            "customer": customer_id,
            "line_items": [{"price": price_id, "quantity": 1}],
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        if not is_subscription:
            body["invoice_creation"] = {"enabled": True}
        session = await _asked(
            lambda: self._client.v1.checkout.sessions.create_async(body, _options(key))  # pyright: ignore[reportArgumentType]
        )
        return translate.checkout_facts(session)

    async def expire_checkout(self, provider_id: str) -> CheckoutFacts:
        """Close an open checkout; one that has ended by itself stays as it ended."""
        try:
            session = await _asked(
                lambda: self._client.v1.checkout.sessions.expire_async(provider_id)
            )
        except PaymentProviderFailedError:
            return await self.checkout(provider_id)
        return translate.checkout_facts(session)

    async def checkout(self, provider_id: str) -> CheckoutFacts:
        session = await _asked(
            lambda: self._client.v1.checkout.sessions.retrieve_async(provider_id)
        )
        return translate.checkout_facts(session)

    async def create_subscription(
        self, *, customer_id: str, price_id: str, key: str
    ) -> SubscriptionFacts:
        """Charge the payment method on file. A decline makes no subscription."""
        method_id = await self._default_method_id(customer_id)
        body: dict[str, Any] = {
            "customer": customer_id,
            "items": [{"price": price_id}],
            "payment_behavior": "error_if_incomplete",
        }
        if method_id:
            body["default_payment_method"] = method_id
        made = await _asked(
            lambda: self._client.v1.subscriptions.create_async(body, _options(key))  # pyright: ignore[reportArgumentType]
        )
        return await self.subscription(made.id)

    async def preview_change(
        self, *, subscription_id: str, price_id: str, credit: Credit | None
    ) -> PreviewFacts:
        item_id = await self._item_id(subscription_id)
        body: dict[str, Any] = {
            "subscription": subscription_id,
            "subscription_details": {
                "items": [{"id": item_id, "price": price_id}],
                "billing_cycle_anchor": {"type": "now"},
                "proration_behavior": "none",
            },
        }
        if credit is not None:
            item = {"amount": -credit.amount_minor, "currency": credit.currency.lower()}
            body["invoice_items"] = [item | {"description": credit.description}]
        preview = await _asked(lambda: self._client.v1.invoices.create_preview_async(body))  # pyright: ignore[reportArgumentType]
        return translate.preview_facts(preview)

    async def change_now(
        self, *, subscription_id: str, price_id: str, credit: Credit | None, key: str
    ) -> SubscriptionFacts:
        """A new period at the new price begins now; the credit is taken off its first invoice.

        The credit is a coupon for once, so that it applies in the very call that changes: a
        decline changes nothing and leaves no credit behind.
        """
        await self._release_schedule(subscription_id, key=key)
        item_id = await self._item_id(subscription_id)
        body: dict[str, Any] = {
            "items": [{"id": item_id, "price": price_id}],
            "billing_cycle_anchor": {"type": "now"},
            "proration_behavior": "none",
            "payment_behavior": "error_if_incomplete",
            "cancel_at_period_end": False,
        }
        if credit is not None:
            coupon_id = await self._coupon(credit, key=key)
            body["discounts"] = [{"coupon": coupon_id}]
        await _asked(
            lambda: self._client.v1.subscriptions.update_async(
                subscription_id,
                body,  # pyright: ignore[reportArgumentType]
                _options(f"{key}:update"),
            )
        )
        return await self.subscription(subscription_id)

    async def change_at_period_end(
        self, *, subscription_id: str, price_id: str, key: str
    ) -> SubscriptionFacts:
        """A schedule keeps the price until the period ends, then puts the other in its place."""
        await self._release_schedule(subscription_id, key=key)
        schedules = self._client.v1.subscription_schedules
        schedule = await _asked(
            lambda: schedules.create_async(
                {"from_subscription": subscription_id}, _options(f"{key}:schedule")
            )
        )
        current = schedule.phases[0]
        kept = [{"price": _reference(item.price), "quantity": 1} for item in current.items]
        body: dict[str, Any] = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {"items": kept, "start_date": current.start_date, "end_date": current.end_date},
                {
                    "items": [{"price": price_id, "quantity": 1}],
                    "proration_behavior": "none",
                    "duration": {"interval": "month", "interval_count": 1},
                },
            ],
        }
        await _asked(
            lambda: schedules.update_async(schedule.id, body, _options(f"{key}:phases"))  # pyright: ignore[reportArgumentType]
        )
        return await self.subscription(subscription_id)

    async def cancel_at_period_end(self, subscription_id: str, *, key: str) -> SubscriptionFacts:
        await self._release_schedule(subscription_id, key=key)
        await self._update(subscription_id, {"cancel_at_period_end": True}, key=key)
        return await self.subscription(subscription_id)

    async def cancel_now(self, subscription_id: str, *, key: str) -> SubscriptionFacts:
        """End at once. Nothing is given back by itself."""
        await _asked(
            lambda: self._client.v1.subscriptions.cancel_async(
                subscription_id, {"prorate": False, "invoice_now": False}, _options(key)
            )
        )
        return await self.subscription(subscription_id)

    async def resume(self, subscription_id: str, *, key: str) -> SubscriptionFacts:
        """Take back a cancellation, or a change, that waits for the end of the period."""
        await self._release_schedule(subscription_id, key=key)
        await self._update(subscription_id, {"cancel_at_period_end": False}, key=key)
        return await self.subscription(subscription_id)

    async def portal_url(self, *, customer_id: str, return_url: str) -> str:
        session = await _asked(
            lambda: self._client.v1.billing_portal.sessions.create_async(
                {"customer": customer_id, "return_url": return_url}
            )
        )
        return session.url

    async def subscription(self, provider_id: str) -> SubscriptionFacts:
        found = await _asked(
            lambda: self._client.v1.subscriptions.retrieve_async(
                provider_id, {"expand": ["schedule"]}
            )
        )
        return translate.subscription_facts(found)

    async def invoice(self, provider_id: str) -> InvoiceFacts:
        found = await _asked(lambda: self._client.v1.invoices.retrieve_async(provider_id))
        return translate.invoice_facts(found)

    async def subscriptions_of(self, customer_id: str) -> list[SubscriptionFacts]:
        """All, ended ones included, newest first."""
        query = {
            "customer": customer_id,
            "status": "all",
            "limit": PAGE_SIZE,
            "expand": ["data.schedule"],
        }
        rows = await _all(lambda: self._client.v1.subscriptions.list_async(query))  # pyright: ignore[reportArgumentType]
        return [translate.subscription_facts(row) for row in rows]

    async def invoices_of(self, customer_id: str) -> list[InvoiceFacts]:
        """All, newest first."""
        query = {"customer": customer_id, "limit": PAGE_SIZE}
        rows = await _all(lambda: self._client.v1.invoices.list_async(query))  # pyright: ignore[reportArgumentType]
        return [translate.invoice_facts(row) for row in rows]

    async def events_since(self, since: datetime) -> list[EventFacts]:
        """Stripe keeps events for 30 days (docs.stripe.com/api/events)."""
        query = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
        rows = await _all(lambda: self._client.v1.events.list_async(query))  # pyright: ignore[reportArgumentType]
        return [translate.event_facts(row) for row in rows]

    async def _update(self, subscription_id: str, body: dict[str, Any], *, key: str) -> None:
        await _asked(
            lambda: self._client.v1.subscriptions.update_async(
                subscription_id,
                body,  # pyright: ignore[reportArgumentType]
                _options(f"{key}:update"),
            )
        )

    async def _item_id(self, subscription_id: str) -> str:
        found = await _asked(lambda: self._client.v1.subscriptions.retrieve_async(subscription_id))
        items: Any = found.items
        return items.data[0].id

    async def _default_method_id(self, customer_id: str) -> str | None:
        customer = await _asked(lambda: self._client.v1.customers.retrieve_async(customer_id))
        settings = customer.invoice_settings
        if settings is not None and settings.default_payment_method is not None:
            return None
        methods = await _asked(
            lambda: self._client.v1.customers.payment_methods.list_async(customer_id, {"limit": 1})
        )
        return methods.data[0].id if methods.data else None

    async def _coupon(self, credit: Credit, *, key: str) -> str:
        body: dict[str, Any] = {
            "amount_off": credit.amount_minor,
            "currency": credit.currency.lower(),
            "duration": "once",
            "max_redemptions": 1,
            "name": credit.description[:40],
        }
        made = await _asked(
            lambda: self._client.v1.coupons.create_async(body, _options(f"{key}:coupon"))  # pyright: ignore[reportArgumentType]
        )
        return made.id

    async def _release_schedule(self, subscription_id: str, *, key: str) -> None:
        found = await _asked(lambda: self._client.v1.subscriptions.retrieve_async(subscription_id))
        if found.schedule is None:
            return
        schedule_id = _reference(found.schedule)
        await _asked(
            lambda: self._client.v1.subscription_schedules.release_async(
                schedule_id, None, _options(f"{key}:release:{schedule_id}")
            )
        )


async def _asked(call: Callable[[], Awaitable[Result]]) -> Result:
    """Call Stripe; its errors become billing's. 429 waits and asks again, a few times."""
    for attempt in range(RATE_LIMIT_ATTEMPTS):
        try:
            return await call()
        except stripe.RateLimitError:
            wait_seconds = RATE_LIMIT_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
            await asyncio.sleep(wait_seconds)
        except stripe.CardError as error:
            raise declines.declined(error) from None
        except (stripe.APIConnectionError, stripe.APIError) as error:
            log.warning("stripe_unavailable", error=type(error).__name__, code=error.http_status)
            raise PaymentProviderUnavailableError from None
        except stripe.InvalidRequestError as error:
            if error.code == "resource_missing":
                raise NotAtProviderError(param=str(error.param)) from None  # pyright: ignore[reportUnknownArgumentType]
            log.warning("stripe_refused", code=error.code, param=error.param)
            raise PaymentProviderFailedError(error.user_message or "", reason=error.code) from None
        except stripe.StripeError as error:
            log.warning("stripe_failed", error=type(error).__name__, code=error.http_status)
            raise PaymentProviderFailedError(reason=type(error).__name__) from None
    raise PaymentProviderUnavailableError("The payment provider is busy.")


async def _all(first_page: Callable[[], Awaitable[Any]]) -> list[Any]:
    """All rows of a list, at most MAX_LISTED."""
    page = await _asked(first_page)
    rows: list[Any] = list(page.data)
    while page.has_more and len(rows) < MAX_LISTED:
        current = page
        page = await _asked(lambda current=current: current.next_page_async())
        rows.extend(page.data)
    return rows


def _options(key: str) -> Any:
    return {"idempotency_key": key}


def _reference(value: Any) -> str:
    return value if isinstance(value, str) else value.id
