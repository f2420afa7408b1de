"""Subscriptions at Stripe: begin, preview, change, cancel, resume."""

from typing import Any

from billing_app.billing.subscriptions.provider import Credit, PaymentDeclinedError, PreviewFacts
from billing_app.db.words import Interval
from billing_app.payments import translate
from billing_app.payments.calls import StripeCalls, asked, options, reference


class Subscriptions(StripeCalls):
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
        made = await asked(
            lambda: self.client.v1.subscriptions.create_async(body, options(key))  # pyright: ignore[reportArgumentType]
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
        preview = await asked(lambda: self.client.v1.invoices.create_preview_async(body))  # pyright: ignore[reportArgumentType]
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
        found = await asked(lambda: self.client.v1.subscriptions.retrieve_async(subscription_id))
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
        await asked(
            lambda: self.client.v1.subscriptions.cancel_async(
                subscription_id, {"prorate": False, "invoice_now": False}, options(key)
            )
        )

    async def resume(self, subscription_id: str, *, key: str) -> None:
        """Take back a cancellation, or a change, that waits for the end of the period."""
        await self._release_schedule(subscription_id, key=key)
        await self._update(subscription_id, {"cancel_at_period_end": False}, key=key)

    async def _schedule(
        self, subscription_id: str, next_phase: dict[str, Any], *, key: str
    ) -> None:
        """Let a phase follow the current one. A schedule that is there is used, so that doing it
        again after an interruption comes to the same."""
        schedules = self.client.v1.subscription_schedules
        found = await asked(lambda: self.client.v1.subscriptions.retrieve_async(subscription_id))
        if found.schedule is not None:
            schedule_id = reference(found.schedule)
            schedule = await asked(lambda: schedules.retrieve_async(schedule_id))
        else:
            schedule = await asked(
                lambda: schedules.create_async(
                    {"from_subscription": subscription_id}, options(f"{key}:schedule")
                )
            )
        current = translate.current_phase(schedule)
        kept = [{"price": reference(item.price), "quantity": 1} for item in current.items]
        body: dict[str, Any] = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {"items": kept, "start_date": current.start_date, "end_date": current.end_date},
                next_phase,
            ],
        }
        await asked(
            lambda: schedules.update_async(schedule.id, body, options(f"{key}:phases"))  # pyright: ignore[reportArgumentType]
        )

    async def _update(self, subscription_id: str, body: dict[str, Any], *, key: str) -> None:
        marked = body | {"metadata": {translate.WRITE_METADATA: key}}
        await asked(
            lambda: self.client.v1.subscriptions.update_async(
                subscription_id,
                marked,  # pyright: ignore[reportArgumentType]
                options(f"{key}:update"),
            )
        )

    async def _item_id(self, subscription_id: str) -> str:
        found = await asked(lambda: self.client.v1.subscriptions.retrieve_async(subscription_id))
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
        made = await asked(
            lambda: self.client.v1.coupons.create_async(body, options(f"{key}:coupon"))  # pyright: ignore[reportArgumentType]
        )
        return made.id

    async def _release_schedule(self, subscription_id: str, *, key: str) -> dict[str, Any] | None:
        """Give up what waits for the end of the period; returns the phase that would have come."""
        schedules = self.client.v1.subscription_schedules
        found = await asked(lambda: self.client.v1.subscriptions.retrieve_async(subscription_id))
        if found.schedule is None:
            return None
        schedule_id = reference(found.schedule)
        schedule = await asked(lambda: schedules.retrieve_async(schedule_id))
        await asked(
            lambda: schedules.release_async(
                schedule_id, None, options(f"{key}:release:{schedule_id}")
            )
        )
        following = translate.next_phase(schedule)
        if following is None:
            return None
        return {
            "items": [{"price": reference(item.price), "quantity": 1} for item in following.items],
            "proration_behavior": "none",
            "end_date": following.end_date,
        }
