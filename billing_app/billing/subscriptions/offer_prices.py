"""The price of an offer in the payment provider's catalogue, created when first needed."""

from datetime import datetime

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select

from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import OfferView, list_offers
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    PriceTerms,
    ProviderPrice,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    OfferUnavailableError,
    PaymentProviderFailedError,
)
from billing_app.db.engine import Database
from billing_app.db.tables import (
    OfferPrice,
    OfferVersion,
)

log = structlog.get_logger(__name__)


async def ensure_price(
    database: Database, provider: PaymentProvider, offer: OfferView, now: datetime
) -> ProviderPrice:
    """The offer's prices at the provider; with a soft limit, a metered price too.

    They can be bought: what is sold is decided here, so what was archived at the provider is put
    on sale again. It is looked up before each purchase, because the provider repeats a refusal
    under its key. Raises OfferUnavailableError.
    """
    price = await known_price(database, offer) or await _make_price(database, provider, offer, now)
    try:
        await provider.activate(price)
    except (NotAtProviderError, PaymentProviderFailedError) as error:
        log.warning("offer_unavailable", offer=offer.code, price_id=price.price_id, code=error.code)
        raise OfferUnavailableError(
            "It was archived at the payment provider. Nothing was charged; our staff can see it.",
            offer=offer.code,
        ) from None
    return price


async def ensure_prices(database: Database, provider: PaymentProvider, now: datetime) -> None:
    """Of all offers on sale. A restored database learns so of prices that were created since its
    backup: whoever bought one of them has paid for a plan."""
    for offer in await list_offers(database):
        try:
            await ensure_price(database, provider, offer, now)
        except BillingError as error:
            log.warning("offer_unavailable", offer=offer.code, code=error.code)


async def known_price(database: Database, offer: OfferView) -> ProviderPrice | None:
    """The offer's prices; None: not all of them were created yet."""
    async with database.reading() as session:
        known = await session.get(OfferPrice, offer.version_id)
    if known is None or (known.overage_price_id is None and offer.overage is not None):
        return None
    return ProviderPrice(known.price_id, known.overage_price_id, known.product_id)


async def _make_price(
    database: Database, provider: PaymentProvider, offer: OfferView, now: datetime
) -> ProviderPrice:
    reference = f"{offer.code}-v{offer.version}"
    terms = PriceTerms(
        reference=reference,
        name=offer.name,
        description=offer.description,
        price=offer.price,
        interval=offer.interval,
        overage=offer.overage,
    )
    snapshot = await provider.ensure_price(terms, key=f"offer-{reference}")
    values = {
        "product_id": snapshot.product_id,
        "price_id": snapshot.price_id,
        "overage_price_id": snapshot.overage_price_id,
    }
    statement = (
        insert(OfferPrice)
        .values(offer_version_id=offer.version_id, created_at=now, **values)
        .on_conflict_do_update(index_elements=["offer_version_id"], set_=values)
    )
    # Concurrent requests for the same price wait here: the statement resolves conflicts of its own
    # key, and a price that exists already violates another one.
    version = select(OfferVersion.id).where(OfferVersion.id == offer.version_id)
    async with database.transaction() as session:
        await session.exec(version.with_for_update(key_share=True))
        await (await session.connection()).execute(statement)
    return snapshot
