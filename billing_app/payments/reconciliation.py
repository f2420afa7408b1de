"""Compares our rows with the payment provider and heals what is safe: what webhooks missed.

Missed events are stored first, so that none is lost if this run is interrupted. Then each of our
customers is compared: subscriptions, invoices and the plans they pay for. Then come checkouts that
are still open here, provider requests without a known result, and customers at the provider that
carry our metadata but are unknown here.
"""

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.customers import keep_customer
from billing_app.billing.subscriptions.provider import (
    NotAtProviderError,
    PaymentProvider,
    PaymentProviderUnavailableError,
    ProviderEvent,
)
from billing_app.billing.subscriptions.service import Subscriptions
from billing_app.db.engine import Database
from billing_app.db.enums import CheckoutStatus, ProviderRequestState
from billing_app.db.tables import (
    Account,
    Checkout,
    ProviderCustomer,
    ProviderRequest,
    Reconciliation,
    WebhookEvent,
)
from billing_app.payments import replay_protection, webhooks
from billing_app.payments.comparison import NOTHING, Difference, compare

log = structlog.get_logger(__name__)

BLOCK_ROWS: Final = 200
KEPT_EVENTS: Final = timedelta(days=30)
OVERLAP: Final = timedelta(minutes=10)
KEPT_DIFFERENCES: Final = 1_000


async def reconcile(
    database: Database,
    provider: PaymentProvider,
    subscriptions: Subscriptions,
    *,
    now: datetime,
    dry_run: bool,
) -> list[Difference]:
    """All differences, healed where that is safe unless `dry_run`. Raises what the provider
    raises."""
    run = _Run(database, provider, subscriptions, now, dry_run)
    missed = await run.events()
    await run.customers()
    await run.checkouts()
    await run.intents()
    await run.unknown_customers()
    if not dry_run:
        await webhooks.process_missed(database, subscriptions.syncing, missed, now)
    await run.remember()
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

    async def events(self) -> list[ProviderEvent]:
        """Store the events that never came; oldest first."""
        since = await self._events_from()
        events = sorted(await self._provider.events_since(since), key=lambda each: each.occurred_at)
        known = await self._known_events([event.id for event in events])
        missed = [event for event in events if event.id not in known]
        for event in missed:
            if not self._dry_run:
                await replay_protection.store_event(self._database, event, self._now)
            if event.type in webhooks.REFETCH:
                self._note("", "event", event.id, event.type, NOTHING, healed=not self._dry_run)
        return missed

    async def customers(self) -> None:
        after = 0
        while customers := await _customers(self._database, after):
            for customer in customers:
                await self._customer_or_note(customer)
            after = customers[-1].account_id

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

    async def intents(self) -> None:
        """Those that can no longer be on their way are settled."""
        async with self._database.reading() as session:
            rows = [
                row
                for row in await provider_requests.all_pending(session)
                if not provider_requests.may_still_arrive(row, self._now)
            ]
            customers = {
                row.account_id: await session.get(ProviderCustomer, row.account_id) for row in rows
            }
        for row in rows:
            await self._intent(row, customers[row.account_id])

    async def unknown_customers(self) -> None:
        """A customer that carries our mark and is not known here was made just before a crash."""
        for found in await self._provider.our_customers():
            number = ids.decode_account(found.account_id)
            async with self._database.reading() as session:
                account = await session.get(Account, number) if number is not None else None
                known = await session.get(ProviderCustomer, number) if account else None
            if known is not None and known.customer_id == found.customer_id:
                continue
            safe = account is not None and known is None and not self._dry_run
            if safe and account is not None:
                await keep_customer(self._database, account.id, found.customer_id, self._now)
                await self._subscriptions.syncing.customer(found.customer_id, self._now)
            ours = known.customer_id if known else NOTHING
            theirs = found.customer_id
            self._note(found.account_id, "customer", theirs, theirs, ours, healed=safe)

    async def remember(self) -> None:
        healed = sum(difference.healed for difference in self.differences)
        async with self._database.transaction() as session:
            await session.merge(
                Reconciliation(
                    began_at=self._now,
                    finished_at=self._now,
                    dry_run=self._dry_run,
                    differences=len(self.differences),
                    healed=healed,
                    found=[asdict(each) for each in self.differences[:KEPT_DIFFERENCES]],
                )
            )

    async def _events_from(self) -> datetime:
        query = (
            select(Reconciliation.began_at)
            .where(col(Reconciliation.dry_run).is_(False))
            .order_by(col(Reconciliation.began_at).desc())
        )
        async with self._database.reading() as session:
            last = (await session.exec(query.limit(1))).first()
        earliest = self._now - KEPT_EVENTS
        return max(earliest, last - OVERLAP) if last else earliest

    async def _known_events(self, event_ids: list[str]) -> set[str]:
        async with self._database.reading() as session:
            query = select(WebhookEvent.id).where(col(WebhookEvent.id).in_(event_ids))
            return set((await session.exec(query)).all())

    async def _customer_or_note(self, customer: ProviderCustomer) -> None:
        """What is wrong with one customer keeps nobody from comparing the others."""
        try:
            await self._customer(customer)
        except PaymentProviderUnavailableError:
            raise
        except Exception as error:
            log.exception("reconciliation_failed", customer_id=customer.customer_id)
            problem = error.code if isinstance(error, BillingError) else type(error).__name__
            account_id = ids.encode_account(customer.account_id)
            customer_id = customer.customer_id
            self._note(account_id, "customer", customer_id, problem, customer_id, healed=False)

    async def _customer(self, customer: ProviderCustomer) -> None:
        try:
            snapshot = await self._provider.customer_snapshot(customer.customer_id)
        except NotAtProviderError:
            account_id = ids.encode_account(customer.account_id)
            customer_id = customer.customer_id
            self._note(account_id, "customer", customer_id, NOTHING, customer_id, healed=False)
            return
        grace_days = self._subscriptions.syncing.grace_days
        found = await compare(self._database, customer.account_id, snapshot, grace_days=grace_days)
        if found and not self._dry_run:
            snapshot = await self._subscriptions.syncing.customer(customer.customer_id, self._now)
            assert snapshot is not None
            still = await compare(
                self._database, customer.account_id, snapshot, grace_days=grace_days
            )
            left = {(each.what, each.provider_id) for each in still}
            found = [
                replace(each, healed=(each.what, each.provider_id) not in left) for each in found
            ]
        self.differences.extend(found)

    async def _checkout(self, row: Checkout) -> None:
        assert row.provider_id is not None
        try:
            snapshot = await self._provider.checkout(row.provider_id)
        except NotAtProviderError:
            return
        if snapshot.status == row.status:
            return
        if not self._dry_run:
            await self._subscriptions.syncing.checkout(row.provider_id, self._now)
        account_id = ids.encode_account(row.account_id)
        said, had = snapshot.status, row.status
        self._note(account_id, "checkout", row.provider_id, said, had, healed=not self._dry_run)

    async def _intent(self, row: ProviderRequest, customer: ProviderCustomer | None) -> None:
        state = ProviderRequestState.PENDING
        if customer is not None and not self._dry_run:
            provider_requests = self._subscriptions.provider_requests
            state = await provider_requests.settle_again(row, customer.customer_id, self._now)
        account_id = ids.encode_account(row.account_id)
        healed = state is not ProviderRequestState.PENDING
        said = str(state) if healed else "not looked up"
        self._note(account_id, "intent", row.key, said, str(row.state), healed=healed)

    def _note(
        self, account_id: str, what: str, provider_id: str, theirs: str, ours: str, *, healed: bool
    ) -> None:
        self.differences.append(Difference(account_id, what, provider_id, theirs, ours, healed))


async def _customers(database: Database, after: int) -> list[ProviderCustomer]:
    query = (
        select(ProviderCustomer)
        .where(ProviderCustomer.account_id > after)
        .order_by(col(ProviderCustomer.account_id))
        .limit(BLOCK_ROWS)
    )
    async with database.reading() as session:
        return list((await session.exec(query)).all())
