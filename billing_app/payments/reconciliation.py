"""Compares our rows with the payment provider and repairs what webhooks missed, where it is safe.

Missed events are stored first, so that none is lost if the run is interrupted. Then each of our
customers is compared: subscriptions, invoices and the plans they pay for. Then follow checkouts
that are still open here, provider requests without a known result, overage that was not taken, and
customers at the provider that have our metadata but are unknown here.

A database that may not write to the provider is brought in line as well; its requests wait.
"""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import details_of
from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import list_offers
from billing_app.billing.overage.stuck import stuck_overage
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.checkouts import OPEN
from billing_app.billing.subscriptions.customer_details import send_details
from billing_app.billing.subscriptions.customers import keep_customer
from billing_app.billing.subscriptions.installation import ProviderNotAdoptedError, own_marks
from billing_app.billing.subscriptions.offer_prices import known_price
from billing_app.billing.subscriptions.provider import (
    OurCustomer,
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
NO_EMAIL: Final = "no email"
OVERAGE_STUCK: Final = timedelta(hours=2)


async def reconcile(
    database: Database,
    provider: PaymentProvider,
    subscriptions: Subscriptions,
    *,
    now: datetime,
    dry_run: bool,
) -> list[Difference]:
    """All differences, repaired where that is safe unless `dry_run`. Raises what the provider
    raises, and ProviderNotAdoptedError on another account."""
    run = _Run(database, provider, subscriptions, now, dry_run)
    is_adopted = await run.installation()
    missed = await run.events()
    await run.offers(is_adopted=is_adopted)
    await run.customers()
    await run.checkouts()
    if is_adopted:
        await run.provider_requests()
    await run.overage()
    await run.our_customers(is_adopted=is_adopted)
    if not dry_run:
        await webhooks.process_missed(database, subscriptions.syncing, missed, now)
    await run.remember()
    return run.differences


@dataclass(slots=True)
class _Run:
    database: Database
    provider: PaymentProvider
    subscriptions: Subscriptions
    now: datetime
    dry_run: bool
    differences: list[Difference] = field(default_factory=list[Difference])

    async def installation(self) -> bool:
        """Whether this database may write to the provider."""
        try:
            await self.provider.require_writable()
        except ProviderNotAdoptedError as error:
            if error.is_other_account:
                raise
            self._note("", "installation", "", "not adopted", error.advice, healed=False)
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
                self._note("", "event", event.id, event.type, NOTHING, healed=not self.dry_run)
        return missed

    async def offers(self, *, is_adopted: bool) -> None:
        """Put what we sell, and somebody archived at the provider, on sale there again."""
        for offer in await list_offers(self.database):
            price = await known_price(self.database, offer)
            if price is not None:
                await self._offer(offer.code, price, dry_run=self.dry_run or not is_adopted)

    async def customers(self) -> None:
        after = 0
        while customers := await _customers(self.database, after):
            for customer in customers:
                await self._customer_or_note(customer)
            after = customers[-1].account_id

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
            self._note(account_id, "intent", row.key, theirs, ours, healed=False)

    async def overage(self) -> None:
        """Reports and settlements that the provider has not taken for hours; the log says why."""
        for account_id, key in await stuck_overage(self.database, self.now - OVERAGE_STUCK):
            self._note(account_id, "overage", key, NOTHING, ReportState.PENDING, healed=False)

    async def our_customers(self, *, is_adopted: bool) -> None:
        """A customer with our metadata that is unknown here was created just before a crash; a
        known one should have the account's details. Those of other installations on the same
        account are left alone."""
        async with self.database.reading() as session:
            marks = await own_marks(session)
        for theirs in await self.provider.our_customers():
            if theirs.mark not in marks:
                continue
            number = ids.decode_account(theirs.account_id)
            async with self.database.reading() as session:
                account = await session.get(Account, number) if number is not None else None
                known = await session.get(ProviderCustomer, number) if account else None
            if known is not None and known.customer_id == theirs.customer_id:
                assert account is not None
                await self._details(account, theirs, may_heal=is_adopted and not self.dry_run)
                continue
            safe = account is not None and known is None and not self.dry_run
            if safe and account is not None:
                await keep_customer(self.database, account.id, theirs.customer_id, self.now)
                await self.subscriptions.syncing.customer(theirs.customer_id, self.now)
            ours = known.customer_id if known else NOTHING
            customer_id = theirs.customer_id
            self._note(theirs.account_id, "customer", customer_id, customer_id, ours, healed=safe)

    async def _details(self, account: Account, theirs: OurCustomer, *, may_heal: bool) -> None:
        """The name and e-mail address of a customer."""
        async with self.database.reading() as session:
            ours = await details_of(session, account)
            has_checked_out = await _has_checked_out(session, account.id)
        if (theirs.name, theirs.email) == (ours.name, ours.email):
            return
        healed = False
        try:
            if may_heal:
                await send_details(self.database, self.provider, account.id)
                healed = True
        except PaymentProviderUnavailableError:
            raise
        except BillingError as error:
            log.warning("details_not_sent", customer_id=theirs.customer_id, code=error.code)
        # A checkout replaces the name by that on the card: no difference that staff must see.
        if (healed or self.dry_run) and has_checked_out and theirs.email == ours.email:
            return
        there, here = (f"{each.name}, {each.email or NO_EMAIL}" for each in (theirs, ours))
        self._note(theirs.account_id, "details", theirs.customer_id, there, here, healed=healed)

    async def remember(self) -> None:
        healed = sum(difference.healed for difference in self.differences)
        async with self.database.transaction() as session:
            await session.merge(
                Reconciliation(
                    began_at=self.now,
                    finished_at=self.now,
                    dry_run=self.dry_run,
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
        async with self.database.reading() as session:
            last = (await session.exec(query.limit(1))).first()
        earliest = self.now - KEPT_EVENTS
        return max(earliest, last - OVERLAP) if last else earliest

    async def _known_events(self, event_ids: list[str]) -> set[str]:
        async with self.database.reading() as session:
            query = select(WebhookEvent.id).where(col(WebhookEvent.id).in_(event_ids))
            return set((await session.exec(query)).all())

    async def _offer(self, code: str, price: ProviderPrice, *, dry_run: bool) -> None:
        try:
            archived = await self.provider.activate(price, dry_run=dry_run)
        except (NotAtProviderError, PaymentProviderFailedError) as error:
            self._note("", "offer", price.price_id, error.code, f"{code} is sold", healed=False)
            return
        for identifier in archived:
            ours = f"{code} is sold"
            self._note("", "offer", identifier, "archived", ours, healed=not dry_run)

    async def _customer_or_note(self, customer: ProviderCustomer) -> None:
        """A failure of one customer does not stop the comparison of the others."""
        try:
            await self._customer(customer)
        except PaymentProviderUnavailableError:
            raise
        except Exception as error:
            log.exception("reconciliation_failed", customer_id=customer.customer_id)
            self._note_customer(customer, _name_of(error))

    async def _customer(self, customer: ProviderCustomer) -> None:
        try:
            snapshot = await self.provider.customer_snapshot(customer.customer_id)
        except NotAtProviderError:
            self._note_customer(customer, NOTHING)
            return
        syncing = self.subscriptions.syncing
        grace_days = syncing.grace_days
        differences = await compare(
            self.database, customer.account_id, snapshot, grace_days=grace_days
        )
        is_bridged = await syncing.is_bridged(customer.account_id, snapshot, self.now)
        if not self.dry_run and (differences or not is_bridged):
            snapshot = await syncing.customer(customer.customer_id, self.now)
            assert snapshot is not None
            still = await compare(
                self.database, customer.account_id, snapshot, grace_days=grace_days
            )
            left = {(each.what, each.provider_id) for each in still}
            differences = [
                replace(each, healed=(each.what, each.provider_id) not in left)
                for each in differences
            ]
        self.differences.extend(differences)

    async def _checkout_or_note(self, row: Checkout) -> None:
        try:
            await self._checkout(row)
        except PaymentProviderUnavailableError:
            raise
        except Exception as error:
            log.exception("reconciliation_failed", checkout=row.provider_id)
            account_id, problem = ids.encode_account(row.account_id), _name_of(error)
            self._note(
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
        self._note(account_id, "checkout", row.provider_id, theirs, row.status, healed=healed)

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
        self._note(account_id, "intent", row.key, theirs, str(row.state), healed=healed)

    def _note_customer(self, customer: ProviderCustomer, theirs: str) -> None:
        account_id, ours = ids.encode_account(customer.account_id), customer.customer_id
        self._note(account_id, "customer", ours, theirs, ours, healed=False)

    def _note(
        self, account_id: str, what: str, provider_id: str, theirs: str, ours: str, *, healed: bool
    ) -> None:
        self.differences.append(Difference(account_id, what, provider_id, theirs, ours, healed))


def _name_of(error: Exception) -> str:
    return error.code if isinstance(error, BillingError) else type(error).__name__


async def _has_checked_out(session: AsyncSession, account_id: int) -> bool:
    """Whether a checkout was opened; a dry run does not learn what came of it."""
    query = select(Checkout.number).where(
        Checkout.account_id == account_id, col(Checkout.provider_id).is_not(None)
    )
    return (await session.exec(query.limit(1))).first() is not None


async def _customers(database: Database, after: int) -> list[ProviderCustomer]:
    query = (
        select(ProviderCustomer)
        .where(ProviderCustomer.account_id > after)
        .order_by(col(ProviderCustomer.account_id))
        .limit(BLOCK_ROWS)
    )
    async with database.reading() as session:
        return list((await session.exec(query)).all())
