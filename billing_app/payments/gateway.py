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
    CustomerFacts,
    EventFacts,
    NotAtProviderError,
    OurCustomer,
    PaymentDeclinedError,
    PaymentMethodFacts,
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
    PreviewFacts,
    PriceFacts,
    PriceTerms,
    Reversal,
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
PORTAL_METADATA: Final = "billing_portal"
PORTAL_VERSION: Final = "1"
# Plans are changed by our own rules: the portal would credit time that was not used, not value.
PORTAL_FEATURES: Final[dict[str, Any]] = {
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
    "subscription_update": {"enabled": False},
}

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
            _require_same(price, terms)
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
        self, *, customer_id: str, price_id: str, payment_method_id: str, key: str
    ) -> str:
        """Charge the payment method on file. A decline makes no subscription."""
        body: dict[str, Any] = {
            "customer": customer_id,
            "items": [{"price": price_id}],
            "payment_behavior": "error_if_incomplete",
            "default_payment_method": payment_method_id,
            "metadata": {translate.WRITE_METADATA: key},
        }
        made = await _asked(
            lambda: self._client.v1.subscriptions.create_async(body, _options(key))  # pyright: ignore[reportArgumentType]
        )
        return made.id

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
    ) -> None:
        """A new period at the new price begins now; the credit is taken off its first invoice.

        The credit is a coupon for once, so that it applies in the very call that changes: a
        decline changes nothing and leaves no credit behind.
        """
        item_id = await self._item_id(subscription_id)
        body: dict[str, Any] = {
            "items": [{"id": item_id, "price": price_id}],
            "billing_cycle_anchor": {"type": "now"},
            "proration_behavior": "none",
            "payment_behavior": "error_if_incomplete",
            "cancel_at_period_end": False,
        }
        if credit is not None:
            body["discounts"] = [{"coupon": await self._coupon(credit, key=key)}]
        given_up = await self._release_schedule(subscription_id, key=key)
        try:
            await self._update(subscription_id, body, key=key)
        except PaymentDeclinedError:
            if given_up is not None:
                await self._schedule(subscription_id, given_up, key=f"{key}:again")
            raise

    async def change_at_period_end(
        self, *, subscription_id: str, price_id: str, interval: Interval, key: str
    ) -> None:
        """A schedule keeps the price until the period ends, then puts the other in its place."""
        found = await _asked(lambda: self._client.v1.subscriptions.retrieve_async(subscription_id))
        if found.cancel_at_period_end:
            await self._update(subscription_id, {"cancel_at_period_end": False}, key=key)
        phase: dict[str, Any] = {
            "items": [{"price": price_id, "quantity": 1}],
            "proration_behavior": "none",
            "duration": {"interval": str(interval), "interval_count": 1},
        }
        await self._schedule(subscription_id, phase, key=key)

    async def cancel_at_period_end(self, subscription_id: str, *, key: str) -> None:
        await self._release_schedule(subscription_id, key=key)
        await self._update(subscription_id, {"cancel_at_period_end": True}, key=key)

    async def cancel_now(self, subscription_id: str, *, key: str) -> None:
        """End at once. Nothing is given back by itself."""
        await _asked(
            lambda: self._client.v1.subscriptions.cancel_async(
                subscription_id, {"prorate": False, "invoice_now": False}, _options(key)
            )
        )

    async def resume(self, subscription_id: str, *, key: str) -> None:
        """Take back a cancellation, or a change, that waits for the end of the period."""
        await self._release_schedule(subscription_id, key=key)
        await self._update(subscription_id, {"cancel_at_period_end": False}, key=key)

    async def portal_url(self, *, customer_id: str, return_url: str) -> str:
        configuration_id = await self._portal_configuration()
        session = await _asked(
            lambda: self._client.v1.billing_portal.sessions.create_async(
                {
                    "customer": customer_id,
                    "return_url": return_url,
                    "configuration": configuration_id,
                }
            )
        )
        return session.url

    async def customer_facts(self, customer_id: str) -> CustomerFacts:
        of_customer = {"customer": customer_id, "limit": PAGE_SIZE}
        subscriptions = of_customer | {"status": "all", "expand": ["data.schedule"]}
        invoices = of_customer | {"expand": ["data.payments"]}
        client = self._client.v1
        found = await _all(lambda: client.subscriptions.list_async(subscriptions))  # pyright: ignore[reportArgumentType]
        billed = await _all(lambda: client.invoices.list_async(invoices))  # pyright: ignore[reportArgumentType]
        reversals = await self._reversals(customer_id) if billed else {}
        return CustomerFacts(
            customer_id=customer_id,
            subscriptions=[translate.subscription_facts(row) for row in reversed(found)],
            invoices=[translate.invoice_facts(row, reversals) for row in reversed(billed)],
        )

    async def customer_of_charge(self, charge_id: str) -> str:
        charge = await _asked(lambda: self._client.v1.charges.retrieve_async(charge_id))
        return _reference(charge.customer) if charge.customer else ""

    async def our_customers(self) -> list[OurCustomer]:
        rows = await _all(lambda: self._client.v1.customers.list_async({"limit": PAGE_SIZE}))
        return [
            OurCustomer(row.id, translate.metadata(row)[ACCOUNT_METADATA])
            for row in rows
            if ACCOUNT_METADATA in translate.metadata(row)
        ]

    async def events_since(self, since: datetime) -> list[EventFacts]:
        """Stripe keeps events for 30 days (docs.stripe.com/api/events)."""
        query = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
        rows = await _all(lambda: self._client.v1.events.list_async(query))  # pyright: ignore[reportArgumentType]
        return [translate.event_facts(row) for row in rows]

    async def _reversals(self, customer_id: str) -> dict[str, Reversal]:
        """What became of payments that do not stand, by payment intent."""
        query = {"customer": customer_id, "limit": PAGE_SIZE}
        found: dict[str, Reversal] = {}
        for charge in await _all(lambda: self._client.v1.charges.list_async(query)):  # pyright: ignore[reportArgumentType]
            if charge.payment_intent and (charge.refunded or charge.disputed):
                intent_id = _reference(charge.payment_intent)
                reversal = translate.reversal(charge, await self._disputes(intent_id))
                if reversal is not None:
                    found[intent_id] = reversal
        return found

    async def _disputes(self, intent_id: str) -> list[Any]:
        query = {"payment_intent": intent_id, "limit": PAGE_SIZE}
        return await _all(lambda: self._client.v1.disputes.list_async(query))  # pyright: ignore[reportArgumentType]

    async def _portal_configuration(self) -> str:
        """The portal without plan changes; found by our mark, else made."""
        configurations = self._client.v1.billing_portal.configurations
        rows = await _all(lambda: configurations.list_async({"active": True, "limit": PAGE_SIZE}))
        for row in rows:
            if translate.metadata(row).get(PORTAL_METADATA) == PORTAL_VERSION:
                return row.id
        body: dict[str, Any] = {
            "features": PORTAL_FEATURES,
            "metadata": {PORTAL_METADATA: PORTAL_VERSION},
        }
        key = f"portal-configuration-{PORTAL_VERSION}"
        made = await _asked(lambda: configurations.create_async(body, _options(key)))  # pyright: ignore[reportArgumentType]
        return made.id

    async def _schedule(
        self, subscription_id: str, next_phase: dict[str, Any], *, key: str
    ) -> None:
        """Let a phase follow the current one. A schedule that is there is used, so that doing it
        again after an interruption comes to the same."""
        schedules = self._client.v1.subscription_schedules
        found = await _asked(lambda: self._client.v1.subscriptions.retrieve_async(subscription_id))
        if found.schedule is not None:
            schedule_id = _reference(found.schedule)
            schedule = await _asked(lambda: schedules.retrieve_async(schedule_id))
        else:
            schedule = await _asked(
                lambda: schedules.create_async(
                    {"from_subscription": subscription_id}, _options(f"{key}:schedule")
                )
            )
        current = translate.current_phase(schedule)
        kept = [{"price": _reference(item.price), "quantity": 1} for item in current.items]
        body: dict[str, Any] = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {"items": kept, "start_date": current.start_date, "end_date": current.end_date},
                next_phase,
            ],
        }
        await _asked(
            lambda: schedules.update_async(schedule.id, body, _options(f"{key}:phases"))  # pyright: ignore[reportArgumentType]
        )

    async def _update(self, subscription_id: str, body: dict[str, Any], *, key: str) -> None:
        marked = body | {"metadata": {translate.WRITE_METADATA: key}}
        await _asked(
            lambda: self._client.v1.subscriptions.update_async(
                subscription_id,
                marked,  # pyright: ignore[reportArgumentType]
                _options(f"{key}:update"),
            )
        )

    async def _item_id(self, subscription_id: str) -> str:
        found = await _asked(lambda: self._client.v1.subscriptions.retrieve_async(subscription_id))
        items: Any = found.items
        return items.data[0].id

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

    async def _release_schedule(self, subscription_id: str, *, key: str) -> dict[str, Any] | None:
        """Give up what waits for the end of the period; returns the phase that would have come."""
        schedules = self._client.v1.subscription_schedules
        found = await _asked(lambda: self._client.v1.subscriptions.retrieve_async(subscription_id))
        if found.schedule is None:
            return None
        schedule_id = _reference(found.schedule)
        schedule = await _asked(lambda: schedules.retrieve_async(schedule_id))
        await _asked(
            lambda: schedules.release_async(
                schedule_id, None, _options(f"{key}:release:{schedule_id}")
            )
        )
        following = translate.next_phase(schedule)
        if following is None:
            return None
        return {
            "items": [{"price": _reference(item.price), "quantity": 1} for item in following.items],
            "proration_behavior": "none",
            "end_date": following.end_date,
        }


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
        except (stripe.APIConnectionError, stripe.APIError, stripe.IdempotencyError) as error:
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


def _require_same(price: Any, terms: PriceTerms) -> None:
    """A price under our reference that sells something else is never used."""
    interval = price.recurring.interval if price.recurring else Interval.ONCE
    theirs = (price.unit_amount, price.currency.upper(), interval)
    if theirs != (terms.amount_minor, terms.currency, terms.interval):
        raise PaymentProviderFailedError(
            "The payment provider has another price under this name.", reference=terms.reference
        )


def _reference(value: Any) -> str:
    return value if isinstance(value, str) else value.id
