"""What is scheduled for a subscription at Stripe, and putting back what a failed request took away.

A request that needs several calls first writes its key beside what it takes away: on the schedule
that it releases, or on the subscription whose cancellation it withdraws. Whatever happens between
its calls, that is found again.
"""

from typing import Any, Final

from billing_app.billing.subscriptions.provider import ENDED
from billing_app.payments import translate
from billing_app.payments.calls import PAGE_SIZE, all_rows, complete, options, reference, send
from billing_app.payments.cards import Cards

# On a subscription: the request that withdrew its cancellation, and the date ("" for period end).
WITHDRAWN_METADATA: Final = "billing_withdrawn_cancellation"
# On a subscription: the request that began to tax it.
TAXED_METADATA: Final = "billing_taxed"


class Schedules(Cards):
    async def put_back(self, subscription_id: str, *, key: str) -> bool:
        """Restore what the request with this key took away and nothing else has replaced; False:
        there was nothing to restore. Repeated, it changes nothing."""
        subscription = await self.retrieve(subscription_id)
        if subscription.status in ENDED:
            return False
        await self._untax(subscription, key=key)
        schedule = await self._schedule_of(subscription)
        if schedule is not None and translate.next_phase(schedule) is not None:
            return False
        if phase := await self.released_phase(subscription, key=key):
            await self.schedule(subscription_id, phase, key=f"{key}:again")
            return True
        if schedule is not None and schedule.end_behavior == "release":  # of one phase
            await self.release_schedule(subscription_id, key=f"{key}:undo")
        if cancellation := _withdrawn(subscription, key):
            await self.update(subscription_id, cancellation, key=f"{key}:undo")
        return cancellation is not None

    async def schedule(self, subscription_id: str, next_phase: dict[str, Any], *, key: str) -> None:
        """Let a phase follow the current one. An existing schedule is reused, so a repetition after
        an interruption has the same result."""
        schedules = self.client.v1.subscription_schedules
        subscription = await self.retrieve(subscription_id)
        schedule = await self._schedule_of(subscription)
        if schedule is None:
            schedule = await send(
                lambda: schedules.create_async(
                    {"from_subscription": subscription_id}, options(f"{key}:schedule")
                )
            )
        current = translate.current_phase(schedule)
        terms = translate.subscription_terms(subscription)
        kept: dict[str, Any] = terms | {
            "items": translate.phase_items(current),
            "start_date": current.start_date,
            "end_date": current.end_date,
        }
        if current.trial_end:
            kept["trial_end"] = current.trial_end
        next_phase = terms | next_phase
        body: dict[str, Any] = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [kept, next_phase],
        }
        identifier = schedule.id
        await send(
            lambda: schedules.update_async(identifier, body, options(f"{key}:phases"))  # pyright: ignore[reportArgumentType]
        )

    async def release_schedule(self, subscription_id: str, *, key: str) -> None:
        """Cancel what is scheduled for the end of the period. `put_back` finds it by the key."""
        schedules = self.client.v1.subscription_schedules
        schedule = await self._schedule_of(await self.retrieve(subscription_id))
        if schedule is None:
            return
        schedule_id = schedule.id
        if translate.next_phase(schedule) is not None:
            mark: Any = {"metadata": {translate.WRITE_METADATA: key}}
            marking = options(f"{key}:mark:{schedule_id}")
            await send(lambda: schedules.update_async(schedule_id, mark, marking))
        releasing = options(f"{key}:release:{schedule_id}")
        await send(lambda: schedules.release_async(schedule_id, None, releasing))

    async def withdraw_cancellation(self, subscription: Any, *, key: str) -> None:
        """`put_back` finds it by the key."""
        at = "" if subscription.cancel_at_period_end else subscription.cancel_at
        withdrawal = not_cancelled(subscription)
        await self.update(
            subscription.id, withdrawal, key=key, notes={WITHDRAWN_METADATA: f"{key} {at}"}
        )

    async def tax_from_now_on(self, subscription: Any, *, key: str) -> None:
        """`put_back` finds it by the key."""
        await self.update(subscription.id, self.tax, key=f"{key}:tax", notes={TAXED_METADATA: key})

    async def _untax(self, subscription: Any, *, key: str) -> None:
        by = translate.metadata(subscription).get(TAXED_METADATA)
        if by == key and subscription.automatic_tax.enabled:
            body = {"automatic_tax": {"enabled": False}}
            await self.update(subscription.id, body, key=f"{key}:untax")

    async def update(
        self,
        subscription_id: str,
        body: dict[str, Any],
        *,
        key: str,
        notes: dict[str, str] | None = None,
    ) -> None:
        """`notes`: metadata beside the request's key."""
        marked = body | {"metadata": {translate.WRITE_METADATA: key} | (notes or {})}
        update = self.client.v1.subscriptions.update_async
        await send(lambda: update(subscription_id, marked, options(f"{key}:update")))  # pyright: ignore[reportArgumentType]

    async def retrieve(self, subscription_id: str) -> Any:
        subscription = await send(
            lambda: self.client.v1.subscriptions.retrieve_async(subscription_id)
        )
        await complete(subscription.items)
        return subscription

    async def _schedule_of(self, subscription: Any) -> Any | None:
        if subscription.schedule is None:
            return None
        schedule_id = reference(subscription.schedule)
        return await send(lambda: self.client.v1.subscription_schedules.retrieve_async(schedule_id))

    async def released_phase(self, subscription: Any, *, key: str) -> dict[str, Any] | None:
        """The phase that was next when the request with this key released its schedule: Stripe
        keeps released schedules (docs.stripe.com/api/subscription_schedules/release)."""
        query: Any = {"customer": reference(subscription.customer), "limit": PAGE_SIZE}
        list_rows = self.client.v1.subscription_schedules.list_async
        for schedule in await all_rows(lambda: list_rows(query)):
            is_of = schedule.released_subscription == subscription.id
            if is_of and translate.request_key(schedule) == key:
                return _phase_after_release(schedule, subscription)
        return None


def _phase_after_release(schedule: Any, subscription: Any) -> dict[str, Any] | None:
    """As Stripe takes it, as long as it was, behind the current period."""
    following = next(
        (phase for phase in schedule.phases if phase.start_date > schedule.released_at), None
    )
    if following is None:
        return None
    period_end = max(item.current_period_end for item in subscription.items.data)
    length = following.end_date - following.start_date
    return {
        "items": translate.phase_items(following),
        "proration_behavior": following.proration_behavior,
        "end_date": max(following.end_date, period_end + length),
    }


def _withdrawn(subscription: Any, key: str) -> dict[str, Any] | None:
    """Cancels it again as it was, if the request with this key withdrew that."""
    noted = translate.metadata(subscription).get(WITHDRAWN_METADATA, "")
    by, _, at = noted.partition(" ")
    if by != key or subscription.cancel_at:
        return None
    return {"cancel_at": int(at)} if at else {"cancel_at_period_end": True}


def not_cancelled(subscription: Any) -> dict[str, Any]:
    """Withdraws a cancellation: of the end of the period, or of a date."""
    if subscription.cancel_at and not subscription.cancel_at_period_end:
        return {"cancel_at": ""}
    return {"cancel_at_period_end": False}
