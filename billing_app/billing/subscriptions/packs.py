"""Buying a pack with the card on file, as somebody confirmed it: once, however often it is sent."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferView, find_offer
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.customers import (
    card_on_file,
)
from billing_app.billing.subscriptions.errors import QuoteOutdatedError
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.billing.subscriptions.provider_request_recovery import (
    ProviderRequests,
    RequestTarget,
)
from billing_app.billing.subscriptions.provider_requests import Operation
from billing_app.billing.subscriptions.purchase_outcomes import PurchaseOutcome
from billing_app.billing.subscriptions.purchase_previews import require_agreed_charge
from billing_app.billing.subscriptions.purchase_rules import require_buyable
from billing_app.db.engine import Database
from billing_app.db.enums import ProviderRequestState
from billing_app.db.tables import Account, ProviderCustomer, ProviderRequest, Subscription


@dataclass(frozen=True, slots=True)
class PackOrder:
    """What somebody confirmed: this version of an offer, charged to this payment method. `key`
    identifies the confirmation. `due_minor` None: nobody was told the charge."""

    offer: OfferView
    payment_method_id: str
    key: str
    due_minor: int | None = None


class _AlreadyBoughtError(Exception):
    """The order has been carried out."""


@dataclass(frozen=True, slots=True)
class Packs:
    _database: Database
    _provider: PaymentProvider
    _requests: ProviderRequests

    async def buy(
        self, actor: Actor, account_id: str, order: PackOrder, now: datetime
    ) -> PurchaseOutcome:
        """Charge the pack and add its plan; by a debit, once the bank has paid. The same order
        again changes nothing.

        Raises QuoteOutdatedError when the offer, the card or the charge is another one by now,
        PaymentMethodMissingError when it is no longer on file, PaymentActionRequiredError when the
        bank asks the customer to confirm,
        CurrencyDiffersError, AccountNotFoundError, ForbiddenError, OfferUnknownError,
        InvalidInputError, PaymentDeclinedError and what the provider raises.
        """
        account, customer, live = await self._prepare(actor, account_id, order, now)
        wanted = RequestTarget(Operation.BUY_PACK, f"{order.offer.version_id} {order.key}")
        customer_id = customer.customer_id
        found = await self._requests.resolve(account.id, customer_id, now, wanted=wanted)
        if found is not None:
            return await self._requests.outcome(found, customer_id, now)
        method = await card_on_file(self._provider, customer, live)
        if method is None or method.provider_id != order.payment_method_id:
            await self._provider.require_card(order.payment_method_id)
            raise QuoteOutdatedError(offer=order.offer.code)
        price = await ensure_price(self._database, self._provider, order.offer, now)
        await require_agreed_charge(
            self._provider, customer_id, (order.offer, price), order.due_minor
        )

        async def decide(session: AsyncSession) -> dict[str, Any]:
            if await _carried_out(session, account.id, wanted):
                raise _AlreadyBoughtError
            return {
                "customer_id": customer_id,
                "price_id": price.price_id,
                "payment_method_id": method.provider_id,
            }

        try:
            return await self._requests.carry_out(account.id, customer_id, wanted, decide, now)
        except _AlreadyBoughtError:
            async with self._database.reading() as session:
                earlier = await _carried_out(session, account.id, wanted)
            assert earlier is not None
            return await self._requests.outcome(earlier, customer_id, now)

    async def _prepare(
        self, actor: Actor, account_id: str, order: PackOrder, now: datetime
    ) -> tuple[Account, ProviderCustomer, Subscription | None]:
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
            offer = await find_offer(session, order.offer.code)
            await require_buyable(session, account.id, offer, now)
            customer = await session.get(ProviderCustomer, account.id)
            live = await live_subscription(session, account.id)
        if offer.is_subscription:
            raise InvalidInputError("Only a pack can be bought once.", field="offer")
        if customer is None or offer.version_id != order.offer.version_id:
            raise QuoteOutdatedError(offer=offer.code)
        return account, customer, live


async def _carried_out(
    session: AsyncSession, account_id: int, wanted: RequestTarget
) -> ProviderRequest | None:
    query = (
        select(ProviderRequest)
        .where(ProviderRequest.account_id == account_id)
        .where(ProviderRequest.operation == wanted.operation)
        .where(ProviderRequest.state == ProviderRequestState.DONE)
        .order_by(col(ProviderRequest.created_at).desc())
    )
    return next((row for row in await session.exec(query) if wanted.is_of(row)), None)
