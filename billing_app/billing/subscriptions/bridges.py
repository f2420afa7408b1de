"""Bridges: a renewing subscription's next period can be used before its invoice is known here.

A bridge is a plan that waits for the end of the period. The renewal's plan is made of it, with
what was used, so that time alone refuses nobody and nothing is counted twice. It lasts for hours,
and holds no more than the period will. When no period follows, what was used stays on it and is
owed: the next plan that is bought is made of it. Overage beside it is billed as any other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.limits import spending_limit
from billing_app.billing.overage.rules import allowed_executions, reference_of
from billing_app.billing.plans.inserting import insert_plan
from billing_app.billing.subscriptions.provider import ProviderSnapshot, ProviderSubscription
from billing_app.billing.subscriptions.sold_lines import period_start, sold_item
from billing_app.db.enums import EndReason, InvoiceStatus, PlanSource, PlanType, SubscriptionStatus
from billing_app.db.tables import Plan
from billing_app.db.tables.plans import OVERAGE_PRIORITY

PREFIX: Final = "bridge:"
RENEWING: Final = (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)


@dataclass(frozen=True, slots=True)
class NextPeriod:
    """The period that follows, as far as it is bridged: from `starts_at` to `ends_at`."""

    subscription_id: str
    version_id: int
    quantity: int
    starts_at: datetime
    ends_at: datetime

    @property
    def reference(self) -> str:
        prefix = period_prefix(self.subscription_id, self.starts_at)
        return f"{prefix}{self.version_id}x{self.quantity}"


def period_prefix(subscription_id: str, starts_at: datetime) -> str:
    """What the references of all bridges into a period begin with."""
    return f"{PREFIX}{subscription_id}:{int(starts_at.timestamp())}:"


def next_periods(
    subscription: ProviderSubscription, versions: dict[str, int], *, hours: int, now: datetime
) -> list[NextPeriod]:
    """One for each item that sells an offer; empty when it does not renew, or payment is overdue.

    Of a scheduled change it is the period of the new offer. Pure.
    """
    sold = sold_item(subscription, versions)
    if sold is None or subscription.status not in RENEWING:
        return []
    scheduled = [versions[each] for each in subscription.next_price_ids if each in versions]
    items = [(version_id, sold) for version_id in scheduled] or [
        (versions[item.price_id], item)
        for item in subscription.items
        if item.price_id in versions and item.quantity > 0
    ]
    stops_at = subscription.cancel_at
    periods: list[NextPeriod] = []
    for version_id, item in items:
        starts_at = item.period_end
        ends_at = starts_at + timedelta(hours=hours)
        ends_at = min(ends_at, stops_at) if stops_at is not None else ends_at
        if ends_at > max(starts_at, now):
            periods.append(
                NextPeriod(subscription.provider_id, version_id, item.quantity, starts_at, ends_at)
            )
    return periods


@dataclass(frozen=True, slots=True)
class Bridges:
    """Of one account. `plans`: all of its plans, kept up to date. The caller holds its lock."""

    session: AsyncSession
    account_id: int
    plans: list[Plan]
    now: datetime

    async def keep(
        self,
        snapshot: ProviderSnapshot,
        live: ProviderSubscription | None,
        versions: dict[str, int],
        *,
        hours: int,
    ) -> None:
        """Bridge the next period of the live subscription, and end bridges that lead nowhere."""
        periods = next_periods(live, versions, hours=hours, now=self.now) if live else []
        wanted = {period.reference: period for period in periods}
        for plan in self._all():
            reference = plan.source_reference or ""
            period = wanted.get(reference)
            if period is not None and await self._hold(plan, period):
                del wanted[reference]
            elif period is not None or not _is_awaited(plan, snapshot, live):
                await self._drop(plan)
                await self._drop(self._beside(reference))
        for period in wanted.values():
            await self._add(period)

    async def take_up(self, subscription_id: str | None, values: dict[str, Any]) -> Plan | None:
        """Make the plan of `values` of the bridge into its period, or of one that is owed; None:
        there is none. What was used and held counts against it."""
        bridge = self._into(subscription_id, values) or self._owed()
        if bridge is None:
            return None
        plan = await self._lock(bridge)
        before = plan.source_reference or ""
        is_late = plan.starts_at != values["starts_at"]
        for name, value in values.items():
            setattr(plan, name, value)
        plan.executions = max(plan.executions, plan.used + plan.held)
        plan.created_at = self.now
        if is_late and plan.began_at is not None:
            plan.began_at = max(plan.began_at, plan.starts_at)
        _reopen(plan)
        self.session.add(plan)
        if not is_late:
            await self._take_up_beside(before, plan)
        await self.session.flush()
        return plan

    async def _take_up_beside(self, before: str, plan: Plan) -> None:
        beside = self._beside(before)
        if beside is None:
            return
        if beside.offer_version_id != plan.offer_version_id:
            await self._drop(beside)
            return
        locked = await self._lock(beside)
        locked.source_reference = reference_of(plan.source_reference or "")
        locked.ends_at = plan.ends_at
        _reopen(locked)
        self.session.add(locked)

    async def _hold(self, plan: Plan, period: NextPeriod) -> bool:
        """Whether it still bridges that period. A plan made since comes after it: a new one is
        needed, because a subscription's plans are in order of sequence."""
        last = max((each.sequence for each in self.plans if _is_period(each)), default=0)
        if plan.sequence < last and plan.began_at is None:
            return False
        for each in (plan, self._beside(plan.source_reference or "")):
            if each is not None and each.ends_at != period.ends_at:
                locked = await self._lock(each)
                locked.ends_at = period.ends_at
                self.session.add(locked)
        if plan.ended_because == EndReason.CANCELLED and plan.ends_at and self.now < plan.ends_at:
            _reopen(await self._lock(plan))
        return True

    async def _drop(self, plan: Plan | None) -> None:
        """Remove it while nobody used it; else end it, and what was used is owed."""
        if plan is None:
            return
        plan = await self._lock(plan)
        if plan.began_at is None:
            self.plans.remove(plan)
            await self.session.delete(plan)
        elif plan.ended_because != EndReason.CANCELLED:
            plan.ended_at = plan.ended_at or max(self.now, plan.starts_at)
            plan.ended_because = EndReason.CANCELLED
            self.session.add(plan)
        await self.session.flush()

    async def _add(self, period: NextPeriod) -> None:
        offer = await offer_version(self.session, period.version_id)
        if not offer.is_subscription:
            return
        values = {
            "type": PlanType.PAID,
            "name": offer.name,
            "offer_version_id": offer.version_id,
            "starts_at": period.starts_at,
            "ends_at": period.ends_at,
        }
        await self._insert(
            **values,
            source=PlanSource.BRIDGE,
            source_reference=period.reference,
            priority=offer.priority,
            executions=offer.executions * period.quantity,
        )
        if offer.overage is not None:
            await self._insert(
                **values,
                source=PlanSource.OVERAGE,
                source_reference=reference_of(period.reference),
                priority=OVERAGE_PRIORITY,
                executions=await self._allowed(offer),
            )

    async def _allowed(self, offer: OfferView) -> int:
        assert offer.overage is not None
        limit = await spending_limit(self.session, self.account_id)
        return allowed_executions(offer.overage, offer.currency, limit)

    async def _insert(self, **values: Any) -> None:
        sequence = max((plan.sequence for plan in self.plans), default=0) + 1
        plan = Plan(account_id=self.account_id, sequence=sequence, created_at=self.now, **values)
        await insert_plan(self.session, plan)
        self.plans.append(plan)

    async def _lock(self, plan: Plan) -> Plan:
        locked = await self.session.get(
            Plan, (plan.account_id, plan.sequence), with_for_update=True, populate_existing=True
        )
        assert locked is not None
        return locked

    def _all(self) -> list[Plan]:
        return [plan for plan in self.plans if plan.source == PlanSource.BRIDGE]

    def _into(self, subscription_id: str | None, values: dict[str, Any]) -> Plan | None:
        if values["source"] != PlanSource.SUBSCRIPTION or subscription_id is None:
            return None
        prefix = period_prefix(subscription_id, values["starts_at"])
        found = [each for each in self._all() if (each.source_reference or "").startswith(prefix)]
        found.sort(key=lambda each: each.offer_version_id != values["offer_version_id"])
        return next(iter(found), None)

    def _owed(self) -> Plan | None:
        return next((plan for plan in self._all() if plan.ended_because == "cancelled"), None)

    def _beside(self, reference: str) -> Plan | None:
        beside = reference_of(reference)
        return next((plan for plan in self.plans if plan.source_reference == beside), None)


def _is_awaited(plan: Plan, snapshot: ProviderSnapshot, live: ProviderSubscription | None) -> bool:
    """Whether the invoice of its period, which has begun, may still come."""
    if live is None or live.status not in RENEWING or plan.ended_because == EndReason.CANCELLED:
        return False
    is_current = any(
        (plan.source_reference or "").startswith(period_prefix(live.provider_id, item.period_start))
        for item in live.items
    )
    return is_current and not any(
        invoice.status is InvoiceStatus.VOID
        and invoice.subscription_id == live.provider_id
        and period_start(invoice) == plan.starts_at
        for invoice in snapshot.invoices
    )


def _is_period(plan: Plan) -> bool:
    return plan.source == PlanSource.SUBSCRIPTION


def _reopen(plan: Plan) -> None:
    """It goes on, unless it is used up. Overage stays open until its period ends."""
    is_used_up = plan.used == plan.executions and plan.source != PlanSource.OVERAGE
    if is_used_up:
        plan.ended_because = EndReason.DEPLETED
        plan.ended_at = plan.ended_at or plan.created_at
    else:
        plan.ended_at = plan.ended_because = None
