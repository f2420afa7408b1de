"""Ending a live subscription at once, at the payment provider: one of two, or the only one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.reports import OverageReports
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.repairs.fields import Control, Input, RepairForm, stored
from billing_app.billing.staff.repairs.moves import NoSubscriptionError
from billing_app.billing.staff.repairs.provider_driver import AtProvider, ProviderStep
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    Figures,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    Shown,
)
from billing_app.billing.subscriptions.errors import SubscriptionEndedError
from billing_app.billing.subscriptions.proration import reload
from billing_app.billing.subscriptions.provider import ENDED
from billing_app.billing.subscriptions.provider_request_recovery import RequestTarget
from billing_app.billing.subscriptions.provider_requests import Operation
from billing_app.billing.subscriptions.views import SUBSCRIPTION
from billing_app.db.enums import PlanSource
from billing_app.db.tables import Account, Invoice, Plan, Subscription


@dataclass(frozen=True)
class Cancellation(RepairForm):
    """`subscription`: its id at the payment provider."""

    subscription: Annotated[
        str,
        Field(min_length=1, max_length=255),
        Input("Subscription", Control.CHOICE, source="subscriptions"),
    ]


@dataclass(frozen=True, slots=True)
class CancellationPreview:
    """`plans_remaining`: of the plans that end with it, by name. `stays`: the offer of the
    account's other live subscription."""

    offer: OfferView
    period_end: datetime
    plans_remaining: list[tuple[str, int]]
    stays: OfferView | None


async def preview(
    services: RepairServices, request: RepairRequest[Cancellation]
) -> CancellationPreview:
    """Raises AccountNotFoundError, NoSubscriptionError, SubscriptionEndedError."""
    async with services.database.reading() as session:
        row = await _live(session, request)
        plans = (await session.exec(_plans_of(row, request.now))).all()
        other = await _other(session, row)
        return CancellationPreview(
            offer=await offer_version(session, row.offer_version_id),
            period_end=row.period_end,
            plans_remaining=[
                (each.name, each.executions - each.used - each.held) for each in plans
            ],
            stays=await offer_version(session, other.offer_version_id) if other else None,
        )


async def prepare(services: RepairServices, request: RepairRequest[Cancellation]) -> ProviderStep:
    """Nothing is refunded; what the meter counted is billed. The account's other live subscription,
    if it has one, stays. Raises as the preview, and what the provider raises."""
    async with services.database.reading() as session:
        row = await _live(session, request)
    await OverageReports(services.database, services.provider).account(row.account_id, request.now)

    async def decide(session: AsyncSession) -> tuple[Figures, RepairResult]:
        subscription = await reload(session, row)
        offer = await offer_version(session, subscription.offer_version_id)
        before = {"offer": offer.name, "period_end": stored(subscription.period_end)}
        subject = ids.encode(SUBSCRIPTION, row.account_id, row.number)
        after = {"ended_at": stored(request.now)}
        return {"subscription_id": row.provider_id}, RepairResult(subject, before, after)

    return ProviderStep(RequestTarget(Operation.CANCEL_NOW, row.provider_id), decide)


def wording(before: Figures, _: Figures) -> str:
    return f"Subscription to {before['offer']} cancelled, effective immediately"


async def _live(session: AsyncSession, request: RepairRequest[Cancellation]) -> Subscription:
    if await session.get(Account, request.account_id) is None:
        raise AccountNotFoundError
    query = (
        select(Subscription)
        .where(Subscription.account_id == request.account_id)
        .where(Subscription.provider_id == request.form.subscription)
    )
    row = (await session.exec(query)).first()
    if row is None:
        raise NoSubscriptionError("This account has no such subscription.")
    if row.status in ENDED:
        raise SubscriptionEndedError
    return row


async def _other(session: AsyncSession, row: Subscription) -> Subscription | None:
    query = (
        select(Subscription)
        .where(Subscription.account_id == row.account_id)
        .where(Subscription.number != row.number)
        .where(col(Subscription.status).not_in(ENDED))
    )
    return (await session.exec(query)).first()


def _plans_of(row: Subscription, now: datetime):  # noqa: ANN202 - SQLModel's own name is private
    """The plans that its invoices gave and that have not ended."""
    return (
        select(Plan)
        .join(
            Invoice,
            (col(Invoice.account_id) == Plan.account_id)
            & (col(Invoice.provider_id) == Plan.source_reference),
        )
        .where(Plan.account_id == row.account_id, Plan.source == PlanSource.SUBSCRIPTION)
        .where(Invoice.subscription_provider_id == row.provider_id)
        .where(col(Plan.ended_at).is_(None), col(Plan.ends_at) > now)
        .order_by(col(Plan.sequence))
    )


CANCEL_SUBSCRIPTION: Final = Repair(
    name="cancel_subscription",
    action=Action.CANCEL_SUBSCRIPTION,
    target=ACCOUNT,
    path="subscriptions/cancel",
    title="Cancel a subscription",
    explanation="Ends a subscription and its plan at once. Nothing is refunded. Not undoable.",
    form=Cancellation,
    preview=preview,
    apply=AtProvider(prepare),
    undo=None,
    wording=wording,
    shown=Shown.WITH_SUBSCRIPTION,
    is_harsh=True,
    needs_provider=True,
)
