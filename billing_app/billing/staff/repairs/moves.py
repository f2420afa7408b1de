"""Moving a subscription to another version of an offer, at the payment provider."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import AccountNotFoundError, ConflictError, InvalidInputError
from billing_app.billing.offers.catalogue import OfferUnknownError, OfferView, offer_version
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.repairs.fields import Control, Input, RepairForm, stored
from billing_app.billing.staff.repairs.provider_driver import (
    AtProvider,
    ProviderStep,
    provider_customer,
)
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    AlreadyInStateError,
    Figures,
    PreviewRoute,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    Shown,
    account_of,
)
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.proration import (
    ChangePreview,
    overage_so_far,
    preview_later,
    preview_now,
    prices_of,
    prorate,
    proration_json,
    reload,
    require_other_offer,
)
from billing_app.billing.subscriptions.provider_request_recovery import RequestTarget
from billing_app.billing.subscriptions.provider_requests import Operation, prices_json
from billing_app.billing.subscriptions.service import SUBSCRIPTION
from billing_app.db.enums import SubscriptionStatus, When
from billing_app.db.tables import Account, AuditEntry, Offer, OfferVersion, Subscription

NOT_CANCELLED: Final = "The subscription is not cancelled: it renews."
WHEN: Final = (
    (When.PERIOD_END.value, "At the end of the period"),
    (When.NOW.value, "Now, charging the card on file"),
)


class Cancellation(StrEnum):
    """What a move does to a cancellation."""

    KEEP = "keep"
    WITHDRAW = "withdraw"


CANCELLATION: Final = (
    (Cancellation.KEEP.value, "Keep it: the subscription still ends"),
    (Cancellation.WITHDRAW.value, "Withdraw it: the subscription renews again"),
)


class SubscriptionCancelledError(ConflictError):
    """A subscription that ends with its period cannot change then."""

    code = "subscription_cancelled"
    title = "The subscription is cancelled"


class NoSubscriptionError(ConflictError):
    code = "no_subscription"
    title = "This account has no subscription"


class MoveInForceError(ConflictError):
    """A charge is not taken back by an undo: move again, or refund at the provider."""

    code = "move_in_force"
    title = "The move is no longer pending"


@dataclass(frozen=True)
class Move(RepairForm):
    """`offer`: the code of an offer that is no pack; an unknown one gets 422. `version` null: the
    newest. A version of an archived offer can be named too. `cancellation`: of a subscription that
    is cancelled; it is kept unless it is withdrawn."""

    offer: Annotated[
        str,
        Field(min_length=1, max_length=64),
        Input("Offer", Control.CHOICE, source="offers"),
    ]
    version: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    when: Annotated[When, Input("When", Control.CHOICE, choices=WHEN)] = When.PERIOD_END
    cancellation: Annotated[
        Cancellation,
        Input("Cancellation", Control.CHOICE, choices=CANCELLATION, absent=NOT_CANCELLED),
    ] = Cancellation.KEEP

    def parts(self) -> tuple[object, ...]:
        """Without `cancellation` while it is the default, as before there was one."""
        parts = RepairForm.parts(self)
        return parts[:-1] if self.cancellation is Cancellation.KEEP else parts


@dataclass(frozen=True, slots=True)
class NextInvoice:
    """What renews next, after a move: its price, and when; 0 when the subscription ends then. What
    will have been used beyond the plan by then comes on top; `overage_minor` of that is there
    now."""

    at: datetime
    amount_minor: int
    currency: str
    overage_minor: int


@dataclass(frozen=True, slots=True)
class MovePreview:
    """A move before it is confirmed. `charged_minor` is charged at once, as the provider itself
    calculates it; `change` is what somebody agrees to. `old` is the version that the subscription
    leaves, `replaces` a change that was scheduled. `cancelled_at`: it is cancelled, and would end
    then; `ends_at`: it still is, and ends then. `ends_trial`: its trial ends with the move."""

    old: OfferView
    when: When
    charged_minor: int
    change: ChangePreview
    next_invoice: NextInvoice
    replaces: OfferView | None = None
    cancelled_at: datetime | None = None
    ends_at: datetime | None = None
    ends_trial: bool = False


async def preview(services: RepairServices, request: RepairRequest[Move]) -> MovePreview:
    """What the move would charge now, and what the next invoice will be.

    Raises as the move does, but PaymentDeclinedError: only a charge shows whether the card is good.
    """
    form, now, database = request.form, request.now, services.database
    async with database.reading() as session:
        new = await _find_version(session, form)
        subscription = await _live(session, request.account_id)
    customer_id = await provider_customer(services, request.account_id)
    await services.provider_requests.resolve(request.account_id, customer_id, now)
    async with database.reading() as session:
        row = await reload(session, subscription)
        old = await offer_version(session, row.offer_version_id)
        waiting = row.next_offer_version_id
        replaces = await offer_version(session, waiting) if waiting else None
        if form.when is When.PERIOD_END:
            _require_change(row, new, form)
            change = await preview_later(session, row, new, now)
            overage_minor = await overage_so_far(session, row, now)
            invoice = NextInvoice(
                row.period_end, change.amount_due_minor, new.currency, overage_minor
            )
            return MovePreview(old, form.when, 0, change, invoice, replaces, row.cancel_at)
        proration = await prorate(session, row, new, now)
    price = await ensure_price(database, services.provider, new, now)
    change = await preview_now(services.provider, row, new, proration, price, now)
    assert change.period_end is not None
    ends_at = _still_ends_at(row, form, change.period_end)
    price_minor = 0 if ends_at else new.price_minor * row.quantity
    return MovePreview(
        old,
        form.when,
        change.amount_due_minor,
        change,
        NextInvoice(ends_at or change.period_end, price_minor, new.currency, 0),
        replaces,
        row.cancel_at,
        ends_at,
        ends_trial=row.status == SubscriptionStatus.TRIALING,
    )


async def prepare_move(services: RepairServices, request: RepairRequest[Move]) -> ProviderStep:
    """When the period ends, or now, which charges the customer what the confirmed preview said, or
    raises QuoteOutdatedError.

    Raises AccountNotFoundError, OfferUnknownError, NoSubscriptionError, SubscriptionCancelledError
    when it is cancelled, ends with the period and shall stay so, AlreadyInStateError,
    SameOfferError, CurrencyDiffersError, ChangeLosesValueError, PaymentOverdueError,
    ProviderRequestPendingError, PaymentDeclinedError and what the provider raises.
    """
    form, agreed = request.form, _agreed(request)
    version = form.version or (agreed.offer.version if agreed else None)
    async with services.database.reading() as session:
        new = await _find_version(session, Move(form.offer, version))
        subscription = await _live(session, request.account_id)
    price = await ensure_price(services.database, services.provider, new, request.now)
    at_once = form.when is When.NOW
    operation = Operation.CHANGE_NOW if at_once else Operation.CHANGE_AT_PERIOD_END

    async def decide(session: AsyncSession) -> tuple[Figures, RepairResult]:
        row = await reload(session, subscription)
        parameters: Figures = {"subscription_id": row.provider_id}
        if at_once:
            proration = await prorate(session, row, new, request.now, agreed=agreed)
            parameters |= proration_json(price, proration)
            parameters["keeps_cancellation"] = form.cancellation is Cancellation.KEEP
        else:
            require_other_offer(await offer_version(session, row.offer_version_id), new)
            _require_change(row, new, form)
            parameters |= prices_json(price, await prices_of(session, row))
            parameters["interval"] = str(new.interval)
        return parameters, await _result(session, row, new, request)

    return ProviderStep(
        RequestTarget(operation, f"{subscription.provider_id} {new.version_id}"), decide
    )


async def prepare_undo(services: RepairServices, request: RepairRequest[Any]) -> ProviderStep:
    """Of a move that still waits for the end of the period; what waited before it waits again.
    Raises MoveInForceError, and what a move raises."""
    entry, now = request.entry_undone(), request.now
    async with services.database.reading() as session:
        subscription = await _live(session, request.account_id)
        _require_waiting(subscription, entry)
        earlier_id = entry.before["next_version_id"]
        earlier = await offer_version(session, earlier_id) if earlier_id else None
        replaces = await prices_of(session, subscription)
    parameters: Figures = {"subscription_id": subscription.provider_id}
    if earlier is not None:
        price = await ensure_price(services.database, services.provider, earlier, now)
        target = f"{subscription.provider_id} {earlier.version_id}"
        wanted = RequestTarget(Operation.CHANGE_AT_PERIOD_END, target)
        parameters |= prices_json(price, replaces) | {"interval": str(earlier.interval)}
    else:
        cancels = entry.before["cancel_at_period_end"]
        operation = Operation.CANCEL_AT_PERIOD_END if cancels else Operation.RESUME
        wanted = RequestTarget(operation, subscription.provider_id)

    async def decide(session: AsyncSession) -> tuple[Figures, RepairResult]:
        _require_waiting(await reload(session, subscription), entry)
        return parameters, RepairResult(entry.subject, entry.after, entry.before)

    return ProviderStep(wanted, decide)


def again(entry: AuditEntry) -> tuple[str, Move] | None:
    """None for entries of before 0.2.0, which do not name the offer's code."""
    code, version = entry.after.get("offer_code"), entry.after.get("version")
    return (account_of(entry), Move(code, version, When(entry.after["when"]))) if code else None


def wording(before: Figures, after: Figures) -> str:
    when = "immediately" if after["when"] == When.NOW else "at the end of the period"
    text = f"Moved from {before['offer']} to {after['offer']} {when}"
    if before.get("next_offer"):
        text += f", instead of the scheduled change to {before['next_offer']}"
    if before["cancel_at_period_end"] and "cancel_at_period_end" in after:
        kept = "kept" if after["cancel_at_period_end"] else "withdrawn"
        text += f"; the cancellation was {kept}"
    return text


def _agreed(request: RepairRequest[Move]) -> ChangePreview | None:
    """What somebody confirmed: that version, for that charge."""
    return request.agreed.change if isinstance(request.agreed, MovePreview) else None


async def _live(session: AsyncSession, account_id: int) -> Subscription:
    if await session.get(Account, account_id) is None:
        raise AccountNotFoundError
    row = await live_subscription(session, account_id)
    if row is None:
        raise NoSubscriptionError
    return row


async def _find_version(session: AsyncSession, form: Move) -> OfferView:
    query = (
        select(OfferVersion.id)
        .join(Offer, col(Offer.id) == OfferVersion.offer_id)
        .where(Offer.code == form.offer)
        .order_by(col(OfferVersion.version).desc())
    )
    if form.version is not None:
        query = query.where(OfferVersion.version == form.version)
    version_id = (await session.exec(query)).first()
    if version_id is None:
        which = form.offer if form.version is None else f"{form.offer} version {form.version}"
        raise OfferUnknownError(f"Offer {which} does not exist.", field="offer")
    offer = await offer_version(session, version_id)
    if not offer.is_subscription:
        raise InvalidInputError("A subscription cannot move to a pack.", field="offer")
    return offer


def _still_ends_at(row: Subscription, form: Move, period_end: datetime) -> datetime | None:
    """When a cancelled subscription ends after it was moved now: with the period that begins, or on
    the day that was named. None: it renews."""
    if row.cancel_at is None or form.cancellation is Cancellation.WITHDRAW:
        return None
    return period_end if row.cancel_at == row.period_end else row.cancel_at


def _require_change(row: Subscription, new: OfferView, form: Move) -> None:
    if row.cancel_at is not None and form.cancellation is Cancellation.KEEP:
        raise SubscriptionCancelledError(
            f"It ends on {row.cancel_at:%-d %B %Y}. Withdraw the cancellation to move it at the"
            " end of the period, or move it now.",
            ends_at=stored(row.cancel_at),
        )
    if row.next_offer_version_id == new.version_id:
        raise AlreadyInStateError(
            f"A move to {new.name} at the end of the period is already scheduled."
        )


async def _result(
    session: AsyncSession, row: Subscription, new: OfferView, request: RepairRequest[Move]
) -> RepairResult:
    old, when = await offer_version(session, row.offer_version_id), request.form.when
    waiting = row.next_offer_version_id
    stays_cancelled = request.form.cancellation is Cancellation.KEEP and row.cancel_at_period_end
    before = {
        "offer": old.name,
        "version_id": old.version_id,
        "next_version_id": waiting,
        "next_offer": (await offer_version(session, waiting)).name if waiting else None,
        "cancel_at_period_end": row.cancel_at_period_end,
    }
    after = {
        "offer": new.name,
        "offer_code": new.code,
        "version": new.version,
        "version_id": new.version_id,
        "when": str(when),
        "period_end": stored(row.period_end),
        "cancel_at_period_end": stays_cancelled,
    }
    agreed = _agreed(request)
    if agreed is not None and when is When.NOW:
        after |= {"charged_minor": agreed.amount_due_minor, "currency": agreed.currency}
    return RepairResult(ids.encode(SUBSCRIPTION, row.account_id, row.number), before, after)


def _require_waiting(row: Subscription, entry: AuditEntry) -> None:
    waits = entry.after["when"] == When.PERIOD_END
    if not waits or row.next_offer_version_id != entry.after["version_id"]:
        raise MoveInForceError(
            "The move has taken effect or was changed. Move the subscription again, and"
            " refund the charge at the payment provider.",
            version_id=row.offer_version_id,
            next_version_id=row.next_offer_version_id,
        )


MOVE_OFFER: Final = Repair(
    name="move_offer",
    action=Action.MOVE_OFFER,
    target=ACCOUNT,
    path="offer",
    title="Move to another offer",
    explanation="Moves the subscription to another offer version, the newest by default.",
    form=Move,
    preview=preview,
    apply=AtProvider(prepare_move),
    undo=AtProvider(prepare_undo),
    wording=wording,
    worded=frozenset({"next_offer", "cancel_at_period_end"}),
    shown=Shown.WITH_SUBSCRIPTION,
    preview_route=PreviewRoute(
        "preview_move",
        "PreviewMove",
        "What the move would charge now, as calculated by Stripe, and what the next invoice will"
        " be.",
        preview,
    ),
    needs_provider=True,
    again=again,
)
