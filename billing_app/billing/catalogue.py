"""The plan catalogue: what can be bought, in immutable versions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import OperatorActor, require_operator
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.db.engine import Database
from billing_app.db.tables import Offer, OfferVersion
from billing_app.db.words import Interval, Overage

MAX_OFFERS: Final = 200


class OfferUnknownError(InvalidInputError):
    code = "offer_unknown"
    title = "There is no such offer"


class OfferTakenError(ConflictError):
    code = "offer_taken"
    title = "An offer has this code already"


@dataclass(frozen=True, slots=True)
class OfferView:
    """One version of an offer; `price_minor` is for one interval."""

    code: str
    version: int
    version_id: int
    name: str
    description: str
    executions: int
    price_minor: int
    currency: str
    interval: Interval

    @property
    def is_subscription(self) -> bool:
        return self.interval is not Interval.ONCE


@dataclass(frozen=True, slots=True)
class OfferTerms:
    """What a new version says."""

    name: str
    description: str
    executions: int
    price_minor: int
    currency: str
    interval: Interval


async def publish_offer(
    database: Database, actor: OperatorActor, *, code: str, terms: OfferTerms, now: datetime
) -> OfferView:
    """Make an offer with its first version. Raises OfferTakenError, InvalidInputError."""
    require_operator(actor)
    if terms.executions < 1 or terms.price_minor < 0 or not terms.name.strip():
        raise InvalidInputError("An offer needs a name, executions and a price.")
    offer = Offer(code=code, created_at=now)
    try:
        async with database.transaction() as session:
            session.add(offer)
            await session.flush()
            assert offer.id is not None
            version = _version(offer.id, 1, terms, now)
            session.add(version)
            await session.flush()
    except IntegrityError:
        raise OfferTakenError(offer=code) from None
    return _view(offer, version)


async def list_offers(database: Database) -> list[OfferView]:
    """The newest version of each visible offer, in the catalogue's order. Public."""
    query = (
        select(Offer, OfferVersion)
        .join(OfferVersion, col(OfferVersion.offer_id) == Offer.id)
        .where(col(Offer.archived_at).is_(None))
        .where(col(Offer.visible).is_(True))
        .order_by(col(Offer.position), col(Offer.id), col(OfferVersion.version).desc())
        .distinct(col(Offer.position), col(Offer.id))
        .limit(MAX_OFFERS)
    )
    async with database.reading() as session:
        return [_view(offer, version) for offer, version in (await session.exec(query)).all()]


async def find_offer(session: AsyncSession, code: str) -> OfferView:
    """The newest version of an offer that can be bought. Raises OfferUnknownError."""
    query = (
        select(Offer, OfferVersion)
        .join(OfferVersion, col(OfferVersion.offer_id) == Offer.id)
        .where(Offer.code == code)
        .where(col(Offer.archived_at).is_(None))
        .order_by(col(OfferVersion.version).desc())
    )
    row = (await session.exec(query)).first()
    if row is None:
        raise OfferUnknownError(f"There is no offer {code}.", field="offer")
    return _view(*row)


async def offer_version(session: AsyncSession, version_id: int) -> OfferView:
    version = await session.get(OfferVersion, version_id)
    assert version is not None
    offer = await session.get(Offer, version.offer_id)
    assert offer is not None
    return _view(offer, version)


def _version(offer_id: int, number: int, terms: OfferTerms, now: datetime) -> OfferVersion:
    return OfferVersion(
        offer_id=offer_id,
        version=number,
        name=terms.name.strip(),
        description=terms.description,
        executions=terms.executions,
        price_minor=terms.price_minor,
        currency=terms.currency,
        interval=terms.interval,
        overage=Overage.HARD,
        created_at=now,
    )


def _view(offer: Offer, version: OfferVersion) -> OfferView:
    assert version.id is not None
    return OfferView(
        code=offer.code,
        version=version.version,
        version_id=version.id,
        name=version.name,
        description=version.description,
        executions=version.executions,
        price_minor=version.price_minor,
        currency=version.currency,
        interval=Interval(version.interval),
    )
