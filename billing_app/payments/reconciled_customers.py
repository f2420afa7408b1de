"""Compares customers with the payment provider: each of ours, and each that the provider has."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import CustomerDetails, details_of
from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.customer_details import send_details
from billing_app.billing.subscriptions.customers import keep_customer
from billing_app.billing.subscriptions.installation import own_marks
from billing_app.billing.subscriptions.provider import (
    OurCustomer,
    OurCustomers,
    PaymentProvider,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.service import Subscriptions
from billing_app.db.engine import Database
from billing_app.db.tables import Account, Checkout, ProviderCustomer
from billing_app.payments.comparison import NOTHING, Notes, compare, name_of
from billing_app.payments.reconcile_walks import Walk

log = structlog.get_logger(__name__)

BLOCK_ROWS: Final = 200
NO_EMAIL: Final = "no email"


@dataclass(slots=True)
class ReconciledCustomers:
    """Of one run. `walked`: the accounts that it has compared."""

    database: Database
    provider: PaymentProvider
    subscriptions: Subscriptions
    now: datetime
    dry_run: bool
    notes: Notes
    walked: set[str] = field(default_factory=set[str])

    async def ours(self, walk: Walk) -> bool:
        """Compare each of our customers; False: the walk stopped before its end."""
        while customers := await _customers(self.database, int(walk.position or 0)):
            for customer in customers:
                if walk.must_stop:
                    await walk.keep()
                    return False
                await self._customer_or_note(customer)
                self.walked.add(ids.encode_account(customer.account_id))
                await walk.step(str(customer.account_id))
        await walk.finish()
        return True

    async def at_provider(self, walk: Walk, *, is_adopted: bool) -> bool:
        """A customer with our metadata that is unknown here was created just before a crash; a
        known one should have the account's details. Those of other installations on the same
        account are left alone. False: the walk stopped before its end."""
        async with self.database.reading() as session:
            marks = await own_marks(session)
        while not walk.must_stop:
            page = await self._page(walk)
            for theirs in page.customers:
                if theirs.mark in marks:
                    await self._at_provider(theirs, is_adopted=is_adopted)
                    self.walked.add(theirs.account_id)
            if not page.has_more or page.last is None:
                await walk.finish()
                return True
            await walk.step(page.last)
            await walk.keep()
        await walk.keep()
        return False

    async def _page(self, walk: Walk) -> OurCustomers:
        """The next one. When the last customer before it was deleted, the first one."""
        try:
            return await self.provider.our_customers(walk.position or None)
        except NotAtProviderError:
            if not walk.position:
                raise
            await walk.restart()
            return await self.provider.our_customers(None)

    async def _at_provider(self, theirs: OurCustomer, *, is_adopted: bool) -> None:
        number = ids.decode_account(theirs.account_id)
        async with self.database.reading() as session:
            account = await session.get(Account, number) if number is not None else None
            known = await session.get(ProviderCustomer, number) if account else None
        if known is not None and known.customer_id == theirs.customer_id:
            assert account is not None
            await self._details(account, theirs, may_heal=is_adopted and not self.dry_run)
            return
        safe = account is not None and known is None and not self.dry_run
        if safe and account is not None:
            await keep_customer(self.database, account.id, theirs.customer_id, self.now)
            await self.subscriptions.syncing.customer(theirs.customer_id, self.now)
        ours = known.customer_id if known else NOTHING
        customer_id = theirs.customer_id
        self.notes.note(theirs.account_id, "customer", customer_id, customer_id, ours, healed=safe)

    async def _details(self, account: Account, theirs: OurCustomer, *, may_heal: bool) -> None:
        """The name, e-mail address and purchase-order number of a customer."""
        async with self.database.reading() as session:
            ours = await details_of(session, account)
            has_checked_out = await _has_checked_out(session, account.id)
        order = ours.purchase_order
        has_order = order is None or order == theirs.purchase_order
        if has_order and (theirs.name, theirs.email) == (ours.name, ours.email):
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
        is_by_checkout = has_checked_out and has_order and theirs.email == ours.email
        if (healed or self.dry_run) and is_by_checkout:
            return
        there, here = (_told(each, with_order=not has_order) for each in (theirs, ours))
        self.notes.note(
            theirs.account_id, "details", theirs.customer_id, there, here, healed=healed
        )

    async def _customer_or_note(self, customer: ProviderCustomer) -> None:
        """A failure of one customer does not stop the comparison of the others."""
        try:
            await self._customer(customer)
        except PaymentProviderUnavailableError:
            raise
        except Exception as error:
            log.exception("reconciliation_failed", customer_id=customer.customer_id)
            self._note_customer(customer, name_of(error))

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
        self.notes.differences.extend(differences)

    def _note_customer(self, customer: ProviderCustomer, theirs: str) -> None:
        account_id, ours = ids.encode_account(customer.account_id), customer.customer_id
        self.notes.note(account_id, "customer", ours, theirs, ours, healed=False)


def _told(details: OurCustomer | CustomerDetails, *, with_order: bool) -> str:
    text = f"{details.name}, {details.email or NO_EMAIL}"
    order = details.purchase_order or "none"
    return f"{text}, purchase order {order}" if with_order else text


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
