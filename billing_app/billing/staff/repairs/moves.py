"""Moving a subscription to another version of an offer, at the payment provider.

The request and the audit entry are committed together, then the provider is asked (see
subscriptions/provider_requests.py). A request that fails or never arrives is recorded as undone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ConflictError,
    IdempotencyKeyReusedError,
    InvalidInputError,
)
from billing_app.billing.offers.catalogue import OfferUnknownError, OfferView, offer_version
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import record
from billing_app.billing.staff.repairs.provider_results import ENTRY, known_outcome, request_failure
from billing_app.billing.staff.repairs.repairs import (
    AlreadySoError,
    RepairRequest,
    RepairResult,
    account_number,
    audit_record_of,
    check_order,
    known_entry,
    moment,
    refuse_own,
    refuse_second_undo,
)
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.customers import ensure_price
from billing_app.billing.subscriptions.proration import (
    ChangePreview,
    overage_so_far,
    preview_later,
    preview_now,
    prorate,
    proration_json,
    reload,
    require_other_offer,
)
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderPrice,
)
from billing_app.billing.subscriptions.provider_request_recovery import ProviderRequests, Wanted
from billing_app.billing.subscriptions.provider_requests import Operation
from billing_app.billing.subscriptions.service import SUBSCRIPTION
from billing_app.db.engine import Database
from billing_app.db.enums import When
from billing_app.db.tables import (
    Account,
    AuditEntry,
    Offer,
    OfferVersion,
    ProviderCustomer,
    Subscription,
)


class NoSubscriptionError(ConflictError):
    code = "no_subscription"
    title = "This account has no subscription"


class MoveInForceError(ConflictError):
    """What was charged is not taken back by itself: move it again, or refund at the provider."""

    code = "move_in_force"
    title = "The move does not wait any more"


@dataclass(frozen=True, slots=True)
class NextInvoice:
    """What renews next, after a move: its price, and when. What will have been used beyond the
    plan by then comes on top; `overage_minor` of that is there now."""

    at: datetime
    amount_minor: int
    currency: str
    overage_minor: int


@dataclass(frozen=True, slots=True)
class MovePreview:
    """A move before the yes. `charged_minor` is charged at once, as the provider itself reckons
    it; `change` is what somebody agrees to. `old` is the version that the subscription leaves."""

    old: OfferView
    when: When
    charged_minor: int
    change: ChangePreview
    next_invoice: NextInvoice


@dataclass(frozen=True, slots=True)
class _Step:
    """What to ask of the provider, and what of it the audit log tells."""

    wanted: Wanted
    told: dict[str, Any]
    done: RepairResult


class Moves:
    def __init__(
        self, database: Database, provider: PaymentProvider, provider_requests: ProviderRequests
    ) -> None:
        self._database = database
        self._provider = provider
        self._provider_requests = provider_requests
        provider_requests.tell_failures(request_failure)

    async def preview_move(
        self,
        actor: Actor,
        account_id: str,
        *,
        offer_code: str,
        now: datetime,
        version: int | None = None,
        when: When = When.PERIOD_END,
    ) -> MovePreview:
        """What `move_offer` would charge now, and what the next invoice will be.

        Raises as it does, but PaymentDeclinedError: whether the card is good is found out by
        charging it.
        """
        require(actor, Action.MOVE_OFFER)
        number = account_number(account_id)
        async with self._database.reading() as session:
            new = await _find_version(session, offer_code, version)
            subscription = await _live(session, number)
        await self._provider_requests.resolve(number, await self._customer_id(number), now)
        async with self._database.reading() as session:
            row = await reload(session, subscription)
            old = await offer_version(session, row.offer_version_id)
            if when is When.PERIOD_END:
                _require_news(row, new)
                change = await preview_later(session, row, new, now)
                overage_minor = await overage_so_far(session, row, now)
                return MovePreview(
                    old, when, 0, change, _next_invoice(row.period_end, new, overage_minor)
                )
            proration = await prorate(session, row, new, now)
        price = await ensure_price(self._database, self._provider, new, now)
        change = await preview_now(self._provider, row, new, proration, price, now)
        assert change.period_end is not None
        invoice = _next_invoice(change.period_end, new, 0)
        return MovePreview(old, when, change.amount_due_minor, change, invoice)

    async def move_offer(  # noqa: PLR0913 - what, when, why, and after which yes
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
        agreed: ChangePreview | None = None,
    ) -> EntryView:
        """Move the account's subscription to a version of an offer, the newest by default, also
        of one that is archived: when the period ends, or now, which charges the customer.

        `agreed` is the preview that somebody said yes to: what it says is charged, whatever was
        used since, or QuoteOutdatedError is raised.

        Raises ForbiddenError, AccountNotFoundError, OfferUnknownError, NoSubscriptionError,
        AlreadySoError, SameOfferError, CurrencyDiffersError, ChangeLosesValueError,
        PaymentOverdueError, ProviderRequestPendingError, PaymentDeclinedError and what the
        provider raises.
        """
        staff = require(actor, Action.MOVE_OFFER)
        asked = (offer_code, version, str(when))
        number = account_number(account_id)
        order = RepairRequest(staff, Action.MOVE_OFFER, number, reason, key, asked)
        check_order(order)
        async with self._database.reading() as session:
            await refuse_own(session, order)
            known = await known_outcome(session, order)
            if known is not None:
                return known
            new = await _find_version(session, offer_code, version)
            subscription = await _live(session, number)
        price = await ensure_price(self._database, self._provider, new, now)
        operation = Operation.CHANGE_NOW if when is When.NOW else Operation.CHANGE_AT_PERIOD_END
        wanted = Wanted(operation, f"{subscription.provider_id} {new.version_id}")

        async def decide(session: AsyncSession) -> _Step:
            row = await reload(session, subscription)
            told = _prices(price) | {"subscription_id": row.provider_id}
            told |= await _told(session, row, new, when, now, agreed)
            return _Step(wanted, told, await _moved(session, row, new, when, agreed))

        return await self._carry_out(order, wanted, decide, now)

    async def take_back(self, order: RepairRequest, entry: AuditEntry, now: datetime) -> EntryView:
        """Take back a move that still waits for the end of the period; what waited before it
        waits again. Raises MoveInForceError, and what `move_offer` raises."""
        check_order(order)
        async with self._database.reading() as session:
            await refuse_own(session, order)
            known = await known_outcome(session, order)
            if known is not None:
                return known
            if await known_entry(session, order) is None:
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
            row = await reload(session, subscription)
            _require_waiting(row, entry)
            return _Step(wanted, told, RepairResult(entry.subject, entry.after, entry.before))

        return await self._carry_out(order, wanted, decide, now)

    async def _carry_out(
        self, order: RepairRequest, wanted: Wanted, decide_step: Any, now: datetime
    ) -> EntryView:
        customer_id = await self._customer_id(order.account_id)
        made: list[AuditEntry] = []

        async def decide(session: AsyncSession) -> dict[str, Any]:
            await refuse_second_undo(session, order)
            step: _Step = await decide_step(session)
            entry = await record(session, order.actor, audit_record_of(order, step.done), now)
            made.append(entry)
            return step.told | {ENTRY: entry.id}

        if await self._provider_requests.resolve(order.account_id, customer_id, now, wanted=wanted):
            return await self._entry_before(order)
        async with self._database.reading() as session:
            await known_outcome(session, order)
        try:
            await self._provider_requests.carry_out(
                order.account_id, customer_id, wanted, decide, now
            )
        except IntegrityError as error:
            if "uq_audit_entries_request_key" in str(error.orig):
                raise IdempotencyKeyReusedError from None
            raise
        return view_of(made[0]) if made else await self._entry_before(order)

    async def _entry_before(self, order: RepairRequest) -> EntryView:
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
    when: When,
    now: datetime,
    agreed: ChangePreview | None,
) -> dict[str, Any]:
    if when is When.NOW:
        return proration_json(await prorate(session, row, new, now, agreed=agreed))
    require_other_offer(await offer_version(session, row.offer_version_id), new)
    _require_news(row, new)
    return {"interval": str(new.interval)}


def _require_news(row: Subscription, new: OfferView) -> None:
    if row.next_offer_version_id == new.version_id:
        raise AlreadySoError(f"It moves to {new.name} when the period ends already.")


def _next_invoice(at: datetime, new: OfferView, overage_minor: int) -> NextInvoice:
    return NextInvoice(at, new.price_minor, new.currency, overage_minor)


def _prices(price: ProviderPrice) -> dict[str, Any]:
    return {"price_id": price.price_id, "overage_price_id": price.overage_price_id}


async def _moved(
    session: AsyncSession,
    row: Subscription,
    new: OfferView,
    when: When,
    agreed: ChangePreview | None,
) -> RepairResult:
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
    if agreed is not None and when is When.NOW:
        after |= {"charged_minor": agreed.amount_due_minor, "currency": agreed.currency}
    return RepairResult(ids.encode(SUBSCRIPTION, row.account_id, row.number), before, after)


def _require_waiting(row: Subscription, entry: AuditEntry) -> None:
    waits = entry.after["when"] == When.PERIOD_END
    if not waits or row.next_offer_version_id != entry.after["version_id"]:
        raise MoveInForceError(
            "It has taken effect, or was changed again since. Move the subscription anew;"
            " what was charged is refunded at the payment provider.",
            version_id=row.offer_version_id,
            next_version_id=row.next_offer_version_id,
        )
