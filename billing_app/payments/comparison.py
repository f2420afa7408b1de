"""Compares what a customer has at the payment provider with our rows. Calls no provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.imports.import_states import imported_at
from billing_app.billing.subscriptions.apply import (
    invoice_values,
    live_subscription,
    subscription_values,
    versions_of_prices,
)
from billing_app.billing.subscriptions.bank_debits import packs_to_void
from billing_app.billing.subscriptions.dunning import Entitlement, InvoiceEntitlement, entitlements
from billing_app.billing.subscriptions.ended_invoices import to_void, used_invoices
from billing_app.billing.subscriptions.plan_sync import plans_of
from billing_app.billing.subscriptions.provider import (
    ENDED,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.billing.subscriptions.sold_lines import sold_item, sold_lines
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus
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


@dataclass(slots=True)
class Notes:
    """The differences that a run has found so far."""

    differences: list[Difference] = field(default_factory=list[Difference])

    def note(
        self, account_id: str, what: str, provider_id: str, theirs: str, ours: str, *, healed: bool
    ) -> None:
        self.differences.append(Difference(account_id, what, provider_id, theirs, ours, healed))


def name_of(error: Exception) -> str:
    """What an error is called in a difference."""
    return error.code if isinstance(error, BillingError) else type(error).__name__


@dataclass(frozen=True, slots=True)
class _Ours:
    """What we have for an account, by the provider's ids. What is older than
    `account_since`, the provider does not know. Invoices before `imported_at` were something
    else's."""

    subscriptions: dict[str, Subscription]
    invoices: dict[str, Invoice]
    plans: dict[str | None, Plan]
    live: Subscription | None
    account_since: datetime | None
    imported_at: datetime | None


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
        await imported_at(session, account_id),
    )


def _subscriptions(
    account: str, snapshot: ProviderSnapshot, ours: _Ours, versions: dict[str, int]
) -> list[Difference]:
    differences: list[Difference] = []
    for theirs in snapshot.subscriptions:
        row = ours.subscriptions.get(theirs.provider_id)
        if row is None and sold_item(theirs, versions) is None:
            continue
        there, here = _describe_theirs(theirs, row, versions), _describe_ours(row)
        if row is not None and row.is_duplicate and ours.live is not None:
            here = f"{here}, beside {ours.live.provider_id}: end one of the two"
        is_trial = theirs.status is SubscriptionStatus.TRIALING
        if row is not None and row.trial_refused_at and is_trial:
            here = f"{here}, a trial that is not given: to be cancelled"
        if there != here:
            differences.append(Difference(account, "subscription", theirs.provider_id, there, here))
    return differences


def _invoices(
    account: str, snapshot: ProviderSnapshot, ours: _Ours, versions: dict[str, int], grace_days: int
) -> list[Difference]:
    differences: list[Difference] = []
    trusted = {row.provider_id for row in ours.invoices.values() if row.trusted_at is not None}
    given = entitlements(snapshot, grace_days=grace_days, trusted=trusted)
    used = used_invoices(ours.plans.values())
    voidable = {each.provider_id for each in to_void(snapshot, versions, used)}
    asked = {key for key, row in ours.invoices.items() if row.bank_asked_at is not None}
    failed = {each.provider_id for each in packs_to_void(snapshot, asked)}
    refused = {row.provider_id for row in ours.subscriptions.values() if row.trial_refused_at}
    for invoice, lines in sold_lines(snapshot.invoices, versions, refused):
        entitlement = given[invoice.provider_id]
        row = ours.invoices.get(invoice.provider_id)
        there = [_describe_payment(invoice)]
        here = [_describe_payment(row) if row else NOTHING]
        for reference, _ in lines:
            plan = ours.plans.get(reference)
            is_void = entitlement.kind is Entitlement.ENDED and invoice.status is InvoiceStatus.VOID
            there.append(_describe_entitlement(None if is_void and not plan else entitlement))
            here.append(_describe_plan(plan, entitlement))
        if not lines and _should_give(invoice, ours):
            there.append("paid, and no line sells an offer")
        if invoice.provider_id in voidable:
            there.append("open after its subscription ended")
        if invoice.provider_id in failed:
            there.append("open after its debit failed")
        if not _is_mirrored(invoice, row) or there != here:
            differences.append(
                Difference(
                    account, "invoice", invoice.provider_id, ", ".join(there), ", ".join(here)
                )
            )
    return differences


def _should_give(invoice: ProviderInvoice, ours: _Ours) -> bool:
    """Whether a period of a subscription of ours was paid for."""
    is_ours = invoice.subscription_id in ours.subscriptions
    is_paid = invoice.status is InvoiceStatus.PAID and invoice.amount_paid_minor > 0
    has_period = any(line.is_period for line in invoice.lines)
    is_older = ours.imported_at is not None and invoice.issued_at < ours.imported_at
    return is_ours and is_paid and has_period and not is_older


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
    if row is None or row.is_processing != invoice.is_processing:
        return False
    return all(getattr(row, name) == value for name, value in invoice_values(invoice).items())


def _describe_payment(invoice: ProviderInvoice | Invoice) -> str:
    back = f", {invoice.refunded_minor} paid back" if invoice.refunded_minor else ""
    debit = ", being debited" if invoice.is_processing else ""
    return f"{invoice.status} {invoice.amount_paid_minor}{back}{debit}"


def _describe_theirs(
    snapshot: ProviderSubscription, row: Subscription | None, versions: dict[str, int]
) -> str:
    values = subscription_values(snapshot, versions, row)
    return _describe(values) if values else NOTHING


def _describe_ours(row: Subscription | None) -> str:
    return _describe(row.model_dump()) if row is not None else NOTHING


def _describe(values: Mapping[str, Any]) -> str:
    version_id, following = values["offer_version_id"], values["next_offer_version_id"]
    count = f"{values['quantity']} x " if values["quantity"] != 1 else ""
    then = f", then {following}" if following else ""
    cancel_at = values["cancel_at"]
    ends = f", cancels {cancel_at.isoformat()}" if cancel_at else ""
    paused = "" if values["is_collecting"] else ", collection paused"
    return (
        f"{values['status']}, offer version {count}{version_id}{then}, until"
        f" {values['period_end'].isoformat()}{ends}{paused}"
    )


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
