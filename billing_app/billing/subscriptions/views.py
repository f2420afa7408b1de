"""A subscription as the account sees it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.subscriptions.purchase_outcomes import PurchaseOutcome, outcome_of
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus
from billing_app.db.tables import Invoice, Subscription

SUBSCRIPTION: Final = "sub_"


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription as the account sees it. `ends_at`: of a cancelled one, when it ends; else the
    end of its period. `is_collecting`: False while nothing is charged for its renewals. `payment`:
    of its newest invoice; None: it has none."""

    id: str
    account_id: str
    status: SubscriptionStatus
    offer: OfferView
    next_offer: OfferView | None
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    ends_at: datetime
    is_collecting: bool
    quantity: int
    past_due_since: datetime | None
    ended_at: datetime | None
    payment: PurchaseOutcome | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """Either the subscription, charged to the card on file, or the checkout to pay in."""

    subscription: SubscriptionView | None
    checkout_url: str | None


async def subscription_view(session: AsyncSession, row: Subscription) -> SubscriptionView:
    following = row.next_offer_version_id
    return SubscriptionView(
        id=ids.encode(SUBSCRIPTION, row.account_id, row.number),
        account_id=ids.encode_account(row.account_id),
        status=SubscriptionStatus(row.status),
        offer=await offer_version(session, row.offer_version_id),
        next_offer=await offer_version(session, following) if following else None,
        period_start=row.period_start,
        period_end=row.period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        ends_at=row.cancel_at or row.period_end,
        is_collecting=row.is_collecting,
        quantity=row.quantity,
        past_due_since=row.past_due_since,
        ended_at=row.ended_at,
        payment=await _payment(session, row),
    )


async def _payment(session: AsyncSession, row: Subscription) -> PurchaseOutcome | None:
    """Invoices of the same second are in the order of their numbers."""
    query = (
        select(Invoice)
        .where(Invoice.account_id == row.account_id)
        .where(Invoice.subscription_provider_id == row.provider_id)
        .where(Invoice.status != InvoiceStatus.DRAFT)
        .order_by(col(Invoice.issued_at).desc(), col(Invoice.number).desc())
        .limit(1)
    )
    invoice = (await session.exec(query)).first()
    return outcome_of(invoice) if invoice else None
