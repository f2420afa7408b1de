"""What an account may not buy, told before anything is charged."""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.errors import ConflictError
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.errors import CurrencyDiffersError
from billing_app.db.tables import Offer, OfferVersion, Subscription


class FreePeriodUsedError(ConflictError):
    code = "free_period_used"
    title = "This free plan has already been used for the current period"


async def require_buyable(
    session: AsyncSession, account_id: int, offer: OfferView, now: datetime
) -> None:
    """Raises AccountClosedError, CurrencyDiffersError, FreePeriodUsedError."""
    await require_not_closed(session, account_id)
    await require_same_currency(session, account_id, offer)
    if offer.is_subscription and offer.price_minor == 0:
        until = await _free_until(session, account_id, offer, now)
        if until is not None:
            raise FreePeriodUsedError(
                f"You can start it again on {until:%Y-%m-%d}.", available_at=until
            )


async def require_same_currency(session: AsyncSession, account_id: int, offer: OfferView) -> None:
    """A customer with a subscription pays everything in its currency
    (docs.stripe.com/billing/customer#currency). Raises CurrencyDiffersError."""
    live = await live_subscription(session, account_id)
    if live is None:
        return
    current = await offer_version(session, live.offer_version_id)
    if current.currency != offer.currency:
        raise CurrencyDiffersError


async def _free_until(
    session: AsyncSession, account_id: int, offer: OfferView, now: datetime
) -> datetime | None:
    """The end of the free period that was taken and given up."""
    query = (
        select(Subscription.period_end)
        .join(OfferVersion, col(OfferVersion.id) == Subscription.offer_version_id)
        .join(Offer, col(Offer.id) == OfferVersion.offer_id)
        .where(Subscription.account_id == account_id, Offer.code == offer.code)
        .where(Subscription.period_end > now)
        .where(OfferVersion.price_minor == 0)
        .order_by(col(Subscription.period_end).desc())
    )
    return (await session.exec(query)).first()
