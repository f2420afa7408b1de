"""Subscriptions at Stripe: begin, preview, change, cancel, resume."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.errors import (
    ChangeLosesValueError,
    PaymentActionRequiredError,
)
from billing_app.billing.subscriptions.provider import (
    Credit,
    OfferPrices,
    OverageCharge,
    ProviderPreview,
    SubscriptionChange,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentDeclinedError,
    PaymentProviderFailedError,
)
from billing_app.db.enums import Interval
from billing_app.payments import declines, translate
from billing_app.payments.calls import options, reference, send
from billing_app.payments.previews import Previews
from billing_app.payments.schedules import Schedules, not_cancelled

SCHEDULED: Final = (
    "The bank asks for a confirmation of the payment. Withdraw the scheduled change first, then"
    " change again to confirm it."
)


class Subscriptions(Schedules, Previews):
    async def create_subscription(
        self,
        *,
        customer_id: str,
        prices: OfferPrices,
        trial_days: int,
        payment_method_id: str,
        key: str,
    ) -> str:
        """Charge the payment method on file. A decline makes no subscription. Raises
        PaymentMethodMissingError when it is gone."""
        body: dict[str, Any] = {
            "customer": customer_id,
            "items": [
                {"price": each} for each in (prices.price_id, prices.overage_price_id) if each
            ],
            "payment_behavior": "error_if_incomplete",
            "default_payment_method": payment_method_id,
            **self.tax,
            "metadata": {translate.WRITE_METADATA: key},
        }
        if trial_days:
            body["trial_period_days"] = trial_days
            body["metadata"][translate.TRIAL_METADATA] = str(trial_days)
        create = self.client.v1.subscriptions.create_async
        try:
            made = await send(lambda: create(body, options(key)))  # pyright: ignore[reportArgumentType]
        except NotAtProviderError:
            await self.require_card(payment_method_id)
            raise
        return made.id

    async def preview_change(
        self, subscription_id: str, change: SubscriptionChange
    ) -> ProviderPreview:
        """A credit is one line of the preview, but a discount of the charge. Both are the same
        without a tax; a tax is rounded for each line, so it is previewed as a discount again.

        Raises ChangeLosesValueError, PaymentMethodMissingError when nothing can be charged.
        """
        subscription = await self.retrieve(subscription_id)
        details: dict[str, Any] = {
            "items": _changed_items(subscription, change.prices, change.replaces),
            "billing_cycle_anchor": {"type": "now"},
            "proration_behavior": "none",
        }
        if subscription.status == "trialing":
            details["trial_end"] = "now"
        body: dict[str, Any] = {
            "subscription": subscription_id,
            "subscription_details": details,
            **self.tax,
        }
        preview = await self.preview(_with_items(body, change))
        if preview.total < translate.tax_minor(preview):
            raise ChangeLosesValueError
        if preview.amount_due > 0:
            await self.require_charge(subscription)
        if change.credit is None or not translate.is_taxed(preview):
            return translate.provider_preview(preview)
        return await self._preview_discounted(subscription, change, change.credit, body)

    async def _preview_discounted(
        self, subscription: Any, change: SubscriptionChange, credit: Credit, body: dict[str, Any]
    ) -> ProviderPreview:
        """With the credit as a coupon, which is deleted again."""
        coupon_id = await self._coupon(credit, key=f"preview-{secrets.token_hex(16)}")
        standing = await self._standing_discounts(subscription)
        discounted = _with_items(body, replace(change, credit=None))
        discounted["discounts"] = [*standing, {"coupon": coupon_id}]
        try:
            preview = await self.preview(discounted)
        finally:
            with suppress(BillingError):
                await send(lambda: self.client.v1.coupons.delete_async(coupon_id))
        return translate.provider_preview(preview, credit=credit)

    async def change_now(
        self, subscription_id: str, change: SubscriptionChange, *, key: str
    ) -> None:
        """A new period at the new price begins now; its first invoice is reduced by the discounts
        that the customer has, and then by the credit.

        The credit is a one-time coupon, so it applies in the same call as the change: a decline
        changes nothing and leaves no credit behind. Overage is billed in that call too: without
        prorations a removed metered price bills nothing
        (docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup).
        """
        subscription = await self.retrieve(subscription_id)
        if not await self.can_charge(subscription):
            await self.preview_change(subscription_id, change)
        body: dict[str, Any] = {
            "items": _changed_items(subscription, change.prices, change.replaces),
            "billing_cycle_anchor": {"type": "now"},
            "proration_behavior": "none",
            "payment_behavior": "error_if_incomplete",
            **self.tax,
            **({} if change.keeps_cancellation else not_cancelled(subscription)),
        }
        if subscription.status == "trialing":
            body["trial_end"] = "now"
        if change.overage is not None:
            body["add_invoice_items"] = [await self._overage_item(change.overage)]
        if change.credit is not None:
            standing = await self._standing_discounts(subscription)
            if standing:
                await self.preview_change(subscription_id, change)
            coupon = {"coupon": await self._coupon(change.credit, key=key)}
            body["discounts"] = [*standing, coupon]
        await self._change(subscription, body, key=key)

    async def _change(self, subscription: Any, body: dict[str, Any], *, key: str) -> None:
        """What was scheduled for the end of the period is given up; `put_back` when this fails."""
        await self.release_schedule(subscription.id, key=key)
        try:
            await self.update(subscription.id, body, key=key)
        except NotAtProviderError:
            await self.require_charge(await self.retrieve(subscription.id))
            raise
        except PaymentDeclinedError as error:
            if not declines.asks_to_confirm(error):
                raise
            if await self.released_phase(subscription, key=key) is not None:
                raise PaymentActionRequiredError(SCHEDULED, payment_url=None) from None
            await self._change_once_confirmed(subscription, body, key=key)

    async def _change_once_confirmed(
        self, subscription: Any, body: dict[str, Any], *, key: str
    ) -> None:
        """Stripe holds the change back until its invoice is paid on Stripe's page, and drops it
        after 23 hours (docs.stripe.com/billing/subscriptions/pending-updates).

        Raises PaymentActionRequiredError unless the bank asks no more.
        """
        held = body | {"payment_behavior": "pending_if_incomplete"}
        if held.pop("automatic_tax", None) and not subscription.automatic_tax.enabled:
            # Not part of a pending update (docs.stripe.com/billing/pending-updates-reference).
            await self.tax_from_now_on(subscription, key=key)
        if not subscription.cancel_at_period_end:
            held.pop("cancel_at_period_end", None)
        changed = await send(
            lambda: self.client.v1.subscriptions.update_async(
                subscription.id,
                held,  # pyright: ignore[reportArgumentType]
                options(f"{key}:confirm"),
            )
        )
        mark: Any = {"metadata": {translate.WRITE_METADATA: key}}
        invoice_id = reference(changed.latest_invoice)
        invoice = await send(
            lambda: self.client.v1.invoices.update_async(invoice_id, mark, options(f"{key}:mark"))
        )
        if changed.pending_update is not None:
            raise PaymentActionRequiredError(payment_url=invoice.hosted_invoice_url)

    async def change_at_period_end(
        self,
        *,
        subscription_id: str,
        prices: OfferPrices,
        replaces: OfferPrices | None,
        interval: Interval,
        key: str,
    ) -> None:
        """A schedule keeps the price until the period ends, then replaces it.

        A removed metered price bills its usage only with prorations on; at the end of a period
        there is nothing else to prorate. A cancellation is withdrawn; `put_back` when this fails.
        """
        subscription = await self.retrieve(subscription_id)
        if subscription.cancel_at_period_end or subscription.cancel_at:
            await self.withdraw_cancellation(subscription, key=key)
        is_metered = bool(_replaced(subscription, replaces).metered)
        phase: dict[str, Any] = {
            "items": _next_items(subscription, prices, replaces),
            "proration_behavior": "create_prorations" if is_metered else "none",
            "duration": {"interval": str(interval), "interval_count": 1},
            **self.tax,
        }
        await self.schedule(subscription_id, phase, key=key)

    async def cancel_at_period_end(self, subscription_id: str, *, key: str) -> None:
        await self.release_schedule(subscription_id, key=key)
        await self.update(subscription_id, {"cancel_at_period_end": True}, key=key)

    async def cancel_now(self, subscription_id: str, *, key: str) -> None:
        """End at once. Nothing is refunded automatically; metered usage is billed."""
        subscription = await self.retrieve(subscription_id)
        invoice_now = bool(translate.metered_items(subscription))
        await send(
            lambda: self.client.v1.subscriptions.cancel_async(
                subscription_id, {"prorate": False, "invoice_now": invoice_now}, options(key)
            )
        )

    async def resume(self, subscription_id: str, *, key: str) -> None:
        """Withdraw a cancellation or change that is scheduled for the end of the period."""
        await self.release_schedule(subscription_id, key=key)
        subscription = await self.retrieve(subscription_id)
        await self.update(subscription_id, not_cancelled(subscription), key=key)

    async def _overage_item(self, overage: OverageCharge) -> dict[str, Any]:
        price = await send(lambda: self.client.v1.prices.retrieve_async(overage.price_id))
        return {
            "price_data": {
                "currency": overage.amount.currency.lower(),
                "product": reference(price.product),
                "unit_amount": overage.amount.minor,
            },
            "quantity": 1,
            "metadata": {translate.OVERAGE_METADATA: str(overage.plan_sequence)},
        }

    async def _standing_discounts(self, subscription: Any) -> list[dict[str, str]]:
        """The subscription's own discounts, else that of its customer: naming others would replace
        them (docs.stripe.com/api/subscriptions/update#update_subscription-discounts)."""
        if own := translate.discounts_of(subscription):
            return own
        customer_id = reference(subscription.customer)
        customer = await send(lambda: self.client.v1.customers.retrieve_async(customer_id))
        return [{"discount": customer.discount.id}] if customer.discount else []

    async def _coupon(self, credit: Credit, *, key: str) -> str:
        body: dict[str, Any] = {
            "amount_off": credit.amount.minor,
            "currency": credit.amount.currency.lower(),
            "duration": "once",
            "max_redemptions": 1,
            "name": credit.description[:40],
        }
        made = await send(
            lambda: self.client.v1.coupons.create_async(body, options(f"{key}:coupon"))  # pyright: ignore[reportArgumentType]
        )
        return made.id


@dataclass(frozen=True, slots=True)
class _Replaced:
    """The item of the plan, and those that meter its overage. Others are left alone."""

    licensed: Any
    metered: list[Any]


def _replaced(subscription: Any, replaces: OfferPrices | None) -> _Replaced:
    """Raises PaymentProviderFailedError when the plan is not among the items."""
    licensed, metered = (
        translate.licensed_items(subscription),
        translate.metered_items(subscription),
    )
    if replaces is not None:
        licensed = [item for item in licensed if item.price.id == replaces.price_id] or licensed
        metered = [item for item in metered if item.price.id == replaces.overage_price_id]
    if not licensed:
        raise PaymentProviderFailedError("The subscription at the payment provider has no plan.")
    return _Replaced(licensed[0], metered)


def _changed_items(
    subscription: Any, prices: OfferPrices, replaces: OfferPrices | None
) -> list[dict[str, Any]]:
    """The plan's item gets the new price; its metered items are replaced."""
    old = _replaced(subscription, replaces)
    items: list[dict[str, Any]] = [
        {"id": old.licensed.id, "price": prices.price_id, "quantity": old.licensed.quantity}
    ]
    items.extend({"id": item.id, "deleted": True} for item in old.metered)
    return items + translate.items_of(prices)[1:]


def _next_items(
    subscription: Any, prices: OfferPrices, replaces: OfferPrices | None
) -> list[dict[str, Any]]:
    """All items of the phase after a change: those of others stay."""
    old = _replaced(subscription, replaces)
    gone = {old.licensed.id, *(item.id for item in old.metered)}
    kept = [item for item in subscription.items.data if item.id not in gone]
    return [
        *translate.items_of(prices, old.licensed.quantity),
        *(translate.kept_item(item) for item in kept),
    ]


def _with_items(body: dict[str, Any], change: SubscriptionChange) -> dict[str, Any]:
    """With what the change credits and bills in addition to its price."""
    items: list[dict[str, Any]] = []
    if change.credit is not None:
        items.append(translate.item(-change.credit.amount, change.credit.description))
    if change.overage is not None:
        items.append(translate.item(change.overage.amount, change.overage.description))
    return body | ({"invoice_items": items} if items else {})
