"""Subscriptions begin, and packs are bought, at once or through a checkout. Nobody pays twice."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.offers.catalogue import OfferView, find_offer
from billing_app.billing.overage.reports import OverageReports
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.checkouts import (
    Checkouts,
    Urls,
    open_checkout,
    trial_days_of,
)
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.customers import (
    ensure_customer,
    replace_customer,
)
from billing_app.billing.subscriptions.errors import (
    CONFIRM_CODES,
    QuoteOutdatedError,
    SubscriptionExistsError,
)
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.packs import Packs
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderPaymentMethod,
    ProviderPrice,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_request_recovery import (
    ProviderRequests,
    RecordFailure,
    RequestTarget,
)
from billing_app.billing.subscriptions.provider_requests import (
    Operation,
    ProviderRequestPendingError,
)
from billing_app.billing.subscriptions.purchase_previews import (
    AgreedSubscription,
    require_agreed,
    require_agreed_charge,
)
from billing_app.billing.subscriptions.purchase_rules import require_buyable
from billing_app.billing.subscriptions.refused_trials import (
    CardTrialUsedError,
    RefusedTrials,
    newest_refused,
)
from billing_app.billing.subscriptions.views import (
    Begun,
    subscription_view,
)
from billing_app.db.engine import Database
from billing_app.db.tables import Account, ProviderCustomer


class Purchases:
    """What a new subscription or a checkout needs; the base of the service of subscriptions."""

    def __init__(
        self,
        database: Database,
        provider: PaymentProvider,
        *,
        grace_days: int,
        bridge_hours: int,
        record_failure: RecordFailure,
        one_trial: bool = True,
    ) -> None:
        self._database = database
        self._provider = provider
        self.syncing = CustomerSync(
            database,
            provider,
            grace_days=grace_days,
            bridge_hours=bridge_hours,
            one_trial=one_trial,
        )
        self.provider_requests = ProviderRequests(database, provider, self.syncing, record_failure)
        self._refused_trials = RefusedTrials(database, self.provider_requests)
        self.syncing.cancel_refused = self._refused_trials.cancel
        self._checkouts = Checkouts(database, provider, self.syncing)
        self.reports = OverageReports(database, provider)
        self.packs = Packs(database, provider, self.provider_requests)

    async def close_checkout(self, account_id: int, now: datetime) -> None:
        """Close the account's open checkout, if there is one, and apply what the customer has at
        the provider. Raises what the provider raises, ProviderRequestPendingError."""
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, account_id)
        if customer is not None:
            await self._checkouts.reuse_or_close(
                account_id, customer.customer_id, keep_version_id=None, now=now
            )

    async def begin(
        self,
        actor: Actor,
        account_id: str,
        *,
        offer_code: str,
        success_url: str,
        cancel_url: str,
        now: datetime,
        through_checkout: bool = False,
        agreed: AgreedSubscription | None = None,
    ) -> Begun:
        """Subscribe, or buy a pack: at once with the card on file, else through a checkout.

        `through_checkout`: nobody agreed to a charge to the card on file, so it is not charged.
        `agreed`: what somebody agreed to; nothing else is charged, and no other card. A repeated
        call returns the open checkout of the same offer, or resumes an interrupted
        subscription. The provider is asked first what the customer has: nobody pays twice.
        Raises OfferUnknownError, SubscriptionExistsError, CurrencyDiffersError,
        FreePeriodUsedError, CardTrialUsedError, ProviderRequestPendingError,
        PaymentMethodMissingError, QuoteOutdatedError, PaymentDeclinedError and what the provider
        raises.
        """
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
            offer = await find_offer(session, offer_code)
            if not offer.is_subscription or not await live_subscription(session, account.id):
                await require_buyable(session, account.id, offer, now)
        await self._provider.require_writable()
        customer_id = await ensure_customer(self._database, self._provider, account, now)
        wanted = RequestTarget(Operation.SUBSCRIBE, str(offer.version_id))
        if await self.provider_requests.resolve(account.id, customer_id, now, wanted=wanted):
            return await self._begun(account, customer_id, now)
        if offer.is_subscription:
            await self._refuse_second(account.id, customer_id, now)
        price = await ensure_price(self._database, self._provider, offer, now)
        try:
            method = await self._provider.payment_method(customer_id)
        except NotAtProviderError:
            method, customer_id = None, await self._replace_customer(account, customer_id, now)
        await require_agreed(self._provider, agreed, offer, method)
        direct = offer.is_subscription and method is not None and not through_checkout
        url = await self._checkouts.reuse_or_close(
            account.id,
            customer_id,
            keep_version_id=None if direct else offer.version_id,
            now=now,
        )
        if offer.is_subscription:
            await self._refuse_second(account.id, customer_id, now)
        if url is not None:
            return Begun(None, url)
        if direct and method is not None:
            try:
                bought = offer, price
                due_minor = agreed.due_minor if agreed else None
                await require_agreed_charge(self._provider, customer_id, bought, due_minor)
                await self._subscribe(
                    account, customer_id, wanted, bought, method, now, agreed=agreed
                )
                return await self._begun(account, customer_id, now)
            except PaymentDeclinedError as error:
                if error.extensions["decline_reason"] not in CONFIRM_CODES:
                    raise
        urls = Urls(success_url, cancel_url)
        return Begun(None, await self._checkouts.open(account.id, customer_id, offer, urls, now))

    async def _begun(self, account: Account, customer_id: str, now: datetime) -> Begun:
        """The subscription, unless it is a trial that is not given: raises CardTrialUsedError."""
        await self._refused_trials.cancel(customer_id, now)
        async with self._database.reading() as session:
            if await newest_refused(session, account.id):
                raise CardTrialUsedError
            row = await live_subscription(session, account.id)
            return Begun(await subscription_view(session, row) if row else None, None)

    async def _replace_customer(self, account: Account, deleted_id: str, now: datetime) -> str:
        """A new customer for one who was deleted at the provider, unless the account has a live
        subscription: staff find that by reconciliation."""
        await self._checkouts.reuse_or_close(account.id, deleted_id, keep_version_id=None, now=now)
        if await self._has_live(account.id):
            raise NotAtProviderError("The account's customer was deleted. Contact support.")
        return await replace_customer(
            self._database, self._provider, account, deleted_id=deleted_id
        )

    async def _subscribe(
        self,
        account: Account,
        customer_id: str,
        wanted: RequestTarget,
        bought: tuple[OfferView, ProviderPrice],
        method: ProviderPaymentMethod,
        now: datetime,
        *,
        agreed: AgreedSubscription | None,
    ) -> None:
        """Raises QuoteOutdatedError for another trial than the one that somebody agreed to."""
        offer, price = bought

        async def decide(session: AsyncSession) -> dict[str, Any]:
            if await live_subscription(session, account.id):
                raise SubscriptionExistsError
            if await open_checkout(session, account.id):
                raise ProviderRequestPendingError
            trial_days = await trial_days_of(session, account.id, offer)
            if agreed is not None and agreed.trial_days != trial_days:
                raise QuoteOutdatedError(offer=offer.code)
            return {
                "customer_id": customer_id,
                "price_id": price.price_id,
                "overage_price_id": price.overage_price_id,
                "trial_days": trial_days,
                "payment_method_id": method.provider_id,
            }

        await self.provider_requests.carry_out(account.id, customer_id, wanted, decide, now)

    async def _refuse_second(self, account_id: int, customer_id: str, now: datetime) -> None:
        """Raises SubscriptionExistsError when the account has a live one, and closes the checkout
        that would begin another."""
        if not await self._has_live(account_id):
            return
        try:
            await self._checkouts.reuse_or_close(
                account_id, customer_id, keep_version_id=None, now=now
            )
        except PaymentProviderUnavailableError:
            raise SubscriptionExistsError from None
        if await self._has_live(account_id):
            raise SubscriptionExistsError

    async def _has_live(self, account_id: int) -> bool:
        async with self._database.reading() as session:
            return await live_subscription(session, account_id) is not None
