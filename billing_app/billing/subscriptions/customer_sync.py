"""Brings our rows in line with the provider, one customer at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import apply
from billing_app.billing.subscriptions.bank_debits import asked_invoices, packs_to_void
from billing_app.billing.subscriptions.bridges import next_periods
from billing_app.billing.subscriptions.ended_invoices import to_void, used_invoices
from billing_app.billing.subscriptions.installation import may_write
from billing_app.billing.subscriptions.plan_sync import plans_of, plans_of_customer
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderSnapshot,
    ProviderSubscription,
)
from billing_app.db.engine import Database
from billing_app.db.enums import SubscriptionStatus

ATTEMPTS: Final = 2
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

        A snapshot that was overtaken while it was fetched is fetched again, so that an old one
        never overwrites a newer one. After two, the second that overtook it was itself fetched
        after this call began: what it knows is applied. Open invoices of subscriptions that have
        ended, and of packs whose debit failed, are voided.
        """
        snapshot = await self._fetch(customer_id, now)
        if snapshot is not None and await self._void_given_up(snapshot):
            return await self._fetch(customer_id, now)
        return snapshot

    async def _void_given_up(self, snapshot: ProviderSnapshot) -> bool:
        """Void open invoices that nothing is given for; what fails is tried again by
        reconciliation.

        They are known here first: nothing is lost if it stops in between. One that is paid at
        this moment stays paid.
        """
        async with self._database.reading() as session:
            versions = await apply.versions_of_prices(session, snapshot)
            plans = await plans_of_customer(session, snapshot.customer_id)
            asked = await asked_invoices(session, snapshot.customer_id)
        open_ones = to_void(snapshot, versions, used_invoices(plans))
        open_ones += packs_to_void(snapshot, asked)
        if not open_ones or not await may_write(self._provider, "void_invoices"):
            return False
        try:
            for invoice in open_ones:
                await self._provider.void_invoice(invoice.provider_id)
        except BillingError as error:
            log.warning("invoice_not_voided", customer_id=snapshot.customer_id, code=error.code)
            return False
        return True

    async def _fetch(self, customer_id: str, now: datetime) -> ProviderSnapshot | None:
        snapshot: ProviderSnapshot | None = None
        for _ in range(ATTEMPTS):
            async with self._database.reading() as session:
                version = await apply.customer_version(session, customer_id)
            if version is None:
                return None
            snapshot = await self._provider.customer_snapshot(customer_id)
            async with self._database.transaction() as session:
                if await apply.apply_customer(
                    session,
                    snapshot,
                    version=version,
                    grace_days=self.grace_days,
                    bridge_hours=self.bridge_hours,
                    one_trial=self.one_trial,
                    now=now,
                ):
                    break
        has_trial = snapshot is not None and any(map(_is_trial, snapshot.subscriptions))
        if has_trial and self.cancel_refused and await self.cancel_refused(customer_id, now):
            return await self._provider.customer_snapshot(customer_id)
        return snapshot

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
        snapshot = await self.customer(theirs.customer_id, now)
        async with self._database.transaction() as session:
            await apply.apply_checkout(session, theirs, customer=snapshot)
        return theirs.status

    async def charge(self, charge_id: str, now: datetime) -> str:
        """Fetch everything the customer of a charge has, and apply it; returns the customer."""
        customer_id = await self._provider.customer_of_charge(charge_id)
        await self.customer(customer_id, now)
        return customer_id


def _is_trial(theirs: ProviderSubscription) -> bool:
    return theirs.status is SubscriptionStatus.TRIALING and theirs.trial_card != ""
