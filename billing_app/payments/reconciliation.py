"""Compares our rows with the payment provider and heals what is safe: what webhooks missed.

For each customer of ours: its subscriptions, invoices and the plans that should follow them;
then checkouts that are still open here; then intents whose outcome is not known.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.subscriptions.apply import version_of_price
from billing_app.billing.subscriptions.provider import (
    InvoiceFacts,
    NotAtProviderError,
    PaymentProvider,
    SubscriptionFacts,
)
from billing_app.billing.subscriptions.service import Subscriptions
from billing_app.db.engine import Database
from billing_app.db.tables import Checkout, Invoice, Plan, ProviderCustomer, Subscription
from billing_app.db.words import CheckoutStatus, InvoiceStatus

BLOCK_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """What the provider says, and what we had. `healed` False: only told, in a dry run."""

    account_id: str
    what: str
    provider_id: str
    theirs: str
    ours: str
    healed: bool


async def reconcile(
    database: Database,
    provider: PaymentProvider,
    subscriptions: Subscriptions,
    *,
    now: datetime,
    dry_run: bool,
) -> list[Difference]:
    """All differences, healed unless `dry_run`. Raises what the provider raises."""
    run = _Run(database, provider, subscriptions, now, dry_run)
    after = 0
    while customers := await _customers(database, after):
        for customer in customers:
            await run.customer(customer)
        after = customers[-1].account_id
    await run.checkouts()
    return run.differences


class _Run:
    def __init__(
        self,
        database: Database,
        provider: PaymentProvider,
        subscriptions: Subscriptions,
        now: datetime,
        dry_run: bool,
    ) -> None:
        self._database = database
        self._provider = provider
        self._subscriptions = subscriptions
        self._now = now
        self._dry_run = dry_run
        self.differences: list[Difference] = []

    async def customer(self, customer: ProviderCustomer) -> None:
        account_id = ids.encode_account(customer.account_id)
        # Oldest first: a plan that replaces another needs that one to be there.
        for facts in reversed(await self._provider.subscriptions_of(customer.customer_id)):
            await self._subscription(account_id, customer.account_id, facts)
        for facts in reversed(await self._provider.invoices_of(customer.customer_id)):
            await self._invoice(account_id, customer.account_id, facts)

    async def checkouts(self) -> None:
        query = (
            select(Checkout)
            .where(col(Checkout.status).in_((CheckoutStatus.OPEN, CheckoutStatus.CREATING)))
            .where(col(Checkout.provider_id).is_not(None))
        )
        async with self._database.reading() as session:
            rows = list((await session.exec(query)).all())
        for row in rows:
            await self._checkout(row)

    async def _subscription(
        self, account_id: str, account_number: int, facts: SubscriptionFacts
    ) -> None:
        query = (
            select(Subscription)
            .where(Subscription.account_id == account_number)
            .where(Subscription.provider_id == facts.provider_id)
        )
        async with self._database.reading() as session:
            row = (await session.exec(query)).first()
            version_id = await version_of_price(session, facts.price_id)
        theirs = (
            f"{facts.status} offer version {version_id} until {facts.period_end.isoformat()}"
            f" cancels {facts.cancel_at_period_end}"
        )
        ours = (
            f"{row.status} offer version {row.offer_version_id} until {row.period_end.isoformat()}"
            f" cancels {row.cancel_at_period_end}"
            if row
            else "missing"
        )
        if version_id is None or theirs == ours:
            return
        self._note(account_id, "subscription", facts.provider_id, theirs, ours)
        if not self._dry_run:
            await self._subscriptions.absorb(facts, self._now)

    async def _invoice(self, account_id: str, account_number: int, facts: InvoiceFacts) -> None:
        query = select(Plan.sequence).where(
            Plan.account_id == account_number, Plan.source_reference == facts.provider_id
        )
        async with self._database.reading() as session:
            row = await session.get(Invoice, (account_number, facts.provider_id))
            has_plan = (await session.exec(query)).first() is not None
            version_id = await version_of_price(session, facts.price_id) if facts.price_id else None
        wants_plan = facts.status is InvoiceStatus.PAID and version_id is not None
        theirs = f"{facts.status} {facts.amount_paid_minor} plan {wants_plan or has_plan}"
        ours = f"{row.status} {row.amount_paid_minor} plan {has_plan}" if row else "missing"
        if theirs == ours:
            return
        self._note(account_id, "invoice", facts.provider_id, theirs, ours)
        if not self._dry_run:
            await self._subscriptions.absorb_invoice(facts, self._now)

    async def _checkout(self, row: Checkout) -> None:
        assert row.provider_id is not None
        try:
            facts = await self._provider.checkout(row.provider_id)
        except NotAtProviderError:
            return
        if facts.status == row.status:
            return
        account_id = ids.encode_account(row.account_id)
        self._note(account_id, "checkout", row.provider_id, facts.status, row.status)
        if not self._dry_run:
            await self._subscriptions.sync_checkout(row.provider_id, self._now)

    def _note(self, account_id: str, what: str, provider_id: str, theirs: str, ours: str) -> None:
        self.differences.append(
            Difference(account_id, what, provider_id, theirs, ours, healed=not self._dry_run)
        )


async def _customers(database: Database, after: int) -> list[ProviderCustomer]:
    query = (
        select(ProviderCustomer)
        .where(ProviderCustomer.account_id > after)
        .order_by(col(ProviderCustomer.account_id))
        .limit(BLOCK_ROWS)
    )
    async with database.reading() as session:
        return list((await session.exec(query)).all())
