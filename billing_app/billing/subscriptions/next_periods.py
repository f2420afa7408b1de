"""Beginning the next period of a subscription now: a change to its own offer."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferView, find_offer, offer_version
from billing_app.billing.subscriptions.proration import (
    ChangePreview,
    may_begin_next_period,
    preview_now,
    prorate,
)
from billing_app.billing.subscriptions.provider import PaymentProvider, ProviderPrice
from billing_app.billing.subscriptions.purchase_rules import FreePeriodUsedError
from billing_app.db.engine import Database
from billing_app.db.enums import When
from billing_app.db.tables import Subscription


def require_charge(row: Subscription, preview: ChangePreview) -> ChangePreview:
    """The preview. Raises FreePeriodUsedError for a next period that costs nothing: it would be
    begun again and again."""
    if preview.offer.version_id == row.offer_version_id and preview.amount_due_minor == 0:
        raise FreePeriodUsedError("The next period begins when this one ends.")
    return preview


async def require_charge_of(
    change: tuple[Subscription, OfferView, ProviderPrice],
    agreed: ChangePreview | None,
    database: Database,
    provider: PaymentProvider,
    now: datetime,
) -> None:
    """As `require_charge`, before a change that has no preview yet. Raises what that raises."""
    row, new, price = change
    if new.version_id != row.offer_version_id:
        return
    async with database.reading() as session:
        if not await may_begin_next_period(session, row, now):
            return
        proration = await prorate(session, row, new, now, agreed=agreed)
    require_charge(row, await preview_now(provider, row, new, proration, price, now))


async def offer_to_change_to(
    session: AsyncSession, row: Subscription, code: str, when: When, now: datetime
) -> OfferView:
    """The offer of a change. A next period that begins now has the terms that the subscription
    has, even if the offer has newer ones. Raises OfferUnknownError, InvalidInputError."""
    own = await offer_version(session, row.offer_version_id)
    is_own = code == own.code and when is When.NOW
    if is_own and await may_begin_next_period(session, row, now):
        return own
    offer = await find_offer(session, code)
    if not offer.is_subscription:
        raise InvalidInputError(
            "A subscription cannot change to a pack. Buy the pack instead.", field="offer"
        )
    return offer
