"""Subscriptions: preview, change, cancel, resume; they begin in purchases.py.

No transaction is open during a call to the provider. Its effect is applied at once from a newly
fetched snapshot; webhooks and reconciliation apply the same snapshot again without harm.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.subscriptions import next_periods
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.checkouts import (
    CheckoutView,
    last_checkout,
    open_checkout,
    trial_days_of,
)
from billing_app.billing.subscriptions.customers import (
    ensure_customer,
)
from billing_app.billing.subscriptions.errors import (
    SameOfferError,
    SubscriptionEndedError,
)
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.proration import (
    MAYBE_STALE,
    ChangePreview,
    preview_later,
    preview_now,
    prices_of,
    prorate,
    proration_json,
    reload,
    require_other_offer,
)
from billing_app.billing.subscriptions.provider import (
    ENDED,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
)
from billing_app.billing.subscriptions.provider_request_recovery import (
    RequestTarget,
)
from billing_app.billing.subscriptions.provider_requests import (
    Operation,
    prices_json,
)
from billing_app.billing.subscriptions.purchases import Purchases
from billing_app.billing.subscriptions.views import (
    SUBSCRIPTION,
    SubscriptionView,
    subscription_view,
)
from billing_app.db.enums import When
from billing_app.db.tables import ProviderCustomer, Subscription

# More parameters of a request that changes a subscription, from its current row.
DecideChange = Callable[[AsyncSession, Subscription], Awaitable[dict[str, Any]]]


class SubscriptionNotFoundError(NotFoundError):
    code = "subscription_not_found"
    title = "Subscription not found"


class Subscriptions(Purchases):
    async def read(self, actor: Actor, account_id: str) -> SubscriptionView | None:
        """The live subscription of an account, or None. Reads only the database."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id, reading=True)
            row = await live_subscription(session, account.id)
            return await subscription_view(session, row) if row else None

    async def preview(
        self,
        actor: Actor,
        subscription_id: str,
        *,
        offer_code: str,
        now: datetime,
        when: When = When.NOW,
    ) -> ChangePreview:
        """What `change` would charge, and when.

        Raises SubscriptionNotFoundError, SameOfferError, ChangeLosesValueError, …
        """
        managed = await self._managed(actor, subscription_id)
        customer_id = await self._customer_id(managed)
        await self.provider_requests.resolve(managed.account_id, customer_id, now)
        try:
            return await self._preview(managed, offer_code, when, now)
        except MAYBE_STALE:
            await self.syncing.customer(customer_id, now)
        return await self._preview(managed, offer_code, when, now)

    async def _preview(
        self, managed: Subscription, offer_code: str, when: When, now: datetime
    ) -> ChangePreview:
        async with self._database.reading() as session:
            row = await reload(session, managed)
            new = await next_periods.offer_to_change_to(session, row, offer_code, when, now)
            if when is When.PERIOD_END:
                return await preview_later(session, row, new, now)
            proration = await prorate(session, row, new, now)
        price = await ensure_price(self._database, self._provider, new, now)
        found = await preview_now(self._provider, row, new, proration, price, now)
        return next_periods.require_charge(row, found)

    async def change(
        self,
        actor: Actor,
        subscription_id: str,
        *,
        offer_code: str,
        when: When,
        now: datetime,
        agreed: ChangePreview | None = None,
    ) -> SubscriptionView:
        """Change now (charged at once, a new period begins) or when the period ends.

        Its own offer begins the next period, once nothing is left of this one, or ends the trial.

        `agreed` is the preview that somebody agreed to: its amount is charged, whatever was used
        since, or QuoteOutdatedError is raised.
        """
        managed = await self._managed(actor, subscription_id)
        async with self._database.reading() as session:
            row = await reload(session, managed)
            new = await next_periods.offer_to_change_to(session, row, offer_code, when, now)
        is_now = when is When.NOW
        operation = Operation.CHANGE_NOW if is_now else Operation.CHANGE_AT_PERIOD_END
        wanted = RequestTarget(operation, f"{managed.provider_id} {new.version_id}")
        price = await ensure_price(self._database, self._provider, new, now)
        if is_now:
            parts = self._database, self._provider, now
            await next_periods.require_charge_of((row, new, price), agreed, *parts)

        async def decide(session: AsyncSession, row: Subscription) -> dict[str, Any]:
            if is_now:
                return proration_json(price, await prorate(session, row, new, now, agreed=agreed))
            require_other_offer(await offer_version(session, row.offer_version_id), new)
            prices = prices_json(price, await prices_of(session, row))
            return prices | {"interval": str(new.interval)}

        try:
            return await self._request(managed, wanted, decide, now)
        except SameOfferError:
            if managed.offer_version_id == new.version_id:
                raise
        # An equal request was carried out since this one began.
        return await self._view_of(managed)

    async def cancel(
        self, actor: Actor, subscription_id: str, *, when: When, now: datetime
    ) -> SubscriptionView:
        """End it when the period ends, or at once; its unused executions are lost then."""
        is_now = when is When.NOW
        operation = Operation.CANCEL_NOW if is_now else Operation.CANCEL_AT_PERIOD_END
        return await self._set(actor, subscription_id, operation, now)

    async def resume(
        self, actor: Actor, subscription_id: str, *, now: datetime
    ) -> SubscriptionView:
        """Withdraw a cancellation or change that is scheduled for the end of the period."""
        return await self._set(actor, subscription_id, Operation.RESUME, now)

    async def portal_url(
        self, actor: Actor, account_id: str, *, return_url: str, now: datetime
    ) -> str:
        """The provider's portal for cards and invoices, for the account's own customer."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
        customer_id = await ensure_customer(self._database, self._provider, account, now)
        try:
            return await self._provider.portal_url(customer_id=customer_id, return_url=return_url)
        except NotAtProviderError:
            customer_id = await self._replace_customer(account, customer_id, now)
        return await self._provider.portal_url(customer_id=customer_id, return_url=return_url)

    async def last_checkout(self, actor: Actor, account_id: str) -> CheckoutView | None:
        """The account's newest checkout and its result. Reads only the database."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id, reading=True)
            return await last_checkout(session, account.id)

    async def trial_days(self, actor: Actor, account_id: str, offer: OfferView) -> int:
        """Days of trial that the account would get with an offer; 0: it is charged at once."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id, reading=True)
            return await trial_days_of(session, account.id, offer)

    async def sync_checkout(self, actor: Actor, account_id: str, *, now: datetime) -> None:
        """Fetch the result of an open checkout and apply it: people may return from it before its
        event arrives."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
            row = await open_checkout(session, account.id)
        if row is not None and row.provider_id is not None:
            await self.syncing.checkout(row.provider_id, now)

    async def _set(
        self, actor: Actor, subscription_id: str, operation: Operation, now: datetime
    ) -> SubscriptionView:
        async def nothing_more(_: AsyncSession, __: Subscription) -> dict[str, Any]:
            return {}

        managed = await self._managed(actor, subscription_id)
        wanted = RequestTarget(operation, managed.provider_id)
        return await self._request(managed, wanted, nothing_more, now)

    async def _request(
        self, managed: Subscription, wanted: RequestTarget, decide: DecideChange, now: datetime
    ) -> SubscriptionView:
        """Ask the provider, unless an earlier request for the same thing has been carried out."""

        async def parameters(session: AsyncSession) -> dict[str, Any]:
            row = await reload(session, managed)
            return {"subscription_id": row.provider_id} | await decide(session, row)

        account_id, customer_id = managed.account_id, await self._customer_id(managed)
        if not await self.provider_requests.resolve(account_id, customer_id, now, wanted=wanted):
            if wanted.operation in (Operation.CHANGE_NOW, Operation.CHANGE_AT_PERIOD_END):
                await self._checkouts.settle(account_id, customer_id, now)
            if wanted.operation is Operation.CANCEL_NOW:
                # Its last invoice bills what the meter knows.
                await self.reports.account(account_id, now)
            await self.provider_requests.carry_out(account_id, customer_id, wanted, parameters, now)
        return await self._view_of(managed)

    async def _managed(self, actor: Actor, subscription_id: str) -> Subscription:
        pair = ids.decode(SUBSCRIPTION, subscription_id)
        if pair is None:
            raise SubscriptionNotFoundError
        async with self._database.reading() as session:
            row = await session.get(Subscription, pair)
            if row is None:
                raise SubscriptionNotFoundError
            try:
                await authorize_managing(session, actor, ids.encode_account(row.account_id))
            except NotFoundError:
                raise SubscriptionNotFoundError from None
        if row.status in ENDED:
            raise SubscriptionEndedError
        return row

    async def _customer_id(self, row: Subscription) -> str:
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, row.account_id)
        assert customer is not None
        return customer.customer_id

    async def _view_of(self, row: Subscription) -> SubscriptionView:
        async with self._database.reading() as session:
            kept = await session.get(Subscription, (row.account_id, row.number))
            assert kept is not None
            return await subscription_view(session, kept)
