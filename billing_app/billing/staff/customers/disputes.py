"""Disputed payments, as staff see them: how much, since when, and which plan stopped.

A plan that is suspended although its invoice is paid is in dispute. The dispute's own figures
(amount, when evidence is due) come from the provider's stored events.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.operations.provider_events import events_of_type
from billing_app.billing.staff.operations.provider_links import ProviderLinks
from billing_app.billing.subscriptions.provider import DisputeStage, ProviderDispute
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus, PlanSource
from billing_app.db.tables import Invoice, Plan, ProviderCustomer, WebhookEvent

MOST_EVENTS: Final = 100
MOST_EVENTS_OF_ALL: Final = 1_000
DISPUTES_WITHIN: Final = timedelta(days=180)
OPEN: Final = frozenset({DisputeStage.UNANSWERED, DisputeStage.ANSWERED})


class ProviderDisputes(Protocol):
    """How the provider reports disputes: `event_types` is the beginning of its events' types."""

    event_types: str

    def dispute_of(self, payload: Mapping[str, Any]) -> ProviderDispute: ...


@dataclass(frozen=True, slots=True)
class SuspendedPlan:
    """A plan whose paid invoice is in dispute. `is_in_force`: it would be usable now."""

    name: str
    suspended_at: datetime
    is_in_force: bool
    invoice_id: str
    paid_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Dispute:
    """`plan_name` is the plan that the payment bought, "" for none; `stops_plan`: the dispute stops
    its runs. `evidence_due_at` is None when the provider did not say, `provider_url` "" without a
    page."""

    amount_minor: int
    currency: str
    since: datetime
    plan_name: str
    stops_plan: bool
    evidence_due_at: datetime | None
    is_answered: bool
    provider_url: str


class Disputes:
    def __init__(
        self, database: Database, links: ProviderLinks, reported: ProviderDisputes
    ) -> None:
        self._database = database
        self._links = links
        self._reported = reported

    async def read(self, actor: Actor, account_id: str, now: datetime) -> list[Dispute]:
        """Undecided disputes, oldest first. Raises ForbiddenError, AccountNotFoundError."""
        require(actor, Action.READ)
        async with self._database.reading() as session:
            account = await authorize_reading(session, actor, account_id)
            plans = await _suspended_plans(session, account.id, now)
            payloads = await self._payloads(session, account.id)
        dispute = undecided(self._reported.dispute_of(payload) for payload in payloads)
        return disputes_of(plans, dispute, self._links)

    async def awaiting_evidence(self, actor: Actor, now: datetime) -> list[datetime | None]:
        """When evidence is due, of each open dispute of all accounts that still waits for it.
        Raises ForbiddenError."""
        require(actor, Action.READ)
        newest = col(WebhookEvent.received_at).desc()
        query = (
            select(WebhookEvent)
            .where(*events_of_type(self._reported.event_types))
            .where(col(WebhookEvent.received_at) > now - DISPUTES_WITHIN)
            .order_by(newest)
            .limit(MOST_EVENTS_OF_ALL)
        )
        async with self._database.reading() as session:
            payloads = [row.payload for row in (await session.exec(query)).all()][::-1]
        found = undecided(self._reported.dispute_of(payload) for payload in payloads)
        waiting = (each for each in found if each.stage is not DisputeStage.ANSWERED)
        dates = [each.evidence_due_at for each in waiting]
        return [due_at for due_at in dates if due_at is None or due_at > now]

    async def _payloads(self, session: AsyncSession, account_id: int) -> list[dict[str, Any]]:
        """Oldest first."""
        newest = col(WebhookEvent.occurred_at).desc(), col(WebhookEvent.received_at).desc()
        query = (
            select(WebhookEvent)
            .join(
                ProviderCustomer,
                col(ProviderCustomer.customer_id) == col(WebhookEvent.customer_id),
            )
            .where(ProviderCustomer.account_id == account_id)
            .where(*events_of_type(self._reported.event_types))
            .order_by(*newest)
            .limit(MOST_EVENTS)
        )
        return [row.payload for row in (await session.exec(query)).all()][::-1]


def undecided(reported: Iterable[ProviderDispute]) -> list[ProviderDispute]:
    """The newest report on each open dispute, from reports in order of age. A decision stays,
    whichever of two events of the same second comes last."""
    latest: dict[str, ProviderDispute] = {}
    for dispute in reported:
        before = latest.get(dispute.provider_id)
        if before is None or before.stage is not DisputeStage.DECIDED:
            latest[dispute.provider_id] = dispute
    return [dispute for dispute in latest.values() if dispute.stage in OPEN]


def disputes_of(
    plans: list[SuspendedPlan], reported: list[ProviderDispute], links: ProviderLinks
) -> list[Dispute]:
    """Pairs disputes with plans: a plan is suspended from the moment its dispute was opened."""
    opened = {dispute.opened_at: dispute for dispute in reported}
    bought = {plan.suspended_at: plan for plan in plans}
    disputes = [_of_plan(plan, opened.get(plan.suspended_at), links) for plan in plans]
    disputes += [
        _without_plan(dispute, links) for dispute in reported if dispute.opened_at not in bought
    ]
    return sorted(disputes, key=lambda dispute: dispute.since)


def _of_plan(plan: SuspendedPlan, dispute: ProviderDispute | None, links: ProviderLinks) -> Dispute:
    invoice_url = links.invoice(plan.invoice_id)
    return Dispute(
        amount_minor=dispute.amount_minor if dispute else plan.paid_minor,
        currency=dispute.currency if dispute else plan.currency,
        since=plan.suspended_at,
        plan_name=plan.name,
        stops_plan=plan.is_in_force,
        evidence_due_at=dispute.evidence_due_at if dispute else None,
        is_answered=dispute is not None and dispute.stage is DisputeStage.ANSWERED,
        provider_url=(links.payment(dispute.payment_id) if dispute else "") or invoice_url,
    )


def _without_plan(dispute: ProviderDispute, links: ProviderLinks) -> Dispute:
    return Dispute(
        amount_minor=dispute.amount_minor,
        currency=dispute.currency,
        since=dispute.opened_at,
        plan_name="",
        stops_plan=False,
        evidence_due_at=dispute.evidence_due_at,
        is_answered=dispute.stage is DisputeStage.ANSWERED,
        provider_url=links.payment(dispute.payment_id),
    )


async def _suspended_plans(
    session: AsyncSession, account_id: int, now: datetime
) -> list[SuspendedPlan]:
    query = (
        select(Plan, Invoice)
        .join(Invoice, col(Invoice.provider_id) == col(Plan.source_reference))
        .where(Plan.account_id == account_id)
        .where(Invoice.account_id == account_id)
        .where(Invoice.status == InvoiceStatus.PAID)
        .where(Plan.source != PlanSource.OVERAGE)
        .where(col(Plan.suspended_at) <= now)
        .order_by(col(Plan.sequence))
    )
    return [_suspended(plan, invoice, now) for plan, invoice in (await session.exec(query)).all()]


def _suspended(plan: Plan, invoice: Invoice, now: datetime) -> SuspendedPlan:
    assert plan.suspended_at is not None
    is_over = plan.ended_at is not None or (plan.ends_at is not None and plan.ends_at <= now)
    return SuspendedPlan(
        name=plan.name,
        suspended_at=plan.suspended_at,
        is_in_force=not is_over,
        invoice_id=invoice.provider_id,
        paid_minor=invoice.amount_paid_minor,
        currency=invoice.currency,
    )
