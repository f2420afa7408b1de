"""Compares our rows with the payment provider and repairs what webhooks missed, where it is safe.

Missed events are stored first, so that none is lost if the run is interrupted. Then each of our
customers is compared: subscriptions, invoices and the plans they pay for. Then follow checkouts
that are still open here, provider requests without a known result, overage that was not taken, and
customers at the provider that have our metadata but are unknown here. Both walks through customers
can be parted into several runs (reconcile_walks.py).

A database that may not write to the provider is brought in line as well; its requests wait.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.offers.catalogue import list_offers
from billing_app.billing.overage.stuck import stuck_overage
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.checkouts import OPEN
from billing_app.billing.subscriptions.installation import ProviderNotAdoptedError
from billing_app.billing.subscriptions.offer_prices import known_price
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderEvent,
    ProviderPrice,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.service import Subscriptions
from billing_app.db.engine import Database
from billing_app.db.enums import ProviderRequestState, ReportState
from billing_app.db.tables import (
    Checkout,
    ProviderCustomer,
    ProviderRequest,
    Reconciliation,
    WebhookEvent,
)
from billing_app.payments import replay_protection, webhooks
from billing_app.payments.comparison import NOTHING, Difference, Notes, name_of
from billing_app.payments.rate_budget import Priority, at_priority
from billing_app.payments.reconcile_walks import (
    WHOLE,
    Budget,
    Extent,
    Walk,
    WalkKind,
    begin_walk,
    whole_since,
)
from billing_app.payments.reconciled_customers import ReconciledCustomers

log = structlog.get_logger(__name__)

KEPT_EVENTS: Final = timedelta(days=30)
OVERLAP: Final = timedelta(minutes=10)
BLOCK_EVENTS: Final = 10_000
KEPT_DIFFERENCES: Final = 1_000
# The kinds of differences that are found by walks.
OF_CUSTOMERS: Final = frozenset({"subscription", "invoice", "customer", "details"})
OVERAGE_STUCK: Final = timedelta(hours=2)


async def reconcile(
    database: Database,
    provider: PaymentProvider,
    subscriptions: Subscriptions,
    *,
    now: datetime,
    dry_run: bool,
    extent: Extent = WHOLE,
) -> list[Difference]:
    """All differences found, repaired where that is safe unless `dry_run`, which always walks
    everything. Raises what the provider raises, and ProviderNotAdoptedError on another account."""
    run = _Run(database, provider, subscriptions, now, dry_run, WHOLE if dry_run else extent)
    with at_priority(Priority.RECONCILE):
        await run.compare_all()
    return run.notes.differences


@dataclass(slots=True)
class _Run:
    database: Database
    provider: PaymentProvider
    subscriptions: Subscriptions
    now: datetime
    dry_run: bool
    extent: Extent
    notes: Notes = field(default_factory=Notes)
    comparing: ReconciledCustomers = field(init=False)
    budget: Budget = field(init=False)
    is_whole: bool = True

    def __post_init__(self) -> None:
        self.budget = Budget(self.extent)
        self.comparing = ReconciledCustomers(
            self.database,
            self.provider,
            self.subscriptions,
            now=self.now,
            dry_run=self.dry_run,
            notes=self.notes,
        )

    async def compare_all(self) -> None:
        is_adopted = await self.installation()
        missed = await self.events()
        await self.offers(is_adopted=is_adopted)
        await self.customers()
        await self.checkouts()
        if is_adopted:
            await self.provider_requests()
        await self.overage()
        await self.customers_at_provider(is_adopted=is_adopted)
        if not self.dry_run:
            syncing = self.subscriptions.syncing
            await webhooks.process_missed(self.database, syncing, missed, self.now)
        await self.remember()

    async def installation(self) -> bool:
        """Whether this database may write to the provider."""
        try:
            await self.provider.require_writable()
        except ProviderNotAdoptedError as error:
            if error.is_other_account:
                raise
            self.notes.note("", "installation", "", "not adopted", error.advice, healed=False)
            return False
        return True

    async def events(self) -> list[ProviderEvent]:
        """Store the events that never arrived, oldest first."""
        since = await self._events_from()
        events = sorted(await self.provider.events_since(since), key=lambda each: each.occurred_at)
        known = await self._known_events([event.id for event in events])
        missed = [event for event in events if event.id not in known]
        for event in missed:
            if not self.dry_run:
                await replay_protection.store_event(self.database, event, self.now)
            if event.type in webhooks.REFETCH:
                self.notes.note("", "event", event.id, event.type, NOTHING, healed=not self.dry_run)
        return missed

    async def offers(self, *, is_adopted: bool) -> None:
        """Put what we sell, and somebody archived at the provider, on sale there again."""
        for offer in await list_offers(self.database):
            price = await known_price(self.database, offer)
            if price is not None:
                await self._offer(offer.code, price, dry_run=self.dry_run or not is_adopted)

    async def customers(self) -> None:
        async with self._walk(WalkKind.CUSTOMERS, of=2) as walk:
            await self.comparing.ours(walk)

    async def customers_at_provider(self, *, is_adopted: bool) -> None:
        async with self._walk(WalkKind.AT_PROVIDER, of=1) as walk:
            await self.comparing.at_provider(walk, is_adopted=is_adopted)

    @asynccontextmanager
    async def _walk(self, kind: WalkKind, *, of: int) -> AsyncGenerator[Walk]:
        """Its position is kept however it ends. `of`: how many walks are still to come."""
        walk = await begin_walk(
            self.database,
            kind,
            self.now,
            resumes=self.extent.resumes,
            is_kept=not self.dry_run,
            stops_at=self.budget.share(of),
        )
        self.is_whole = self.is_whole and walk.position == ""
        try:
            yield walk
        finally:
            await walk.keep()
        self.is_whole = self.is_whole and walk.is_finished

    async def checkouts(self) -> None:
        query = (
            select(Checkout)
            .where(col(Checkout.status).in_(OPEN))
            .where(col(Checkout.provider_id).is_not(None))
        )
        async with self.database.reading() as session:
            rows = list((await session.exec(query)).all())
        for row in rows:
            await self._checkout_or_note(row)

    async def provider_requests(self) -> None:
        """Resolve those that can no longer reach the provider."""
        async with self.database.reading() as session:
            rows = [
                row
                for row in await provider_requests.pending(session)
                if not provider_requests.may_still_arrive(row, self.now)
            ]
            customers = {
                row.account_id: await session.get(ProviderCustomer, row.account_id) for row in rows
            }
        for row in rows:
            await self._provider_request(row, customers[row.account_id])
        async with self.database.reading() as session:
            lost = await provider_requests.not_put_back(session, self.now - KEPT_EVENTS)
        for row in lost:
            account_id, theirs = ids.encode_account(row.account_id), NOTHING
            ours = f"what {row.operation} replaced, see the audit log"
            self.notes.note(account_id, "intent", row.key, theirs, ours, healed=False)

    async def overage(self) -> None:
        """Reports and settlements that the provider has not taken for hours; the log says why."""
        for account_id, key in await stuck_overage(self.database, self.now - OVERAGE_STUCK):
            self.notes.note(account_id, "overage", key, NOTHING, ReportState.PENDING, healed=False)

    async def remember(self) -> None:
        found = [*self.notes.differences, *await self._still_open()]
        async with self.database.transaction() as session:
            await session.merge(
                Reconciliation(
                    began_at=self.now,
                    finished_at=self.now,
                    dry_run=self.dry_run,
                    differences=len(found),
                    healed=sum(difference.healed for difference in found),
                    found=[asdict(each) for each in found[:KEPT_DIFFERENCES]],
                    whole_since=await whole_since(self.database),
                )
            )

    async def _still_open(self) -> list[Difference]:
        """What the run before this one left open of customers that this one has not compared."""
        if self.is_whole:
            return []
        query = select(Reconciliation).where(col(Reconciliation.dry_run).is_(False))
        query = query.order_by(col(Reconciliation.began_at).desc()).limit(1)
        async with self.database.reading() as session:
            last = (await session.exec(query)).first()
        before = [Difference(**each) for each in last.found] if last else []
        return [
            each
            for each in before
            if not each.healed
            and each.what in OF_CUSTOMERS
            and each.account_id not in self.comparing.walked
        ]

    async def _events_from(self) -> datetime:
        query = (
            select(Reconciliation.began_at)
            .where(col(Reconciliation.dry_run).is_(False))
            .order_by(col(Reconciliation.began_at).desc())
        )
        async with self.database.reading() as session:
            last = (await session.exec(query.limit(1))).first()
        earliest = self.now - KEPT_EVENTS
        return max(earliest, last - OVERLAP) if last else earliest

    async def _known_events(self, event_ids: list[str]) -> set[str]:
        """In blocks: PostgreSQL takes at most 65,535 parameters, and a month may have more."""
        known: set[str] = set()
        async with self.database.reading() as session:
            for start in range(0, len(event_ids), BLOCK_EVENTS):
                block = event_ids[start : start + BLOCK_EVENTS]
                query = select(WebhookEvent.id).where(col(WebhookEvent.id).in_(block))
                known.update((await session.exec(query)).all())
        return known

    async def _offer(self, code: str, price: ProviderPrice, *, dry_run: bool) -> None:
        try:
            archived = await self.provider.activate(price, dry_run=dry_run)
        except (NotAtProviderError, PaymentProviderFailedError) as error:
            self.notes.note(
                "", "offer", price.price_id, error.code, f"{code} is sold", healed=False
            )
            return
        for identifier in archived:
            ours = f"{code} is sold"
            self.notes.note("", "offer", identifier, "archived", ours, healed=not dry_run)

    async def _checkout_or_note(self, row: Checkout) -> None:
        try:
            await self._checkout(row)
        except PaymentProviderUnavailableError:
            raise
        except Exception as error:
            log.exception("reconciliation_failed", checkout=row.provider_id)
            account_id, problem = ids.encode_account(row.account_id), name_of(error)
            self.notes.note(
                account_id, "checkout", str(row.provider_id), problem, row.status, healed=False
            )

    async def _checkout(self, row: Checkout) -> None:
        assert row.provider_id is not None
        try:
            snapshot = await self.provider.checkout(row.provider_id)
        except NotAtProviderError:
            return
        if snapshot.status == row.status:
            return
        if not self.dry_run:
            await self.subscriptions.syncing.checkout(row.provider_id, self.now)
        account_id, theirs = ids.encode_account(row.account_id), snapshot.status
        healed = not self.dry_run
        self.notes.note(account_id, "checkout", row.provider_id, theirs, row.status, healed=healed)

    async def _provider_request(
        self, row: ProviderRequest, customer: ProviderCustomer | None
    ) -> None:
        state, is_looked_up = ProviderRequestState.PENDING, False
        if customer is not None and not self.dry_run:
            is_looked_up = True
            requests = self.subscriptions.provider_requests
            state = await requests.resolve_interrupted(row, customer.customer_id, self.now)
        account_id = ids.encode_account(row.account_id)
        healed = state is not ProviderRequestState.PENDING
        waits = "waits for the customer or for Stripe" if is_looked_up else "not looked up"
        theirs = str(state) if healed else waits
        self.notes.note(account_id, "intent", row.key, theirs, str(row.state), healed=healed)
