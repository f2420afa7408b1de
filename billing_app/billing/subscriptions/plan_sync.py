"""Plan sync: creates, suspends and ends plans according to what was paid.

The caller holds the account's lock and owns the transaction. Repeated, it changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.executions.expired_holds import unused_of
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.limits import spending_limit
from billing_app.billing.overage.rules import allowed_executions, reference_of
from billing_app.billing.subscriptions.bridges import Bridges
from billing_app.billing.subscriptions.dunning import (
    CHANGE,
    RENEWAL,
    Entitlement,
    InvoiceEntitlement,
    entitlements,
)
from billing_app.billing.subscriptions.proration import executions_after_change
from billing_app.billing.subscriptions.provider import (
    InvoiceLine,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.billing.subscriptions.provider_requests import credited_executions
from billing_app.billing.subscriptions.sold_lines import cost_minor, sold_lines
from billing_app.db.enums import EndReason, InvoiceStatus, PlanSource, PlanType, SubscriptionStatus
from billing_app.db.tables import Plan
from billing_app.db.tables.plans import OVERAGE_PRIORITY

SHORTEST: Final = timedelta(microseconds=1)


@dataclass
class PlanSync:
    """One pass over a customer's invoices, oldest first. `plans`: all plans of the account."""

    session: AsyncSession
    account_id: int
    plans: list[Plan]
    versions: dict[str, int]
    now: datetime

    @property
    def bridges(self) -> Bridges:
        return Bridges(self.session, self.account_id, self.plans, self.now)

    async def apply(self, snapshot: ProviderSnapshot, *, grace_days: int) -> None:
        for invoice, entitlement in entitlements(snapshot, grace_days=grace_days):
            await self._invoice(invoice, entitlement)
        for subscription in snapshot.subscriptions:
            if subscription.status is SubscriptionStatus.CANCELED:
                await self._end_with(subscription, snapshot.invoices)

    async def _invoice(self, invoice: ProviderInvoice, entitlement: InvoiceEntitlement) -> None:
        if entitlement.kind is Entitlement.NOTHING:
            return
        for reference, line in sold_lines(invoice, self.versions):
            await self._line(invoice, entitlement, reference, line)

    async def _line(
        self,
        invoice: ProviderInvoice,
        entitlement: InvoiceEntitlement,
        reference: str,
        line: InvoiceLine,
    ) -> None:
        offer = await offer_version(self.session, self.versions[line.price_id or ""])
        plan = self._plan_of(reference)
        if plan is None:
            if entitlement.kind is Entitlement.ENDED and invoice.status is InvoiceStatus.VOID:
                return
            plan = await self._make(invoice, reference, line, offer)
        await self._keep_cost(plan, cost_minor(invoice, line))
        beside = self._plan_of(reference_of(reference))
        if beside is None and _allows_overage(invoice, entitlement, line, offer):
            await self._make_overage(offer, plan)
        if plan.suspended_at != entitlement.suspend_at:
            await self._suspend(reference, entitlement.suspend_at)
        if entitlement.kind is Entitlement.ENDED and plan.ended_because in {
            None,
            EndReason.DEPLETED,
        }:
            references = col(Plan.source_reference).in_(_references(reference))
            await self._end(EndReason.CANCELLED, self.now, references)

    async def _keep_cost(self, plan: Plan, minor: int) -> None:
        if plan.cost_minor != minor:
            plans = update(Plan).where(col(Plan.account_id) == self.account_id)
            is_it = col(Plan.sequence) == plan.sequence
            await self.session.exec(plans.where(is_it).values(cost_minor=minor))

    def _plan_of(self, reference: str) -> Plan | None:
        return next((plan for plan in self.plans if plan.source_reference == reference), None)

    async def _make(
        self, invoice: ProviderInvoice, reference: str, line: InvoiceLine, offer: OfferView
    ) -> Plan:
        executions = offer.executions * line.quantity
        if invoice.billing_reason == CHANGE and offer.is_subscription:
            executions = await self._replace(line, executions)
        values: dict[str, Any] = {
            "type": PlanType.PAID,
            "name": offer.name,
            "source": PlanSource.SUBSCRIPTION if offer.is_subscription else PlanSource.PACK,
            "source_reference": reference,
            "priority": offer.priority,
            "offer_version_id": offer.version_id,
            "executions": executions,
            "starts_at": line.period_start if offer.is_subscription else invoice.issued_at,
            "ends_at": _ends_at(invoice, line, offer),
        }
        bridged = await self.bridges.take_up(invoice.subscription_id, values)
        return bridged or await self._add(**values)

    async def _make_overage(self, offer: OfferView, plan: Plan) -> None:
        """What can be used beyond the plan of a period, and is paid for afterwards."""
        assert offer.overage is not None
        assert plan.source_reference is not None
        limit = await spending_limit(self.session, self.account_id)
        await self._add(
            type=PlanType.PAID,
            name=offer.name,
            source=PlanSource.OVERAGE,
            source_reference=reference_of(plan.source_reference),
            priority=OVERAGE_PRIORITY,
            offer_version_id=offer.version_id,
            executions=allowed_executions(offer.overage, offer.currency, limit),
            starts_at=plan.starts_at,
            ends_at=plan.ends_at,
            suspended_at=plan.suspended_at,
            paused_at=plan.paused_at,
            ended_at=plan.ended_at if plan.ended_because != EndReason.DEPLETED else None,
            ended_because=plan.ended_because if plan.ended_because != EndReason.DEPLETED else None,
        )

    async def _add(self, **values: Any) -> Plan:
        plan = Plan(
            account_id=self.account_id,
            sequence=max((plan.sequence for plan in self.plans), default=0) + 1,
            created_at=self.now,
            **values,
        )
        self.session.add(plan)
        await self.session.flush()
        self.plans.append(plan)
        return plan

    async def _replace(self, line: InvoiceLine, executions: int) -> int:
        """End the plan that the change replaces; returns what the new one holds of what it sells.

        Executions used after the preview were credited as unused. They count against the new plan,
        even when they used the old one up.
        """
        old = max(
            (plan for plan in self.plans if plan.source == PlanSource.SUBSCRIPTION),
            key=lambda plan: plan.sequence,
            default=None,
        )
        if old is None:
            return executions
        locked = await self.session.get(
            Plan, (old.account_id, old.sequence), with_for_update=True, populate_existing=True
        )
        assert locked is not None
        is_running = locked.ends_at is None or locked.ends_at > line.period_start
        if locked.ended_at is None and is_running:
            locked.ended_at = self.now
            locked.ended_because = EndReason.REPLACED
            self.session.add(locked)
        if is_running and locked.source_reference:
            beside = Plan.source_reference == reference_of(locked.source_reference)
            await self._end(EndReason.REPLACED, self.now, beside)
        unused = await unused_of(self.session, locked, self.now)
        credited = await credited_executions(self.session, locked.account_id, locked.sequence)
        return executions_after_change(
            executions, credited=unused if credited is None else credited, unused=unused
        )

    async def _suspend(self, reference: str, at: datetime | None) -> None:
        statement = (
            update(Plan)
            .where(col(Plan.account_id) == self.account_id)
            .where(col(Plan.source_reference).in_(_references(reference)))
            .values(suspended_at=at)
        )
        await self.session.exec(statement)

    async def _end_with(
        self, subscription: ProviderSubscription, invoices: list[ProviderInvoice]
    ) -> None:
        """End the plans of a subscription that ended before its period did."""
        ended_at = subscription.ended_at or self.now
        references = [
            each
            for invoice in invoices
            if invoice.subscription_id == subscription.provider_id
            for reference, line in sold_lines(invoice, self.versions)
            if line.is_period
            for each in _references(reference)
        ]
        of_subscription = col(Plan.source_reference).in_(references)
        await self._end(
            EndReason.CANCELLED, ended_at, of_subscription, col(Plan.ends_at) > ended_at
        )

    async def _end(self, because: EndReason, at: datetime, *where: Any) -> None:
        plans = update(Plan).where(col(Plan.account_id) == self.account_id).where(*where)
        is_open = col(Plan.ended_at).is_(None)
        await self.session.exec(plans.where(is_open).values(ended_at=at, ended_because=because))
        if because is EndReason.CANCELLED:
            # A refund of executions would reopen a depleted plan if its period still ran.
            used_up = col(Plan.ended_because) == EndReason.DEPLETED
            lasts = col(Plan.ends_at).is_(None) | (col(Plan.ends_at) > at)
            ends_at = func.greatest(at, col(Plan.starts_at) + SHORTEST)
            await self.session.exec(plans.where(used_up, lasts).values(ends_at=ends_at))


def _ends_at(invoice: ProviderInvoice, line: InvoiceLine, offer: OfferView) -> datetime | None:
    if offer.is_subscription:
        return line.period_end
    days = offer.valid_days
    return invoice.issued_at + timedelta(days=days) if days is not None else None


def _references(reference: str) -> list[str]:
    """Of a plan, and of its overage plan."""
    return [reference, reference_of(reference)]


def _allows_overage(
    invoice: ProviderInvoice, entitlement: InvoiceEntitlement, line: InvoiceLine, offer: OfferView
) -> bool:
    """Whether the period is paid for, or its renewal is being collected. During a trial the
    provider bills no usage."""
    is_trial = offer.price_minor > 0 and line.amount_minor == 0
    is_paid = invoice.status is InvoiceStatus.PAID and invoice.reversal is None
    is_renewing = invoice.billing_reason == RENEWAL and invoice.status in (
        InvoiceStatus.DRAFT,
        InvoiceStatus.OPEN,
    )
    is_entitled = is_renewing and entitlement.kind is Entitlement.STANDS
    return offer.overage is not None and (is_paid or is_entitled) and not is_trial


async def plans_of(session: AsyncSession, account_id: int) -> list[Plan]:
    query = select(Plan).where(Plan.account_id == account_id).order_by(col(Plan.sequence))
    return list((await session.exec(query)).all())
