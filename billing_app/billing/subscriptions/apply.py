"""Applies a snapshot of a customer at the provider to our rows, idempotently and completely."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import String, literal_column
from sqlmodel import SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.changes import telling
from billing_app.billing.accounts.billing_details import keep_business_name
from billing_app.billing.offers.catalogue import offer_versions
from billing_app.billing.overage.bills import keep_bills
from billing_app.billing.plans.locking import lock_plans
from billing_app.billing.plans.trial_uses import take
from billing_app.billing.subscriptions.bank_debits import bank_stamps, decision_entry
from billing_app.billing.subscriptions.failed_invoices import tell_failed
from billing_app.billing.subscriptions.invoice_purposes import InvoicePurposes, invoice_purposes
from billing_app.billing.subscriptions.plan_sync import PlanSync
from billing_app.billing.subscriptions.provider import (
    ENDED,
    ProviderCheckout,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.billing.subscriptions.sold_lines import sold_item
from billing_app.db.enums import CheckoutStatus, SubscriptionStatus, TrialUseKind
from billing_app.db.tables import (
    Account,
    Checkout,
    Invoice,
    OfferPrice,
    ProviderCustomer,
    Subscription,
)

OVERDUE = frozenset({SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID})

log = structlog.get_logger(__name__)


async def customer_version(session: AsyncSession, customer_id: str) -> str | None:
    """Changes each time a snapshot of the customer is applied; None: not a customer of ours."""
    query = select(literal_column("xmin::text", String))
    query = query.where(col(ProviderCustomer.customer_id) == customer_id)
    return (await session.exec(query)).first()


async def apply_customer(
    session: AsyncSession,
    snapshot: ProviderSnapshot,
    *,
    version: str,
    grace_days: int,
    bridge_hours: int,
    one_trial: bool,
    now: datetime,
) -> str | None:
    """Mirror subscriptions and invoices, and sync plans with them; returns the customer's version
    from now on.

    None, and nothing is changed, when another snapshot was applied since `version` was read: this
    one may be older.
    """
    # The catalogue is read before the lock: decisions about executions wait for that.
    versions = await versions_of_prices(session, snapshot)
    offers = await offer_versions(session, versions.values())
    purposes = await invoice_purposes(session, versions)
    account = await lock_account_of(session, snapshot.customer_id)
    if account is None or await customer_version(session, snapshot.customer_id) != version:
        return None
    changed = await _change_version(session, snapshot.customer_id)
    async with telling(session, account.id, now):
        await _subscriptions(session, account.id, snapshot, versions, now, one_trial=one_trial)
        await _invoices(session, account.id, snapshot, purposes, now)
        plans = await lock_plans(session, account.id)
        refused = await _refused_trials(session, account.id)
        plan_sync = PlanSync(session, account.id, plans, versions, offers, now, refused)
        trusted = await trusted_invoices(session, account.id)
        await plan_sync.apply(snapshot, grace_days=grace_days, trusted=trusted)
        live = await live_in(session, account.id, snapshot)
        await plan_sync.bridges.keep(snapshot, live, versions, hours=bridge_hours)
        await keep_bills(session, account.id, snapshot.invoices, plan_sync.plans)
        await _complete_checkout(session, account.id)
    await tell_failed(session, account.id, snapshot.invoices, now)
    return changed


async def lock_account_of(session: AsyncSession, customer_id: str) -> Account | None:
    """The account of a customer, locked until the transaction ends; None: not ours."""
    query = (
        select(Account)
        .join(ProviderCustomer, col(ProviderCustomer.account_id) == Account.id)
        .where(ProviderCustomer.customer_id == customer_id)
        .with_for_update(of=Account)
    )
    return (await session.exec(query)).first()


async def live_subscription(session: AsyncSession, account_id: int) -> Subscription | None:
    query = (
        select(Subscription)
        .where(Subscription.account_id == account_id)
        .where(col(Subscription.status).not_in(ENDED))
        .where(col(Subscription.is_duplicate).is_(False))
    )
    return (await session.exec(query)).first()


async def live_in(
    session: AsyncSession, account_id: int, snapshot: ProviderSnapshot
) -> ProviderSubscription | None:
    """The account's live subscription as the provider describes it; not a refused trial."""
    row = await live_subscription(session, account_id)
    is_refused = row and row.trial_refused_at and row.status == SubscriptionStatus.TRIALING
    ours = row.provider_id if row and not is_refused else None
    return next((each for each in snapshot.subscriptions if each.provider_id == ours), None)


async def _refused_trials(session: AsyncSession, account_id: int) -> set[str]:
    query = select(Subscription.provider_id).where(Subscription.account_id == account_id)
    refused = query.where(col(Subscription.trial_refused_at).is_not(None))
    return set((await session.exec(refused)).all())


async def _keeps_trial(
    session: AsyncSession, account_id: int, theirs: ProviderSubscription, now: datetime
) -> bool:
    """Whether a trial may be given: its card has had none on another account."""
    if theirs.status is not SubscriptionStatus.TRIALING or not theirs.trial_card:
        return True
    return await take(session, TrialUseKind.CARD, theirs.trial_card, account_id, now)


async def _complete_checkout(session: AsyncSession, account_id: int) -> None:
    """The subscription that a paid checkout sold is live: the checkout blocks nothing any more,
    even when it cannot be read itself."""
    live = await live_subscription(session, account_id)
    if live is not None:
        statement = (
            update(Checkout)
            .where(col(Checkout.account_id) == account_id)
            .where(col(Checkout.status) == CheckoutStatus.CONFIRMING)
            .where(col(Checkout.offer_version_id) == live.offer_version_id)
            .where(col(Checkout.created_at) <= live.created_at)
            .values(status=CheckoutStatus.COMPLETE)
        )
        await session.exec(statement)


async def apply_checkout(
    session: AsyncSession, theirs: ProviderCheckout, *, customer: ProviderSnapshot | None
) -> None:
    """Mirror a checkout's status. A complete one keeps blocking other purchases until what it
    bought is here, or is in `customer`, which has been applied."""
    account = await lock_account_of(session, theirs.customer_id)
    if account is None:
        return
    query = (
        select(Checkout)
        .where(Checkout.account_id == account.id)
        .where(Checkout.provider_id == theirs.provider_id)
    )
    row = (await session.exec(query)).first()
    if row is None or row.status == CheckoutStatus.COMPLETE:
        return
    if theirs.business_name:
        await keep_business_name(session, account.id, theirs.business_name)
    status = status_of(theirs)
    if status is CheckoutStatus.CONFIRMING and (
        await _is_here(session, account.id, theirs) or (customer and _has_bought(customer, theirs))
    ):
        status = CheckoutStatus.COMPLETE
    row.status = status
    session.add(row)


def status_of(theirs: ProviderCheckout) -> CheckoutStatus:
    """Of a checkout whose effect has not been applied here."""
    status = CheckoutStatus(theirs.status)
    return CheckoutStatus.CONFIRMING if status is CheckoutStatus.COMPLETE else status


def _has_bought(customer: ProviderSnapshot, theirs: ProviderCheckout) -> bool:
    """The receipt of a pack may come a moment after its payment
    (docs.stripe.com/payments/checkout/receipts)."""
    if theirs.is_subscription:
        held = {each.provider_id for each in customer.subscriptions}
        return theirs.subscription_id in held
    billed = {each.provider_id for each in customer.invoices}
    return not theirs.is_paid or theirs.invoice_id in billed


async def _is_here(session: AsyncSession, account_id: int, theirs: ProviderCheckout) -> bool:
    """What the checkout bought came with an earlier snapshot of the customer."""
    if theirs.is_subscription:
        found = select(Subscription.number).where(
            Subscription.account_id == account_id,
            Subscription.provider_id == theirs.subscription_id,
        )
    else:
        found = select(Invoice.provider_id).where(
            Invoice.account_id == account_id, Invoice.provider_id == theirs.invoice_id
        )
    return (await session.exec(found)).first() is not None


async def versions_of_prices(session: AsyncSession, snapshot: ProviderSnapshot) -> dict[str, int]:
    """The offer versions of all prices in the snapshot; prices that are not ours are left out."""
    named = {line.price_id for invoice in snapshot.invoices for line in invoice.lines}
    for subscription in snapshot.subscriptions:
        named |= {item.price_id for item in subscription.items}
        named |= set(subscription.next_price_ids)
    query = select(OfferPrice.price_id, OfferPrice.offer_version_id)
    query = query.where(col(OfferPrice.price_id).in_([name for name in named if name]))
    return dict((await session.exec(query)).all())


async def _change_version(session: AsyncSession, customer_id: str) -> str:
    statement = (
        update(ProviderCustomer)
        .where(col(ProviderCustomer.customer_id) == customer_id)
        .values(customer_id=customer_id)
        .returning(literal_column("xmin::text", String))
    )
    return (await (await session.connection()).execute(statement)).scalar_one()


async def _subscriptions(
    session: AsyncSession,
    account_id: int,
    snapshot: ProviderSnapshot,
    versions: dict[str, int],
    now: datetime,
    *,
    one_trial: bool,
) -> None:
    query = select(Subscription).where(Subscription.account_id == account_id)
    rows = {row.provider_id: row for row in (await session.exec(query)).all()}
    number = max([int(now.timestamp() * 1_000_000), *(row.number + 1 for row in rows.values())])
    ours = [
        each
        for each in snapshot.subscriptions
        if each.provider_id in rows or sold_item(each, versions) is not None
    ]
    live_id = _kept_live(ours, rows)
    if live_id is not None:
        await _end_unknown(session, snapshot, rows, now)
    # An account has one live subscription: ended ones first, then those that become duplicates.
    for theirs in sorted(
        ours, key=lambda each: (each.status not in ENDED, each.provider_id == live_id)
    ):
        row = rows.get(theirs.provider_id)
        values = subscription_values(theirs, versions, row)
        if values is None:
            continue
        is_duplicate = theirs.status not in ENDED and theirs.provider_id != live_id
        if is_duplicate:
            log.error("second_subscription", provider_id=theirs.provider_id, first=live_id)
        if row is None:
            row = Subscription(account_id=account_id, number=number, created_at=now)  # pyright: ignore[reportCallIssue]
            number += 1
            keeps_trial = await _keeps_trial(session, account_id, theirs, now)
            row.trial_refused_at = now if one_trial and not keeps_trial else None
        overdue_since = (row.past_due_since or now) if theirs.status in OVERDUE else None
        also = {"past_due_since": overdue_since, "is_duplicate": is_duplicate}
        _change(session, row, values | also, now)
        await session.flush()


async def _end_unknown(
    session: AsyncSession, snapshot: ProviderSnapshot, rows: dict[str, Subscription], now: datetime
) -> None:
    """End a live one that the provider no longer knows, in favour of the one that is live there."""
    their_ids = {each.provider_id for each in snapshot.subscriptions}
    for row in rows.values():
        if row.provider_id not in their_ids and row.status not in ENDED:
            log.error("subscription_gone", provider_id=row.provider_id)
            ended = {"status": str(SubscriptionStatus.CANCELED), "ended_at": now}
            _change(session, row, ended, now)
    await session.flush()


def _kept_live(ours: list[ProviderSubscription], rows: dict[str, Subscription]) -> str | None:
    """The one that is already live here, else the oldest: an account has one."""
    live = [each.provider_id for each in ours if each.status not in ENDED]
    known = [
        each
        for each in live
        if each in rows and rows[each].status not in ENDED and not rows[each].is_duplicate
    ]
    return next(iter([*known, *live]), None)


def subscription_values(
    theirs: ProviderSubscription, versions: Mapping[str, int], row: Subscription | None
) -> dict[str, Any] | None:
    """What we keep of a subscription. One that we have keeps its offer when its price is no longer
    ours; None: it never was, or nothing is billed."""
    sold = sold_item(theirs, versions)
    item = sold or next(iter(theirs.items), None)
    version_id = versions[sold.price_id] if sold else row.offer_version_id if row else None
    if item is None or version_id is None:
        return None
    cancel_at = theirs.cancel_at if theirs.status not in ENDED else None
    following = next((versions[each] for each in theirs.next_price_ids if each in versions), None)
    return {
        "provider_id": theirs.provider_id,
        "status": str(theirs.status),
        "offer_version_id": version_id,
        "next_offer_version_id": following if following != version_id else None,
        "quantity": item.quantity,
        "period_start": item.period_start,
        "period_end": item.period_end,
        "cancel_at_period_end": cancel_at is not None,
        "cancel_at": cancel_at,
        "is_collecting": theirs.is_collecting,
        "ended_at": theirs.ended_at,
    }


async def _invoices(
    session: AsyncSession,
    account_id: int,
    snapshot: ProviderSnapshot,
    purposes: InvoicePurposes,
    now: datetime,
) -> None:
    query = select(Invoice).where(Invoice.account_id == account_id)
    rows = {row.provider_id: row for row in (await session.exec(query)).all()}
    for invoice in snapshot.invoices:
        row = rows.get(invoice.provider_id)
        if row is None:
            row = Invoice(account_id=account_id, provider_id=invoice.provider_id)  # pyright: ignore[reportCallIssue]
        values = invoice_values(invoice) | {"what_for": purposes.of(invoice)}
        stamps = bank_stamps(row, invoice, now)
        _change(session, row, values | stamps, now)
        entry = decision_entry(row, now) if stamps else None
        if entry is not None:
            session.add(entry)
    await session.flush()


async def trusted_invoices(session: AsyncSession, account_id: int) -> frozenset[str]:
    """The ids of those that staff trust."""
    query = select(Invoice.provider_id).where(Invoice.account_id == account_id)
    return frozenset((await session.exec(query.where(col(Invoice.trusted_at).is_not(None)))).all())


def invoice_values(invoice: ProviderInvoice) -> dict[str, Any]:
    return {
        "subscription_provider_id": invoice.subscription_id,
        "number": invoice.number,
        "status": str(invoice.status),
        "billing_reason": invoice.billing_reason,
        "currency": invoice.currency,
        "amount_due_minor": invoice.amount_due_minor,
        "amount_paid_minor": invoice.amount_paid_minor,
        "refunded_minor": invoice.refunded_minor,
        "page_url": invoice.page_url,
        "pdf_url": invoice.pdf_url,
        "due_at": invoice.due_at,
        "issued_at": invoice.issued_at,
    }


def _change(session: AsyncSession, row: SQLModel, values: dict[str, Any], now: datetime) -> None:
    """Write a row only when a value changes."""
    changed = {name for name, value in values.items() if getattr(row, name, None) != value}
    if changed or getattr(row, "synced_at", None) is None:
        for name in changed:
            setattr(row, name, values[name])
        setattr(row, "synced_at", now)  # noqa: B010 - every mirrored row has it
        session.add(row)
