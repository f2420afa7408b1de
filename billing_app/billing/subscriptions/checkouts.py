"""The account's one open checkout: a page of the provider to pay on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.subscriptions.apply import live_subscription, status_of
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.errors import SubscriptionExistsError
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderCheckout,
)
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderFailedError,
)
from billing_app.billing.subscriptions.provider_requests import (
    ProviderRequestPendingError,
    pending,
)
from billing_app.db.engine import Database
from billing_app.db.enums import CheckoutStatus, PlanSource
from billing_app.db.tables import Account, Checkout, Plan, Subscription

OPEN: Final = (CheckoutStatus.CREATING, CheckoutStatus.OPEN, CheckoutStatus.CONFIRMING)
CONFIRMING: Final = (
    "A checkout has been paid and is being confirmed. It is applied as soon as the payment"
    " provider answers; nothing else can be bought until then."
)
JUST_PAID: Final = "The open checkout has just been paid. Ask again to buy the pack once more."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the person returns to after paying, or without paying."""

    success: str
    cancel: str


@dataclass(frozen=True, slots=True)
class CheckoutView:
    """`url`: where to pay while it is open. `is_paid`: the plan that it sells exists. One that is
    confirming blocks every purchase of the account. `is_trial_refused`: its trial was not given,
    because the card has had one."""

    offer: OfferView
    status: CheckoutStatus
    url: str | None
    created_at: datetime
    is_paid: bool
    is_trial_refused: bool = False


@dataclass(slots=True)
class Checkouts:
    _database: Database
    _provider: PaymentProvider
    _syncing: CustomerSync

    async def reuse_or_close(
        self, account_id: int, customer_id: str, *, keep_version_id: int | None, now: datetime
    ) -> str | None:
        """The address of the open checkout if it sells the version to keep; closes any other.

        Afterwards everything that the customer has at the provider is known here. Raises
        ProviderRequestPendingError when a checkout was paid that cannot be applied yet, or that
        sells the pack to keep.
        """
        async with self._database.reading() as session:
            row = await open_checkout(session, account_id)
        if row is None:
            await self._syncing.customer(customer_id, now)
            return None
        if row.provider_id is None:
            row = await self._create(row, customer_id, now)
        is_kept = row.offer_version_id == keep_version_id
        status = await self._sync(row, now)
        if status is CheckoutStatus.OPEN and not is_kept:
            assert row.provider_id is not None
            await self._provider.expire_checkout(row.provider_id)
            status = await self._sync(row, now)
        if status is CheckoutStatus.COMPLETE and is_kept and await self._is_pack(row):
            raise ProviderRequestPendingError(JUST_PAID)
        return row.url if status is CheckoutStatus.OPEN else None

    async def settle(self, account_id: int, customer_id: str, now: datetime) -> None:
        """Apply what the customer has at the provider, and what a checkout bought, before money is
        taken. Raises ProviderRequestPendingError when a checkout was paid that cannot be applied
        yet."""
        async with self._database.reading() as session:
            row = await open_checkout(session, account_id)
        if row is None or row.provider_id is None:
            await self._syncing.customer(customer_id, now)
        else:
            await self._sync(row, now)

    async def _sync(self, row: Checkout, now: datetime) -> CheckoutStatus:
        """The checkout's status, with what it bought applied."""
        assert row.provider_id is not None
        try:
            await self._syncing.checkout(row.provider_id, now)
        except Exception as error:
            if await self._status(row) is not CheckoutStatus.CONFIRMING:
                raise
            log.warning("checkout_not_applied", checkout=row.provider_id, exc_info=error)
        status = await self._status(row)
        if status is CheckoutStatus.CONFIRMING:
            raise ProviderRequestPendingError(CONFIRMING)
        return status

    async def _status(self, row: Checkout) -> CheckoutStatus:
        async with self._database.reading() as session:
            kept = await session.get(Checkout, (row.account_id, row.number))
        assert kept is not None
        return CheckoutStatus(kept.status)

    async def _is_pack(self, row: Checkout) -> bool:
        async with self._database.reading() as session:
            return not (await offer_version(session, row.offer_version_id)).is_subscription

    async def open(
        self, account_id: int, customer_id: str, offer: OfferView, urls: Urls, now: datetime
    ) -> str:
        """The address of a new checkout, or of one that was opened at the same moment."""
        row = await self._intend(account_id, offer, urls, now)
        if row.provider_id is None:
            row = await self._create(row, customer_id, now)
        if row.offer_version_id != offer.version_id:
            raise ProviderRequestPendingError("Another checkout was just opened. Try again.")
        return row.url or row.cancel_url

    async def _intend(
        self, account_id: int, offer: OfferView, urls: Urls, now: datetime
    ) -> Checkout:
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            if await pending(session, account_id):
                raise ProviderRequestPendingError
            if offer.is_subscription and await live_subscription(session, account_id):
                raise SubscriptionExistsError
            existing = await open_checkout(session, account_id)
            if existing is not None and existing.status == CheckoutStatus.CONFIRMING:
                raise ProviderRequestPendingError(CONFIRMING)
            if existing is not None:
                return existing
            row = Checkout(
                account_id=account_id,
                number=int(now.timestamp() * 1_000_000),
                status=CheckoutStatus.CREATING,
                offer_version_id=offer.version_id,
                success_url=urls.success,
                cancel_url=urls.cancel,
                created_at=now,
            )
            session.add(row)
        return row

    async def _create(self, row: Checkout, customer_id: str, now: datetime) -> Checkout:
        """Create it at the provider; repeated after an interruption, it is the same one."""
        async with self._database.reading() as session:
            offer = await offer_version(session, row.offer_version_id)
            trial_days = await trial_days_of(session, row.account_id, offer)
        try:
            price = await ensure_price(self._database, self._provider, offer, now)
            snapshot = await self._provider.create_checkout(
                customer_id=customer_id,
                prices=price,
                trial_days=trial_days,
                is_subscription=offer.is_subscription,
                success_url=row.success_url,
                cancel_url=row.cancel_url,
                key=f"checkout-{row.account_id:x}-{row.number:x}",
            )
        except PaymentProviderFailedError:
            await self._keep(row, None)
            raise
        return await self._keep(row, snapshot)

    async def _keep(self, row: Checkout, snapshot: ProviderCheckout | None) -> Checkout:
        """Record what the provider created; None: nothing, and another one may be opened."""
        async with self._database.transaction() as session:
            kept = await session.get(Checkout, (row.account_id, row.number), with_for_update=True)
            assert kept is not None
            if kept.status == CheckoutStatus.CREATING:
                kept.status = status_of(snapshot) if snapshot else CheckoutStatus.EXPIRED
                kept.provider_id = snapshot.provider_id if snapshot else None
                kept.url = snapshot.url if snapshot else None
                session.add(kept)
        return kept


async def trial_days_of(session: AsyncSession, account_id: int, offer: OfferView) -> int:
    """The offer's trial days if the account never had a subscription, nor began with the trial of
    an offer (accounts/starting_offers.py); else 0."""
    if not offer.trial_days:
        return 0
    subscribed = select(Subscription.number).where(Subscription.account_id == account_id)
    tried = select(Plan.sequence).where(
        Plan.account_id == account_id,
        Plan.source == PlanSource.TRIAL,
        col(Plan.offer_version_id).is_not(None),
    )
    for query in (subscribed, tried):
        if (await session.exec(query.limit(1))).first() is not None:
            return 0
    return offer.trial_days


async def open_checkout(session: AsyncSession, account_id: int) -> Checkout | None:
    query = (
        select(Checkout)
        .where(Checkout.account_id == account_id)
        .where(col(Checkout.status).in_(OPEN))
    )
    return (await session.exec(query)).first()


async def last_checkout(session: AsyncSession, account_id: int) -> CheckoutView | None:
    query = (
        select(Checkout)
        .where(Checkout.account_id == account_id)
        .order_by(col(Checkout.number).desc())
        .limit(1)
    )
    row = (await session.exec(query)).first()
    if row is None:
        return None
    bought = (
        select(Plan.sequence)
        .where(Plan.account_id == account_id)
        .where(Plan.offer_version_id == row.offer_version_id)
        .where(Plan.created_at >= row.created_at)
    )
    status = CheckoutStatus(row.status)
    refused = (
        select(Subscription.number)
        .where(Subscription.account_id == account_id)
        .where(Subscription.offer_version_id == row.offer_version_id)
        .where(col(Subscription.trial_refused_at) >= row.created_at)
    )
    return CheckoutView(
        offer=await offer_version(session, row.offer_version_id),
        status=status,
        url=row.url if status is CheckoutStatus.OPEN else None,
        created_at=row.created_at,
        is_paid=(await session.exec(bought)).first() is not None,
        is_trial_refused=(await session.exec(refused)).first() is not None,
    )
