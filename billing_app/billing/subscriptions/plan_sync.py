"""Plan sync: creates, suspends and ends plans according to what was paid.

The caller holds the account's lock and owns the transaction. Repeated, it changes nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.executions.expired_holds import unused_of
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.overage.limits import spending_limit
from billing_app.billing.overage.rules import allowed_executions, reference_of
from billing_app.billing.plans.inserting import insert_plan
from billing_app.billing.subscriptions.bank_debits import BANK_DECIDES_WITHIN, prolonged_ends
from billing_app.billing.subscriptions.bridges import Bridges
from billing_app.billing.subscriptions.dunning import (
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
from billing_app.billing.subscriptions.sold_lines import (
    CHANGE,
    RENEWAL,
    Sold,
    cost_minor,
    given_until,
    sold_item,
    sold_lines,
)
from billing_app.db.enums import EndReason, InvoiceStatus, PlanSource, PlanType, SubscriptionStatus
from billing_app.db.tables import Plan, ProviderCustomer
from billing_app.db.tables.plans import OVERAGE_PRIORITY

SHORTEST: Final = timedelta(microseconds=1)


@dataclass
class PlanSync:
    """One pass over a customer's invoices, oldest first. `plans`: all plans of the account.
    `versions`: by price, and their `offers`.
    `refused_trials`: subscriptions whose trial is not given."""

    session: AsyncSession
    account_id: int
    plans: list[Plan]
    versions: dict[str, int]
    offers: dict[int, OfferView]
    now: datetime
    refused_trials: Collection[str] = ()
    sold: list[tuple[ProviderInvoice, Sold]] = field(default_factory=list[Any], init=False)
    prolonged: dict[str, datetime] = field(default_factory=dict[str, datetime], init=False)

    @property
    def bridges(self) -> Bridges:
        return Bridges(self.session, self.account_id, self.plans, self.now)

    async def apply(
        self, snapshot: ProviderSnapshot, *, grace_days: int, trusted: Collection[str] = ()
    ) -> None:
        given = entitlements(snapshot, grace_days=grace_days, trusted=trusted)
        sold = self.sold = sold_lines(snapshot.invoices, self.versions, self.refused_trials)
        ends = {each.provider_id: each.ended_at for each in snapshot.subscriptions}
        self.prolonged = prolonged_ends(sold, {each for each, ended in ends.items() if ended})
        for invoice, lines in sold:
            for reference, line in lines:
                if given[invoice.provider_id].kind is not Entitlement.NOTHING:
                    ends_at = given_until(invoice, line, ends.get(invoice.subscription_id or ""))
                    ends_at = max(ends_at, self.prolonged.get(reference, ends_at))
                    await self._line(invoice, given[invoice.provider_id], reference, line, ends_at)
        for subscription in snapshot.subscriptions:
            if subscription.status is SubscriptionStatus.CANCELED:
                await self._end_with(subscription, sold)
            elif subscription.status is SubscriptionStatus.TRIALING:
                await self._follow_trial(subscription, sold)

    async def _line(
        self,
        invoice: ProviderInvoice,
        entitlement: InvoiceEntitlement,
        reference: str,
        line: InvoiceLine,
        ends_at: datetime,
    ) -> None:
        offer = self.offers[self.versions[line.price_id or ""]]
        plan = self._plan_of(reference)
        if plan is None:
            if entitlement.kind is Entitlement.ENDED and invoice.status is InvoiceStatus.VOID:
                return
            plan = await self._make(invoice, reference, line, offer)
        await self._keep_cost(plan, cost_minor(invoice, line))
        if line.is_period and (ends_at != line.period_end or self._was_prolonged(plan, invoice)):
            await self._move_end(reference, ends_at)
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

    def _was_prolonged(self, plan: Plan, invoice: ProviderInvoice) -> bool:
        """Whether its end was moved while a bank decided on a change."""
        return any(
            plan.ends_at == each.issued_at + BANK_DECIDES_WITHIN
            for each, _ in self.sold
            if each.subscription_id == invoice.subscription_id and each.billing_reason == CHANGE
        )

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
        executions, credited = offer.executions * line.quantity, None
        if line.is_proration:
            executions = _share(offer, line.amount_minor)
            credited = self._credited_by_hand(invoice)
        is_first = reference == invoice.provider_id
        if invoice.billing_reason == CHANGE and offer.is_subscription and is_first:
            executions = await self._replace(invoice, line, executions, credited)
        elif line.is_proration:
            executions = max(0, executions - (credited or 0))
        starts_at, ends_at = _period(invoice, line, offer)
        values: dict[str, Any] = {
            "type": PlanType.PAID,
            "name": offer.name,
            "source": PlanSource.SUBSCRIPTION if offer.is_subscription else PlanSource.PACK,
            "source_reference": reference,
            "priority": offer.priority,
            "offer_version_id": offer.version_id,
            "executions": executions,
            "starts_at": starts_at,
            "ends_at": ends_at,
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
        await insert_plan(self.session, plan)
        self.plans.append(plan)
        return plan

    def _credited_by_hand(self, invoice: ProviderInvoice) -> int:
        """Executions of the prorations that a change in the provider's dashboard took back."""
        credited = 0
        for line in invoice.lines:
            if line.is_proration and line.amount_minor < 0 and line.price_id in self.versions:
                offer = self.offers[self.versions[line.price_id]]
                credited += _share(offer, -line.amount_minor)
        return credited

    async def _replace(
        self, invoice: ProviderInvoice, line: InvoiceLine, executions: int, credited: int | None
    ) -> int:
        """End the plan that the change replaces; returns what the new one holds of what it sells.

        Executions used after the preview were credited as unused. They count against the new plan,
        even when they used the old one up. `credited`: by a change in the provider's dashboard.
        """
        references = {
            reference
            for each, lines in self.sold
            if each.subscription_id == invoice.subscription_id and each is not invoice
            for reference, _ in lines
        }
        old = max(
            (
                plan
                for plan in self.plans
                if plan.source == PlanSource.SUBSCRIPTION and plan.source_reference in references
            ),
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
        if credited is None:
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

    async def _move_end(self, reference: str, ends_at: datetime) -> None:
        """Once: a plan that has ended since, ended at its new end."""
        plan = self._plan_of(reference)
        if plan is None or plan.ends_at == ends_at:
            return
        moved: dict[str, Any] = {"ends_at": ends_at}
        if plan.ended_because in {EndReason.PERIOD_ENDED, EndReason.CANCELLED}:
            moved |= {"ended_at": None, "ended_because": None}
        of_plan = col(Plan.source_reference).in_(_references(reference))
        plans = update(Plan).where(col(Plan.account_id) == self.account_id, of_plan)
        await self.session.exec(plans.values(**moved))
        await self.session.refresh(plan)

    async def _follow_trial(
        self, subscription: ProviderSubscription, sold: list[tuple[ProviderInvoice, Sold]]
    ) -> None:
        """Let the plan of a trial end with the trial, which support may prolong or shorten."""
        item = sold_item(subscription, self.versions)
        references = [
            reference
            for invoice, lines in sold
            if invoice.subscription_id == subscription.provider_id
            for reference, line in lines
            if line.is_period and item is not None and line.price_id == item.price_id
        ]
        if item is not None and references:
            await self._move_end(references[-1], item.period_end)

    async def _end_with(
        self, subscription: ProviderSubscription, sold: list[tuple[ProviderInvoice, Sold]]
    ) -> None:
        """End the plans of a subscription that ended before its period did."""
        ended_at = subscription.ended_at or self.now
        references = [
            each
            for invoice, lines in sold
            if invoice.subscription_id == subscription.provider_id
            for reference, line in lines
            if line.is_period and given_until(invoice, line, ended_at) == line.period_end
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


def _share(offer: OfferView, amount_minor: int) -> int:
    """The executions of a part of a period, from what the part costs."""
    if offer.price_minor == 0:
        return offer.executions
    return offer.executions * amount_minor // offer.price_minor


def _period(
    invoice: ProviderInvoice, line: InvoiceLine, offer: OfferView
) -> tuple[datetime, datetime | None]:
    """The start and the end of what a line gives. A share of a period that has passed is given
    with the period of the same invoice."""
    if not offer.is_subscription:
        days = offer.valid_days
        ends_at = invoice.issued_at + timedelta(days=days) if days is not None else None
        return invoice.issued_at, ends_at
    if not line.is_proration or line.period_end > invoice.issued_at:
        return line.period_start, line.period_end
    length = line.period_end - line.period_start
    ends = [each.period_end for each in invoice.lines if each.is_period]
    return invoice.issued_at, max(invoice.issued_at + length, *ends)


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


async def plans_of_customer(session: AsyncSession, customer_id: str) -> list[Plan]:
    """Those of the account of a customer at the provider."""
    query = select(ProviderCustomer.account_id).where(ProviderCustomer.customer_id == customer_id)
    account_id = (await session.exec(query)).first()
    return [] if account_id is None else await plans_of(session, account_id)
