"""Auto top-up: buys a pack with the card on file when an account runs low on executions.

An account has at most one purchase in progress, and a month's purchases never exceed the cap. The
result of an interrupted purchase is looked up at the provider, and an unpaid one is voided there.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.errors import BillingError, InvalidInputError
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView, find_offer, newest_version
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.account_runs import run_each
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.checkouts import open_checkout
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.customers import (
    card_on_file,
)
from billing_app.billing.subscriptions.errors import (
    PaymentActionRequiredError,
    PaymentMethodMissingError,
)
from billing_app.billing.subscriptions.installation import may_write
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
)
from billing_app.billing.subscriptions.provider_errors import (
    BillingAddressMissingError,
    OfferUnavailableError,
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_requests import Operation
from billing_app.billing.subscriptions.purchase_previews import charge_of
from billing_app.billing.subscriptions.purchase_rules import require_same_currency
from billing_app.billing.subscriptions.top_up_need import (
    PAGE_ACCOUNTS,
    accounts_in_need,
    fits_cap,
    spent,
)
from billing_app.db.engine import Database
from billing_app.db.enums import Interval, ProviderRequestState
from billing_app.db.tables import Account, Offer, ProviderCustomer, ProviderRequest, TopUp

MAX_THRESHOLD: Final = 1_000_000_000
MAX_CAP_MINOR: Final = 10**12
NO_CARD: Final = "There is no card on file."
NO_ADDRESS: Final = "The tax depends on your billing address, which is missing."
NOT_SOLD: Final = "The pack is no longer sold."
REFUSED: Final = "The payment provider refused the purchase."
DEBIT_FAILED: Final = "Your bank did not pay the last purchase, so nothing was charged."
NOT_CONFIRMED: Final = "You did not confirm the last purchase, so nothing was charged."
CONFIRM_WITHIN: Final = timedelta(hours=23)

# Each with a token, so that every worker that hears it makes the same job of it.
CHANNEL: Final = "billing_top_ups"
ANNOUNCE: Final = text(f"""
SELECT pg_notify('{CHANNEL}', account_id || ' ' || :token)
FROM unnest(CAST(:accounts AS bigint[])) AS account_id
""")  # noqa: S608

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopUpView:
    """`spent_minor`: in this calendar month (UTC), including purchases in progress.

    `stopped_because`: the reason in plain words; None while it is active. `payment_url`: where the
    customer confirms a purchase that the bank asks about; None: nothing waits for that.
    """

    account_id: str
    offer: OfferView
    threshold_executions: int
    monthly_cap_minor: int
    currency: str
    spent_minor: int
    stopped_because: str | None
    payment_url: str | None
    updated_at: datetime


@dataclass(slots=True)
class TopUps:
    _database: Database
    _provider: PaymentProvider
    _syncing: CustomerSync

    async def read(self, actor: Actor, account_id: str, now: datetime) -> TopUpView | None:
        """None: it is switched off. Raises AccountNotFoundError. Reads only the database."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id, reading=True)
            row = await session.get(TopUp, account.id)
            return await _view(session, account_id, row, now) if row else None

    async def switch_on(
        self,
        actor: Actor,
        account_id: str,
        *,
        offer_code: str,
        threshold_executions: int,
        monthly_cap_minor: int,
        now: datetime,
        currency: str | None = None,
    ) -> TopUpView:
        """Switch it on, or change its terms; a stopped one becomes active again.

        `currency`: of the cap, as the customer was shown it; None: that of the pack.

        Raises AccountNotFoundError, ForbiddenError, ScopeMissingError, OfferUnknownError,
        CurrencyDiffersError, InvalidInputError, PaymentMethodMissingError, and what the provider
        raises.
        """
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
            offer = await find_offer(session, offer_code)
            customer = await session.get(ProviderCustomer, account.id)
            await require_same_currency(session, account.id, offer)
        if currency not in (None, offer.currency):
            raise InvalidInputError(
                f"The cap is in {currency}, and the pack is sold in {offer.currency}.",
                field="currency",
            )
        _check(offer, threshold_executions, monthly_cap_minor)
        if await card_on_file(self._provider, customer) is None:
            raise PaymentMethodMissingError("Add a card first, then turn on the automatic top-up.")
        await self._give_up_unconfirmed(account.id, now)
        async with self._database.transaction() as session:
            await session.get(Account, account.id, with_for_update=True)
            offers = await session.exec(select(Offer.id).where(Offer.code == offer_code))
            row = await session.get(TopUp, account.id) or TopUp(account_id=account.id)  # pyright: ignore[reportCallIssue]
            row.offer_id = offers.one() or 0
            row.threshold_executions = threshold_executions
            row.monthly_cap_minor = monthly_cap_minor
            row.currency = offer.currency
            row.stopped_because = None
            row.updated_at = now
            session.add(row)
            await session.flush()
            await _announce(session, [account.id])
            return await _view(session, account_id, row, now)

    async def switch_off(self, actor: Actor, account_id: str) -> None:
        """A purchase in progress completes. Raises what `switch_on` raises for the account."""
        async with self._database.transaction() as session:
            account = await authorize_managing(session, actor, account_id)
            await session.get(Account, account.id, with_for_update=True)
            row = await session.get(TopUp, account.id)
            if row is not None:
                await session.delete(row)

    async def run(self, now: datetime) -> int:
        """Resolve interrupted purchases, then buy where needed; returns how many were bought.

        Raises what `run_each` raises.
        """
        if not await may_write(self._provider, "top_ups"):
            return 0
        async with self._database.reading() as session:
            pending = await provider_requests.pending(session, top_ups=True)
        try:
            await run_each(
                pending[:PAGE_ACCOUNTS],
                lambda row: self._resolve(row, now),
                account_of=lambda row: row.account_id,
                job="interrupted top-ups",
            )
        finally:
            bought = await run_each(
                await self._all_needed(now),
                lambda account_id: self.buy(account_id, now),
                account_of=int,
                job="top-ups",
            )
        return bought

    async def _all_needed(self, now: datetime) -> list[int]:
        found: list[int] = []
        while True:
            async with self._database.reading() as session:
                page = await accounts_in_need(session, now, after=found[-1] if found else 0)
            found += page
            if len(page) < PAGE_ACCOUNTS:
                return found

    async def needed(self, account_ids: Sequence[int], now: datetime) -> set[int]:
        """Those of the accounts that have fewer executions left than their order says."""
        async with self._database.reading() as session:
            return set(await accounts_in_need(session, now, only=account_ids))

    async def announce(self, account_ids: Sequence[int]) -> None:
        """Have a worker look at each of the accounts at once."""
        async with self._database.transaction() as session:
            await _announce(session, account_ids)

    async def buy_if_needed(self, account_id: int, now: datetime) -> bool:
        """Buy a pack for an account that was announced. Raises what the provider raises."""
        async with self._database.reading() as session:
            if not await accounts_in_need(session, now, only=[account_id]):
                return False
        return await self.buy(account_id, now)

    async def buy(self, account_id: int, now: datetime) -> bool:
        """Buy a pack, unless that exceeds the cap or enough executions are left after all."""
        await self._provider.require_writable()
        async with self._database.reading() as session:
            order = await session.get(TopUp, account_id)
            if order is None:
                return False
            customer = await session.get(ProviderCustomer, account_id)
            live = await live_subscription(session, account_id)
            offer, is_sold = await newest_version(session, order.offer_id)
            fits = await fits_cap(session, order, offer.price, now)
        if not is_sold or offer.is_subscription or offer.currency != order.currency:
            return await self._stop(account_id, NOT_SOLD, now)
        if not fits:
            return False
        method = await card_on_file(self._provider, customer, live)
        if customer is None or method is None:
            return await self._stop(account_id, NO_CARD, now)
        try:
            price = await ensure_price(self._database, self._provider, offer, now)
            await self._apply_purchases(account_id, customer.customer_id, now)
            charge = offer.price
            if self._provider.computes_tax:
                charge = await charge_of(self._provider, customer.customer_id, offer, price)
        except (OfferUnavailableError, BillingAddressMissingError) as error:
            is_missing = isinstance(error, BillingAddressMissingError)
            return await self._stop(account_id, NO_ADDRESS if is_missing else NOT_SOLD, now)
        parameters: dict[str, Any] = {
            "customer_id": customer.customer_id,
            "price_id": price.price_id,
            "payment_method_id": method.provider_id,
            "amount_minor": charge.minor,
            "currency": charge.currency,
        }
        row = await self._intend(account_id, charge, parameters, now)
        return row is not None and await self._carry_out(row, now)

    async def _apply_purchases(self, account_id: int, customer_id: str, now: datetime) -> None:
        """What was paid at the provider and is not known here may make a pack unnecessary."""
        async with self._database.reading() as session:
            row = await open_checkout(session, account_id)
        if row is None or row.provider_id is None:
            await self._syncing.customer(customer_id, now)
        else:
            await self._syncing.checkout(row.provider_id, now)

    async def _intend(
        self, account_id: int, price: Money, parameters: dict[str, Any], now: datetime
    ) -> ProviderRequest | None:
        """The request, written under the account's lock; None: not needed, or above the cap."""
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            order = await session.get(TopUp, account_id)
            if order is None or not await accounts_in_need(session, now, only=[account_id]):
                return None
            if not await fits_cap(session, order, price, now):
                return None
            row = provider_requests.new_provider_request(
                account_id, Operation.TOP_UP, parameters, now
            )
            session.add(row)
        return row

    async def _carry_out(self, row: ProviderRequest, now: datetime) -> bool:
        try:
            await provider_requests.carry_out(self._provider, row)
        except PaymentProviderUnavailableError:
            raise
        except PaymentActionRequiredError as error:
            await self._await_confirmation(row, error, now)
            return False
        except PaymentDeclinedError as error:
            await self._finish(row, ProviderRequestState.FAILED, now, problem=error.code)
            return await self._stop(row.account_id, error.detail, now)
        except BillingError as error:
            await self._void(row, now)
            await self._finish(row, ProviderRequestState.FAILED, now, problem=error.code)
            is_gone = isinstance(error, PaymentMethodMissingError)
            return await self._stop(row.account_id, error.detail if is_gone else REFUSED, now)
        snapshot = await self._syncing.customer(row.parameters["customer_id"], now)
        if provider_requests.is_being_debited(row, snapshot):
            await self._keep(row, is_debit=True)
            return False
        await self._finish(row, ProviderRequestState.DONE, now)
        return True

    async def _resolve(self, row: ProviderRequest, now: datetime) -> bool:
        """Find out the result of an interrupted purchase; True: it was bought. An unpaid one is
        voided: the next run decides again."""
        snapshot = await self._syncing.customer(row.parameters["customer_id"], now)
        is_bought = provider_requests.is_done(row, snapshot)
        is_awaited = _is_unconfirmed(row) and now - row.created_at < CONFIRM_WITHIN
        if provider_requests.is_being_debited(row, snapshot):
            await self._keep(row, is_debit=True)
            return False
        may_arrive = provider_requests.may_still_arrive(row, now) and not _is_debit(row)
        if not is_bought and (is_awaited or may_arrive):
            return False
        if is_bought or await self._void(row, now):
            await self._finish(row, ProviderRequestState.DONE, now)
            return True
        await self._finish(row, ProviderRequestState.FAILED, now, problem="interrupted")
        if _is_unconfirmed(row):
            await self._stop(row.account_id, NOT_CONFIRMED, now)
        elif _is_debit(row):
            await self._stop(row.account_id, DEBIT_FAILED, now)
        return False

    async def _await_confirmation(
        self, row: ProviderRequest, error: PaymentActionRequiredError, now: datetime
    ) -> None:
        """It stays pending, so that nothing else is bought meanwhile."""
        await self._keep(row, payment_url=error.payment_url)
        await self._syncing.customer(row.parameters["customer_id"], now)

    async def _keep(self, row: ProviderRequest, **parameters: Any) -> None:
        """Add what its answer was to a purchase that stays pending."""
        async with self._database.transaction() as session:
            kept = await provider_requests.lock_request(session, row)
            kept.parameters = kept.parameters | parameters
            session.add(kept)

    async def _give_up_unconfirmed(self, account_id: int, now: datetime) -> None:
        """Who switches it on again may have another card: the next purchase uses that one."""
        async with self._database.reading() as session:
            rows = await provider_requests.pending(session, account_id, top_ups=True)
        for row in filter(_is_unconfirmed, rows):
            is_bought = await self._void(row, now)
            state = ProviderRequestState.DONE if is_bought else ProviderRequestState.FAILED
            await self._finish(row, state, now)

    async def _void(self, row: ProviderRequest, now: datetime) -> bool:
        """Void its invoice; True: it was paid after all."""
        customer_id = row.parameters["customer_id"]
        snapshot = await self._syncing.customer(customer_id, now)
        invoice_id = provider_requests.unpaid_invoice(row, snapshot)
        if invoice_id is None:
            return False
        await self._provider.void_invoice(invoice_id)
        snapshot = await self._syncing.customer(customer_id, now)
        return provider_requests.is_done(row, snapshot)

    async def _stop(self, account_id: int, because: str, now: datetime) -> bool:
        """Stop it until it is switched on again. Always False: nothing was bought."""
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            row = await session.get(TopUp, account_id)
            if row is not None:
                row.stopped_because, row.updated_at = because, now
                session.add(row)
                event = NewEvent(EventType.TOP_UP_STOPPED, {"reason": because})
                await append(session, account_id, event, now)
        return False

    async def _finish(
        self,
        row: ProviderRequest,
        state: ProviderRequestState,
        now: datetime,
        *,
        problem: str | None = None,
    ) -> None:
        async with self._database.transaction() as session:
            await provider_requests.finish(session, row, state, now, problem=problem)
            if state is ProviderRequestState.DONE:
                await append(session, row.account_id, _bought(row), now)


def _bought(row: ProviderRequest) -> NewEvent:
    paid = {name: row.parameters[name] for name in ("amount_minor", "currency")}
    key = f"{EventType.TOP_UP_BOUGHT}:{row.key}"
    return NewEvent(EventType.TOP_UP_BOUGHT, {"top_up": paid}, key)


def _check(offer: OfferView, threshold_executions: int, monthly_cap_minor: int) -> None:
    if offer.interval is not Interval.ONCE:
        raise InvalidInputError("Only a pack can be bought automatically.", field="offer")
    if not 1 <= threshold_executions <= MAX_THRESHOLD:
        raise InvalidInputError(
            f"The threshold must be from 1 to {MAX_THRESHOLD:,}.", field="threshold_executions"
        )
    if not offer.price_minor <= monthly_cap_minor <= MAX_CAP_MINOR:
        raise InvalidInputError(
            f"The cap must be at least the price of the pack, {offer.price}.",
            field="monthly_cap_minor",
        )


def _is_unconfirmed(row: ProviderRequest) -> bool:
    return row.parameters.get("payment_url") is not None


def _is_debit(row: ProviderRequest) -> bool:
    """Whether the bank was asked for it."""
    return bool(row.parameters.get("is_debit"))


async def _announce(session: AsyncSession, account_ids: Sequence[int]) -> None:
    connection = await session.connection()
    values = {"accounts": list(account_ids), "token": uuid.uuid4().hex}
    await connection.execute(ANNOUNCE, values)


async def _view(session: AsyncSession, account_id: str, row: TopUp, now: datetime) -> TopUpView:
    offer, _ = await newest_version(session, row.offer_id)
    rows = await provider_requests.pending(session, row.account_id, top_ups=True)
    return TopUpView(
        account_id=account_id,
        offer=offer,
        threshold_executions=row.threshold_executions,
        monthly_cap_minor=row.monthly_cap_minor,
        currency=row.currency,
        spent_minor=(await spent(session, row, now)).minor,
        stopped_because=row.stopped_because,
        payment_url=next((each.parameters.get("payment_url") for each in rows), None),
        updated_at=row.updated_at,
    )
