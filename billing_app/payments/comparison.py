"""Compares what a customer has at the payment provider with our rows. Calls no provider."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.subscriptions.apply import (
    invoice_values,
    live_subscription,
    versions_of_prices,
)
from billing_app.billing.subscriptions.dunning import Entitlement, InvoiceEntitlement, entitlements
from billing_app.billing.subscriptions.plan_sync import plans_of
from billing_app.billing.subscriptions.provider import (
    ENDED,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus
from billing_app.db.tables import Invoice, Plan, ProviderIdentity, Subscription

NOTHING: Final = "missing"


@dataclass(frozen=True, slots=True)
class Difference:
    """What the provider has, and what we had. `healed` False: only reported."""

    account_id: str
    what: str
    provider_id: str
    theirs: str
    ours: str
    healed: bool = False


@dataclass(frozen=True, slots=True)
class _Ours:
    """What we have for an account, by the provider's ids. What is older than
    `account_since`, the provider does not know."""

    subscriptions: dict[str, Subscription]
    invoices: dict[str, Invoice]
    plans: dict[str | None, Plan]
    live: Subscription | None
    account_since: datetime | None


async def compare(
    database: Database, account_id: int, snapshot: ProviderSnapshot, *, grace_days: int
) -> list[Difference]:
    """Subscriptions, invoices and the plans that they pay for."""
    async with database.reading() as session:
        ours = await _read_ours(session, account_id)
        versions = await versions_of_prices(session, snapshot)
    account = ids.encode_account(account_id)
    return [
        *_subscriptions(account, snapshot, ours, versions),
        *_invoices(account, snapshot, ours, versions, grace_days),
        *_only_ours(account, snapshot, ours),
    ]


async def _read_ours(session: AsyncSession, account_id: int) -> _Ours:
    held = select(Subscription).where(Subscription.account_id == account_id)
    billed = select(Invoice).where(Invoice.account_id == account_id)
    identity = await session.get(ProviderIdentity, 1)
    return _Ours(
        {row.provider_id: row for row in (await session.exec(held)).all()},
        {row.provider_id: row for row in (await session.exec(billed)).all()},
        {plan.source_reference: plan for plan in await plans_of(session, account_id)},
        await live_subscription(session, account_id),
        identity.account_since if identity else None,
    )


def _subscriptions(
    account: str, snapshot: ProviderSnapshot, ours: _Ours, versions: dict[str, int]
) -> list[Difference]:
    differences: list[Difference] = []
    for theirs in snapshot.subscriptions:
        if theirs.price_id not in versions:
            continue
        row = ours.subscriptions.get(theirs.provider_id)
        there, here = _describe_theirs(theirs, versions), _describe_ours(row)
        if row is None and theirs.status not in ENDED and ours.live is not None:
            here = f"another is live: {ours.live.provider_id}"
        if there != here:
            differences.append(Difference(account, "subscription", theirs.provider_id, there, here))
    return differences


def _invoices(
    account: str, snapshot: ProviderSnapshot, ours: _Ours, versions: dict[str, int], grace_days: int
) -> list[Difference]:
    differences: list[Difference] = []
    for invoice, entitlement in entitlements(snapshot.invoices, grace_days=grace_days):
        row = ours.invoices.get(invoice.provider_id)
        plan = ours.plans.get(invoice.provider_id)
        wants = invoice.price_id in versions and (
            invoice.status is not InvoiceStatus.VOID or plan is not None
        )
        planned, held = (
            _describe_entitlement(entitlement if wants else None),
            _describe_plan(plan, entitlement),
        )
        if not _is_mirrored(invoice, row) or planned != held:
            there = f"{_describe_payment(invoice)}, {planned}"
            here = f"{_describe_payment(row) if row else NOTHING}, {held}"
            differences.append(Difference(account, "invoice", invoice.provider_id, there, here))
    return differences


def _only_ours(account: str, snapshot: ProviderSnapshot, ours: _Ours) -> list[Difference]:
    """What only we have is reported and kept: absence at the provider never deletes anything."""
    theirs = {each.provider_id for each in snapshot.subscriptions}
    theirs |= {each.provider_id for each in snapshot.invoices}
    subscriptions = [
        Difference(account, "subscription", row.provider_id, NOTHING, _describe_ours(row))
        for row in ours.subscriptions.values()
        if row.provider_id not in theirs and row.status not in ENDED
    ]
    invoices = [
        Difference(account, "invoice", row.provider_id, NOTHING, row.status)
        for row in ours.invoices.values()
        if row.provider_id not in theirs
        and row.status != InvoiceStatus.DRAFT
        and not (ours.account_since and row.synced_at < ours.account_since)
    ]
    return subscriptions + invoices


def _is_mirrored(invoice: ProviderInvoice, row: Invoice | None) -> bool:
    return row is not None and all(
        getattr(row, name) == value for name, value in invoice_values(invoice).items()
    )


def _describe_payment(invoice: ProviderInvoice | Invoice) -> str:
    back = f", {invoice.refunded_minor} paid back" if invoice.refunded_minor else ""
    return f"{invoice.status} {invoice.amount_paid_minor}{back}"


def _describe_theirs(snapshot: ProviderSubscription, versions: dict[str, int]) -> str:
    version_id = versions[snapshot.price_id]
    following = versions.get(snapshot.next_price_id or "")
    cancels = snapshot.cancel_at_period_end and snapshot.status not in ENDED
    return _describe(
        snapshot.status,
        version_id,
        following if following != version_id else None,
        snapshot.period_end,
        cancels=cancels,
    )


def _describe_ours(row: Subscription | None) -> str:
    if row is None:
        return NOTHING
    return _describe(
        row.status,
        row.offer_version_id,
        row.next_offer_version_id,
        row.period_end,
        cancels=row.cancel_at_period_end,
    )


def _describe(
    status: str, version_id: int, following: int | None, period_end: datetime, *, cancels: bool
) -> str:
    then = f", then {following}" if following else ""
    ends = ", cancels" if cancels else ""
    return f"{status}, offer version {version_id}{then}, until {period_end.isoformat()}{ends}"


def _describe_entitlement(entitlement: InvoiceEntitlement | None) -> str:
    if entitlement is None or entitlement.kind is Entitlement.NOTHING:
        return "no plan"
    if entitlement.kind is Entitlement.ENDED:
        return "a plan that ended"
    suspend_at = entitlement.suspend_at
    return f"a plan until {suspend_at.isoformat()}" if suspend_at else "a plan"


def _describe_plan(plan: Plan | None, entitlement: InvoiceEntitlement) -> str:
    """A plan that ended on its own is still the plan that was paid for."""
    if plan is None:
        return "no plan"
    if entitlement.kind is Entitlement.ENDED and plan.ended_at is not None:
        return "a plan that ended"
    return f"a plan until {plan.suspended_at.isoformat()}" if plan.suspended_at else "a plan"
