"""Applies what the provider says to our rows: idempotent, in any order, as often as it comes.

Facts are always fetched afresh, so that the newest state wins whatever event brought it.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.catalogue import OfferView, offer_version
from billing_app.billing.subscriptions.provider import (
    CheckoutFacts,
    InvoiceFacts,
    SubscriptionFacts,
)
from billing_app.billing.subscriptions.rules import executions_after_change
from billing_app.billing.subscriptions.writes import quoted_unused
from billing_app.db.tables import (
    Account,
    Checkout,
    Invoice,
    OfferPrice,
    Plan,
    ProviderCustomer,
    Subscription,
)
from billing_app.db.tables.plans import PACK_PRIORITY, QUEUE_PRIORITY
from billing_app.db.words import (
    CheckoutStatus,
    EndReason,
    InvoiceStatus,
    PlanSource,
    PlanType,
    SubscriptionStatus,
)

RENEWAL: Final = "subscription_cycle"
CHANGE: Final = "subscription_update"
OVERDUE: Final = frozenset({InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE})
GIVEN_UP: Final = frozenset({InvoiceStatus.VOID})


async def lock_account_of(session: AsyncSession, customer_id: str) -> Account | None:
    """The account of a customer, locked until the transaction ends; None: not one of ours."""
    query = (
        select(Account)
        .join(ProviderCustomer, col(ProviderCustomer.account_id) == Account.id)
        .where(ProviderCustomer.customer_id == customer_id)
        .with_for_update(of=Account)
    )
    return (await session.exec(query)).first()


async def apply_subscription(
    session: AsyncSession, facts: SubscriptionFacts, now: datetime
) -> Subscription | None:
    """Mirror a subscription; None when customer or price is not ours."""
    account = await lock_account_of(session, facts.customer_id)
    version_id = await version_of_price(session, facts.price_id)
    if account is None or version_id is None:
        return None
    query = (
        select(Subscription)
        .where(Subscription.account_id == account.id)
        .where(Subscription.provider_id == facts.provider_id)
    )
    row = (await session.exec(query)).first()
    if row is None:
        row = Subscription(
            account_id=account.id,
            number=int(now.timestamp() * 1_000_000),
            provider_id=facts.provider_id,
            status=facts.status,
            offer_version_id=version_id,
            period_start=facts.period_start,
            period_end=facts.period_end,
            synced_at=now,
            created_at=now,
        )
    await _mirror(session, row, facts, version_id, now)
    session.add(row)
    await session.flush()
    if facts.status is SubscriptionStatus.CANCELED:
        await _end_plans_of(session, account.id, facts, now)
    return row


async def _mirror(
    session: AsyncSession,
    row: Subscription,
    facts: SubscriptionFacts,
    version_id: int,
    now: datetime,
) -> None:
    row.status = facts.status
    row.offer_version_id = version_id
    next_version_id = (
        await version_of_price(session, facts.next_price_id) if facts.next_price_id else None
    )
    row.next_offer_version_id = next_version_id if next_version_id != version_id else None
    row.period_start = facts.period_start
    row.period_end = facts.period_end
    row.cancel_at_period_end = facts.cancel_at_period_end
    row.ended_at = facts.ended_at
    row.synced_at = now
    overdue = facts.status in {SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID}
    row.past_due_since = (row.past_due_since or now) if overdue else None


async def apply_invoice(
    session: AsyncSession, facts: InvoiceFacts, *, grace_days: int, now: datetime
) -> Invoice | None:
    """Mirror an invoice and let plans follow it; None when the customer is not ours."""
    account = await lock_account_of(session, facts.customer_id)
    if account is None:
        return None
    row = await session.get(Invoice, (account.id, facts.provider_id)) or Invoice(
        account_id=account.id,
        provider_id=facts.provider_id,
        currency=facts.currency,
        status=facts.status,
        amount_due_minor=0,
        amount_paid_minor=0,
        issued_at=facts.issued_at,
        synced_at=now,
    )
    row.subscription_provider_id = facts.subscription_id
    row.number = facts.number
    row.status = facts.status
    row.billing_reason = facts.billing_reason
    row.amount_due_minor = facts.amount_due_minor
    row.amount_paid_minor = facts.amount_paid_minor
    row.page_url = facts.page_url
    row.pdf_url = facts.pdf_url
    row.issued_at = facts.issued_at
    row.synced_at = now
    session.add(row)
    await session.flush()
    version_id = await version_of_price(session, facts.price_id) if facts.price_id else None
    if version_id is not None:
        offer = await offer_version(session, version_id)
        await _let_plans_follow(session, account.id, facts, offer, grace_days, now)
    return row


async def _let_plans_follow(
    session: AsyncSession,
    account_id: int,
    facts: InvoiceFacts,
    offer: OfferView,
    grace_days: int,
    now: datetime,
) -> None:
    """Paid makes the period's plan; an overdue renewal makes it for the days of grace."""
    if facts.status is InvoiceStatus.PAID:
        await _ensure_plan(session, account_id, facts, offer, now)
        await _suspend(session, account_id, facts.provider_id, None)
    elif facts.status in OVERDUE and facts.billing_reason == RENEWAL and facts.attempts:
        await _ensure_plan(session, account_id, facts, offer, now)
        failed_at = max(facts.issued_at, facts.period_start or facts.issued_at)
        stops_at = failed_at + timedelta(days=grace_days)
        await _suspend(session, account_id, facts.provider_id, stops_at)
    elif facts.status in GIVEN_UP:
        await _end(
            session,
            account_id,
            EndReason.CANCELLED,
            now,
            Plan.source_reference == facts.provider_id,
        )


async def _ensure_plan(
    session: AsyncSession,
    account_id: int,
    facts: InvoiceFacts,
    offer: OfferView,
    now: datetime,
) -> None:
    """One plan for an invoice, whoever comes first. The account is locked."""
    plans = list((await session.exec(select(Plan).where(Plan.account_id == account_id))).all())
    if any(plan.source_reference == facts.provider_id for plan in plans):
        return
    executions = offer.executions
    if facts.billing_reason == CHANGE:
        executions = await _replace(session, plans, facts, offer, now)
    session.add(
        Plan(
            account_id=account_id,
            sequence=max((plan.sequence for plan in plans), default=0) + 1,
            type=PlanType.PAID,
            name=offer.name,
            source=PlanSource.SUBSCRIPTION if offer.is_subscription else PlanSource.PACK,
            source_reference=facts.provider_id,
            priority=QUEUE_PRIORITY if offer.is_subscription else PACK_PRIORITY,
            offer_version_id=offer.version_id,
            executions=executions,
            starts_at=facts.period_start if offer.is_subscription and facts.period_start else now,
            ends_at=facts.period_end if offer.is_subscription else None,
            created_at=now,
        )
    )
    await session.flush()


async def _replace(
    session: AsyncSession,
    plans: list[Plan],
    facts: InvoiceFacts,
    offer: OfferView,
    now: datetime,
) -> int:
    """End the plan that the change replaces; returns the executions of the new one.

    What was used since the quote was credited as unused, and counts against the new plan.
    """
    old = next(
        (
            plan
            for plan in sorted(plans, key=lambda plan: -plan.sequence)
            if plan.source == PlanSource.SUBSCRIPTION and plan.ended_at is None
        ),
        None,
    )
    if old is None:
        return offer.executions
    locked = await session.get(
        Plan, (old.account_id, old.sequence), with_for_update=True, populate_existing=True
    )
    assert locked is not None
    unused = locked.executions - locked.used - locked.held
    quoted = await quoted_unused(session, locked.account_id, locked.sequence)
    locked.ended_at = now
    locked.ended_because = EndReason.REPLACED
    session.add(locked)
    return executions_after_change(
        offer, quoted_unused=unused if quoted is None else quoted, unused=unused
    )


async def _suspend(
    session: AsyncSession, account_id: int, reference: str, at: datetime | None
) -> None:
    statement = (
        update(Plan)
        .where(col(Plan.account_id) == account_id)
        .where(col(Plan.source_reference) == reference)
        .where(col(Plan.suspended_at).is_distinct_from(at))
        .values(suspended_at=at)
    )
    await session.exec(statement)


async def _end_plans_of(
    session: AsyncSession, account_id: int, facts: SubscriptionFacts, now: datetime
) -> None:
    """A subscription that ended before its period was over takes its plan along."""
    references = (
        select(Invoice.provider_id)
        .where(Invoice.account_id == account_id)
        .where(Invoice.subscription_provider_id == facts.provider_id)
    )
    await _end(
        session,
        account_id,
        EndReason.CANCELLED,
        facts.ended_at or now,
        col(Plan.source_reference).in_(references),
        col(Plan.ends_at) > (facts.ended_at or now),
    )


async def _end(
    session: AsyncSession, account_id: int, because: EndReason, at: datetime, *where: Any
) -> None:
    statement = (
        update(Plan)
        .where(col(Plan.account_id) == account_id)
        .where(col(Plan.ended_at).is_(None))
        .values(ended_at=at, ended_because=because)
    )
    for condition in where:
        statement = statement.where(condition)
    await session.exec(statement)


async def apply_checkout(session: AsyncSession, facts: CheckoutFacts) -> None:
    """Mirror a checkout's status."""
    account = await lock_account_of(session, facts.customer_id)
    if account is None:
        return
    query = (
        select(Checkout)
        .where(Checkout.account_id == account.id)
        .where(Checkout.provider_id == facts.provider_id)
    )
    row = (await session.exec(query)).first()
    if row is not None:
        row.status = CheckoutStatus(facts.status)
        session.add(row)


async def version_of_price(session: AsyncSession, price_id: str) -> int | None:
    query = select(OfferPrice.offer_version_id).where(OfferPrice.price_id == price_id)
    return (await session.exec(query)).first()
