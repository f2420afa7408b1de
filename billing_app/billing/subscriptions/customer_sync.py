"""Brings our rows in line with the provider, one customer at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import apply, mirror_store
from billing_app.billing.subscriptions.bank_debits import asked_invoices, packs_to_void
from billing_app.billing.subscriptions.bridges import next_periods
from billing_app.billing.subscriptions.customer_reads import read_changed, read_whole
from billing_app.billing.subscriptions.ended_invoices import to_void, used_invoices
from billing_app.billing.subscriptions.installation import may_write
from billing_app.billing.subscriptions.mirror import (
    CustomerRead,
    Mirror,
    ProviderChange,
    merged,
)
from billing_app.billing.subscriptions.mirror_store import CustomerState
from billing_app.billing.subscriptions.plan_sync import plans_of, plans_of_customer
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderInvoice,
    ProviderSnapshot,
)
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.db.engine import Database
from billing_app.db.enums import SubscriptionStatus

# The last one reads everything, which fits whatever was read meanwhile.
ATTEMPTS: Final = 3
ANYTHING: Final = ProviderChange()
CancelRefused = Callable[[str, datetime], Awaitable[bool]]
"""Cancels the trials of a customer that are not given; whether there were any."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class CustomerSync:
    _database: Database
    _provider: PaymentProvider
    grace_days: int
    bridge_hours: int
    one_trial: bool = True
    cancel_refused: CancelRefused | None = field(default=None, init=False)

    async def customer(self, customer_id: str, now: datetime) -> ProviderSnapshot | None:
        """Fetch everything a customer has and apply it; None when the customer is not ours.

        A read that another one overtook is repeated, so that an old one never overwrites a newer
        one. Open invoices of subscriptions that have ended, and of packs whose debit failed, are
        voided.
        """
        return await self._synced(customer_id, None, now)

    async def changed(
        self,
        customer_id: str,
        change: ProviderChange,
        now: datetime,
        *,
        arrival_number: int | None = None,
    ) -> ProviderSnapshot | None:
        """Fetch what an event is about and what may still change, and apply it; everything, when
        that is not known. Nothing is fetched that was read since the event arrived."""
        return await self._synced(customer_id, change, now, arrival_number)

    async def payment(
        self, payment_id: str, charge_id: str, now: datetime, *, arrival_number: int | None = None
    ) -> str:
        """Fetch what was returned of a payment, and apply it; returns the customer. `payment_id`
        "": only the charge is known."""
        customer_id = ""
        if payment_id:
            async with self._database.reading() as session:
                customer_id = await mirror_store.customer_of_payment(session, payment_id)
        if not customer_id:
            charged = await self._provider.payment_of_charge(charge_id)
            customer_id, payment_id = charged.customer_id, charged.payment_id
        change = ProviderChange(payment_id=payment_id)
        await self.changed(customer_id, change, now, arrival_number=arrival_number)
        return customer_id

    async def is_bridged(self, account_id: int, snapshot: ProviderSnapshot, now: datetime) -> bool:
        """Whether the next period of the customer's subscription can be used when it begins."""
        async with self._database.reading() as session:
            versions = await apply.versions_of_prices(session, snapshot)
            live = await apply.live_in(session, account_id, snapshot)
            plans = await plans_of(session, account_id)
        if live is None:
            return True
        periods = next_periods(live, versions, hours=self.bridge_hours, now=now)
        return {each.reference for each in periods} <= {each.source_reference for each in plans}

    async def checkout(self, provider_id: str, now: datetime) -> str:
        """Fetch a checkout and its customer, and apply both; returns its status at the provider.

        What was paid is noted before what it bought is fetched: when that fails, the checkout
        still blocks other purchases.
        """
        theirs = await self._provider.checkout(provider_id)
        async with self._database.transaction() as session:
            await apply.apply_checkout(session, theirs, customer=None)
        snapshot = await self.changed(theirs.customer_id, ANYTHING, now)
        async with self._database.transaction() as session:
            await apply.apply_checkout(session, theirs, customer=snapshot)
        return theirs.status

    async def _given_up(self, snapshot: ProviderSnapshot) -> list[ProviderInvoice]:
        """Open invoices that nothing is given for."""
        async with self._database.reading() as session:
            versions = await apply.versions_of_prices(session, snapshot)
            plans = await plans_of_customer(session, snapshot.customer_id)
            asked = await asked_invoices(session, snapshot.customer_id)
        open_ones = to_void(snapshot, versions, used_invoices(plans))
        return open_ones + packs_to_void(snapshot, asked)

    async def _void(self, invoices: list[ProviderInvoice]) -> bool:
        """Whether they were voided; what fails is tried again by reconciliation.

        They are known here first: nothing is lost if it stops in between. One that is paid at
        this moment stays paid.
        """
        if not invoices or not await may_write(self._provider, "void_invoices"):
            return False
        try:
            for invoice in invoices:
                await self._provider.void_invoice(invoice.provider_id)
        except BillingError as error:
            customer_id = invoices[0].customer_id
            log.warning("invoice_not_voided", customer_id=customer_id, code=error.code)
            return False
        return True

    async def _synced(
        self,
        customer_id: str,
        change: ProviderChange | None,
        now: datetime,
        arrival_number: int | None = None,
    ) -> ProviderSnapshot | None:
        """Fetch, apply, and act on what was seen; returns what is there afterwards. Whoever read
        what is not read again here has acted on it."""
        fetched = await self._fetch(customer_id, change, now, arrival_number)
        if fetched is None or fetched.read is None:
            return fetched.snapshot if fetched else None
        snapshot = fetched.snapshot
        given_up, has_trial = await self._given_up(snapshot), _has_trial(snapshot)
        if (given_up or has_trial) and not fetched.read.is_current:
            # The provider is never told to do something because of what was true before.
            return await self._synced(customer_id, ANYTHING, now)
        if has_trial and self.cancel_refused and await self.cancel_refused(customer_id, now):
            snapshot = await self._provider.customer_snapshot(customer_id)
            given_up = await self._given_up(snapshot)
        if await self._void(given_up):
            fetched = await self._fetch(customer_id, ANYTHING, now)
            return fetched.snapshot if fetched else None
        return snapshot

    async def _fetch(
        self,
        customer_id: str,
        change: ProviderChange | None,
        now: datetime,
        arrival_number: int | None = None,
    ) -> "_Fetched | None":
        """`change`: None for everything. None: not a customer of ours."""
        for attempt in range(ATTEMPTS):
            number, state = await self._begin(customer_id)
            if state is None:
                return None
            mirror = state.mirror
            if change is None or mirror is None or attempt == ATTEMPTS - 1:
                read = await read_whole(self._provider, customer_id, number)
            elif arrival_number is not None and mirror.covers(change, arrival_number):
                return _Fetched(mirror.snapshot, None)
            else:
                read = await read_changed(self._provider, mirror, change, number)
            applied = await (self._apply_merged if attempt else self._apply)(state, read, now)
            if applied is not None:
                return _Fetched(applied.snapshot, read)
        raise PaymentProviderUnavailableError("The account is being synchronized. Try again.")

    async def _begin(self, customer_id: str) -> tuple[int, CustomerState | None]:
        async with self._database.transaction() as session:
            number = await mirror_store.next_number(session)
            return number, await mirror_store.load(session, customer_id)

    async def _apply(
        self, state: CustomerState, read: CustomerRead, now: datetime
    ) -> Mirror | None:
        """None: another read was applied since this one began."""
        async with self._database.transaction() as session:
            return await self._apply_to(session, state, read, now)

    async def _apply_merged(
        self, before: CustomerState, read: CustomerRead, now: datetime
    ) -> Mirror | None:
        """Of what was read twice meanwhile, the read holds that began later. The lock comes first:
        however many synchronize the customer at once, each is applied."""
        async with self._database.transaction() as session:
            await apply.lock_account_of(session, read.customer_id)
            state = await mirror_store.load(session, read.customer_id)
            if state is None:
                return None
            if state.mirror is None and state.version != before.version:
                # A process of an earlier release overtook this one twice: what it applied was
                # fetched after this call began.
                return merged(None, read)
            return await self._apply_to(session, state, read, now)

    async def _apply_to(
        self, session: AsyncSession, state: CustomerState, read: CustomerRead, now: datetime
    ) -> Mirror | None:
        mirror = merged(state.mirror, read)
        if mirror is None:
            return None
        version = await apply.apply_customer(
            session,
            mirror.snapshot,
            version=state.version,
            grace_days=self.grace_days,
            bridge_hours=self.bridge_hours,
            one_trial=self.one_trial,
            now=now,
        )
        if version is None:
            return None
        await mirror_store.keep(session, state, version, mirror)
        return mirror


@dataclass(frozen=True, slots=True)
class _Fetched:
    """`read`: what was read for it; None: nothing."""

    snapshot: ProviderSnapshot
    read: CustomerRead | None


def _has_trial(snapshot: ProviderSnapshot) -> bool:
    """Whether there is one that may have to be cancelled."""
    return any(
        each.status is SubscriptionStatus.TRIALING and each.trial_card != ""
        for each in snapshot.subscriptions
    )
