"""Moving a subscription to another version of an offer, at the payment provider.

The intent and the audit entry are committed together, then the provider is asked (see
subscriptions/writes.py). What it refuses is written down as undone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.catalogue import OfferUnknownError, OfferView, offer_version
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ConflictError,
    IdempotencyKeyReusedError,
    InvalidInputError,
)
from billing_app.billing.staff.audit import Deed, record
from billing_app.billing.staff.audit_log import EntryView, view_of
from billing_app.billing.staff.permissions import Action, require
from billing_app.billing.staff.repairs import (
    AlreadySoError,
    Done,
    Order,
    account_number,
    check_order,
    deed_of,
    known_entry,
    moment,
    refuse_own,
    refuse_second_undo,
)
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.customers import ensure_price
from billing_app.billing.subscriptions.intents import Intents, Wanted
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    PaymentProviderUnavailableError,
    PriceFacts,
)
from billing_app.billing.subscriptions.quotes import fresh, make_quote, quote_json
from billing_app.billing.subscriptions.rules import require_other_offer
from billing_app.billing.subscriptions.service import SUBSCRIPTION
from billing_app.billing.subscriptions.writes import Operation, WritePendingError
from billing_app.db.engine import Database
from billing_app.db.tables import (
    Account,
    AuditEntry,
    Offer,
    OfferVersion,
    ProviderCustomer,
    Subscription,
)
from billing_app.db.words import When


class NoSubscriptionError(ConflictError):
    code = "no_subscription"
    title = "This account has no subscription"


class MoveInForceError(ConflictError):
    """What was charged is not taken back by itself: move it again, or refund at the provider."""

    code = "move_in_force"
    title = "The move does not wait any more"


@dataclass(frozen=True, slots=True)
class _Step:
    """What to ask of the provider, and what of it the audit log tells."""

    wanted: Wanted
    told: dict[str, Any]
    done: Done


class Moves:
    def __init__(self, database: Database, provider: PaymentProvider, intents: Intents) -> None:
        self._database = database
        self._provider = provider
        self._intents = intents

    async def move_offer(
        self,
        actor: Actor,
        account_id: str,
        *,
        offer_code: str,
        reason: str,
        now: datetime,
        version: int | None = None,
        when: When = When.PERIOD_END,
        key: str | None = None,
    ) -> EntryView:
        """Move the account's subscription to a version of an offer, the newest by default, also
        of one that is archived: when the period ends, or now, which charges the customer.

        Raises ForbiddenError, AccountNotFoundError, OfferUnknownError, NoSubscriptionError,
        AlreadySoError, SameOfferError, CurrencyDiffersError, ChangeLosesValueError,
        PaymentOverdueError, WritePendingError, PaymentDeclinedError and what the provider raises.
        """
        staff = require(actor, Action.MOVE_OFFER)
        asked = (offer_code, version, str(when))
        number = account_number(account_id)
        order = Order(staff, Action.MOVE_OFFER, number, reason, key, asked)
        check_order(order)
        async with self._database.reading() as session:
            await refuse_own(session, order)
            known = await known_entry(session, order)
            if known is not None:
                return view_of(known)
            new = await _find_version(session, offer_code, version)
            subscription = await _live(session, number)
        price = await ensure_price(self._database, self._provider, new, now)
        operation = Operation.CHANGE_NOW if when is When.NOW else Operation.CHANGE_AT_PERIOD_END
        wanted = Wanted(operation, f"{subscription.provider_id} {new.version_id}")

        async def decide(session: AsyncSession) -> _Step:
            row = await fresh(session, subscription)
            told = await _told(session, row, new, price, when, now)
            return _Step(wanted, told, await _moved(session, row, new, when))

        return await self._carry_out(order, wanted, decide, now)

    async def take_back(self, order: Order, entry: AuditEntry, now: datetime) -> EntryView:
        """Take back a move that still waits for the end of the period; what waited before it
        waits again. Raises MoveInForceError, and what `move_offer` raises."""
        check_order(order)
        async with self._database.reading() as session:
            await refuse_own(session, order)
            await refuse_second_undo(session, order)
            subscription = await _live(session, order.account_id)
            _require_waiting(subscription, entry)
            earlier_id = entry.before["next_version_id"]
            earlier = await offer_version(session, earlier_id) if earlier_id else None
        told: dict[str, Any] = {"subscription_id": subscription.provider_id}
        if earlier is not None:
            price = await ensure_price(self._database, self._provider, earlier, now)
            target = f"{subscription.provider_id} {earlier.version_id}"
            wanted = Wanted(Operation.CHANGE_AT_PERIOD_END, target)
            told |= _prices(price) | {"interval": str(earlier.interval)}
        else:
            cancels = entry.before["cancel_at_period_end"]
            operation = Operation.CANCEL_AT_PERIOD_END if cancels else Operation.RESUME
            wanted = Wanted(operation, subscription.provider_id)

        async def decide(session: AsyncSession) -> _Step:
            row = await fresh(session, subscription)
            _require_waiting(row, entry)
            return _Step(wanted, told, Done(entry.subject, entry.after, entry.before))

        return await self._carry_out(order, wanted, decide, now)

    async def _carry_out(
        self, order: Order, wanted: Wanted, decide_step: Any, now: datetime
    ) -> EntryView:
        customer_id = await self._customer_id(order.account_id)
        made: list[AuditEntry] = []

        async def decide(session: AsyncSession) -> dict[str, Any]:
            await refuse_second_undo(session, order)
            step: _Step = await decide_step(session)
            made.append(await record(session, order.actor, deed_of(order, step.done), now))
            return step.told

        if await self._intents.settle(order.account_id, customer_id, now, wanted=wanted):
            return await self._entry_before(order)
        try:
            await self._intents.carry_out(order.account_id, customer_id, wanted, decide, now)
        except IntegrityError as error:
            if "uq_audit_entries_request_key" in str(error.orig):
                raise IdempotencyKeyReusedError from None
            raise
        except (PaymentProviderUnavailableError, WritePendingError):
            raise
        except BillingError as error:
            for entry in made:
                await self._write_refusal(order, entry, error, now)
            raise
        return view_of(made[0]) if made else await self._entry_before(order)

    async def _write_refusal(
        self, order: Order, entry: AuditEntry, error: BillingError, now: datetime
    ) -> None:
        """A move that the provider refused is undone by that; of an undoing it is only said."""
        is_move = entry.action == Action.MOVE_OFFER
        deed = Deed(
            action=Action.UNDO,
            reason=f"The payment provider refused: {error.title}",
            account_id=order.account_id,
            subject=entry.subject,
            before=entry.after,
            after=entry.before | {"refused": error.code},
            undoes=entry.id if is_move else None,
        )
        async with self._database.transaction() as session:
            await record(session, order.actor, deed, now)

    async def _entry_before(self, order: Order) -> EntryView:
        """Of the request that was interrupted, and whose effect is there. Raises AlreadySoError
        when it was the customer's own."""
        query = (
            select(AuditEntry)
            .where(AuditEntry.account_id == order.account_id)
            .where(AuditEntry.action == order.action)
            .order_by(col(AuditEntry.id).desc())
        )
        async with self._database.reading() as session:
            entry = (await session.exec(query)).first()
        if entry is None:
            raise AlreadySoError
        return view_of(entry)

    async def _customer_id(self, account_id: int) -> str:
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, account_id)
        assert customer is not None
        return customer.customer_id


async def _live(session: AsyncSession, account_id: int) -> Subscription:
    if await session.get(Account, account_id) is None:
        raise AccountNotFoundError
    row = await live_subscription(session, account_id)
    if row is None:
        raise NoSubscriptionError
    return row


async def _find_version(session: AsyncSession, code: str, version: int | None) -> OfferView:
    query = (
        select(OfferVersion.id)
        .join(Offer, col(Offer.id) == OfferVersion.offer_id)
        .where(Offer.code == code)
        .order_by(col(OfferVersion.version).desc())
    )
    if version is not None:
        query = query.where(OfferVersion.version == version)
    found = (await session.exec(query)).first()
    if found is None:
        which = code if version is None else f"{code} version {version}"
        raise OfferUnknownError(f"There is no offer {which}.", field="offer")
    offer = await offer_version(session, found)
    if not offer.is_subscription:
        raise InvalidInputError("A pack is bought, not moved to.", field="offer")
    return offer


async def _told(
    session: AsyncSession,
    row: Subscription,
    new: OfferView,
    price: PriceFacts,
    when: When,
    now: datetime,
) -> dict[str, Any]:
    told = {"subscription_id": row.provider_id} | _prices(price)
    if when is When.NOW:
        return told | quote_json(await make_quote(session, row, new, now))
    require_other_offer(await offer_version(session, row.offer_version_id), new)
    if row.next_offer_version_id == new.version_id:
        raise AlreadySoError(f"It moves to {new.name} when the period ends already.")
    return told | {"interval": str(new.interval)}


def _prices(price: PriceFacts) -> dict[str, Any]:
    return {"price_id": price.price_id, "overage_price_id": price.overage_price_id}


async def _moved(session: AsyncSession, row: Subscription, new: OfferView, when: When) -> Done:
    old = await offer_version(session, row.offer_version_id)
    before = {
        "offer": old.name,
        "version_id": old.version_id,
        "next_version_id": row.next_offer_version_id,
        "cancel_at_period_end": row.cancel_at_period_end,
    }
    after = {
        "offer": new.name,
        "version_id": new.version_id,
        "when": str(when),
        "period_end": moment(row.period_end),
    }
    return Done(ids.encode(SUBSCRIPTION, row.account_id, row.number), before, after)


def _require_waiting(row: Subscription, entry: AuditEntry) -> None:
    waits = entry.after["when"] == When.PERIOD_END
    if not waits or row.next_offer_version_id != entry.after["version_id"]:
        raise MoveInForceError(
            "It has taken effect, or was changed again since. Move the subscription anew;"
            " what was charged is refunded at the payment provider.",
            version_id=row.offer_version_id,
            next_version_id=row.next_offer_version_id,
        )
