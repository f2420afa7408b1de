"""The plan catalogue: offers in immutable versions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import OperatorActor, require_operator
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.money import (
    Money,
    check_chargeable,
    check_currency,
    cost_of_units_begun,
)
from billing_app.db.engine import Database
from billing_app.db.enums import Interval, Overage
from billing_app.db.tables import Offer, OfferVersion
from billing_app.db.tables.plans import OVERAGE_PRIORITY, PACK_PRIORITY, QUEUE_PRIORITY

MAX_OFFERS: Final = 200
MAX_NAME_LENGTH: Final = 250
MAX_PRIORITY: Final = OVERAGE_PRIORITY - 1
MAX_DESCRIPTION_LENGTH: Final = 1_000
MAX_OFFER_EXECUTIONS: Final = 10**12
# docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
MAX_PRICE_MINOR: Final = 99_999_999
# docs.stripe.com/billing/subscriptions/trials
MAX_TRIAL_DAYS: Final = 730
MAX_VALID_DAYS: Final = 3_650


class OfferUnknownError(InvalidInputError):
    code = "offer_unknown"
    title = "Offer not found"


class OfferTakenError(ConflictError):
    code = "offer_taken"
    title = "An offer with this code already exists"


@dataclass(frozen=True, slots=True)
class OverageTerms:
    """A soft limit: overage costs `unit_price_minor` for each `unit_executions` begun, up to
    `limit_executions` in a period (None: the offer has no limit).
    """

    unit_price_minor: int
    unit_executions: int = 1
    limit_executions: int | None = None

    def cost_minor(self, executions: int) -> int:
        """What that many executions of one period cost."""
        return cost_of_units_begun(executions, self.unit_executions, self.unit_price_minor)


@dataclass(frozen=True, slots=True)
class OfferView:
    """One version of an offer; `price_minor` is for one interval. `overage` None: a hard limit."""

    code: str
    version: int
    version_id: int
    name: str
    description: str
    executions: int
    price_minor: int
    currency: str
    interval: Interval
    overage: OverageTerms | None
    valid_days: int | None
    priority: int
    trial_days: int

    @property
    def price(self) -> Money:
        return Money(self.price_minor, self.currency)

    @property
    def is_subscription(self) -> bool:
        return self.interval is not Interval.ONCE


@dataclass(frozen=True, slots=True)
class OfferTerms:
    """The terms of a new version.

    `overage` and `trial_days` are for subscriptions, `valid_days` for packs (None: no expiry).
    `priority` None: subscriptions are used before packs.
    """

    name: str
    description: str
    executions: int
    price_minor: int
    currency: str
    interval: Interval
    overage: OverageTerms | None = None
    valid_days: int | None = None
    priority: int | None = None
    trial_days: int = 0

    @property
    def price(self) -> Money:
        return Money(self.price_minor, self.currency)


async def publish_offer(
    database: Database,
    actor: OperatorActor,
    *,
    code: str,
    terms: OfferTerms,
    now: datetime,
    position: int = 0,
) -> OfferView:
    """Create an offer with its first version, at its position in the list. Raises OfferTakenError,
    InvalidInputError."""
    require_operator(actor)
    check_terms(terms)
    offer = Offer(code=code, position=position, created_at=now)
    try:
        async with database.transaction() as session:
            session.add(offer)
            await session.flush()
            assert offer.id is not None
            version = new_version(offer.id, 1, terms, now)
            session.add(version)
            await session.flush()
    except IntegrityError:
        raise OfferTakenError(offer=code) from None
    return _view(offer, version)


def check_terms(terms: OfferTerms) -> None:
    """Raises InvalidInputError with the field that no version may have."""
    _require(
        "name",
        1 <= len(terms.name.strip()) <= MAX_NAME_LENGTH and "\0" not in terms.name,
        f"The name must have 1 to {MAX_NAME_LENGTH} characters.",
    )
    _require(
        "description",
        len(terms.description) <= MAX_DESCRIPTION_LENGTH and "\0" not in terms.description,
        "The description must have at most 1,000 characters.",
    )
    _require_number("executions", terms.executions, 1, MAX_OFFER_EXECUTIONS)
    _require_number("price_minor", terms.price_minor, 0, MAX_PRICE_MINOR)
    check_currency(terms.currency)
    check_chargeable(terms.price, field="price_minor")
    is_pack = terms.interval is Interval.ONCE
    if terms.priority is not None:
        _require_number("priority", terms.priority, 1, MAX_PRIORITY)
    _require_number("trial_days", terms.trial_days, 0, 0 if is_pack else MAX_TRIAL_DAYS)
    if terms.valid_days is not None:
        _require("valid_days", is_pack, "Only a pack can expire after a number of days.")
        _require_number("valid_days", terms.valid_days, 1, MAX_VALID_DAYS)
    if terms.overage is not None:
        _require("overage", not is_pack, "Only a subscription can have a soft limit.")
        _check_overage(terms.overage, terms.currency)


def _check_overage(overage: OverageTerms, currency: str) -> None:
    _require_number("overage_unit_price_minor", overage.unit_price_minor, 1, MAX_PRICE_MINOR)
    price = Money(overage.unit_price_minor, currency)
    check_chargeable(price, field="overage_unit_price_minor")
    _require_number("overage_unit_executions", overage.unit_executions, 1, MAX_OFFER_EXECUTIONS)
    if overage.limit_executions is not None:
        _require_number(
            "overage_limit_executions", overage.limit_executions, 1, MAX_OFFER_EXECUTIONS
        )


def _require_number(field: str, value: int, least: int, most: int) -> None:
    _require(field, least <= value <= most, f"{field} must be from {least} to {most}.")


def _require(field: str, is_valid: bool, detail: str) -> None:
    if not is_valid:
        raise InvalidInputError(detail, field=field)


async def list_offers(database: Database) -> list[OfferView]:
    """The newest version of each visible offer, by position and then code. Public."""
    query = (
        select(Offer, OfferVersion)
        .join(OfferVersion, col(OfferVersion.offer_id) == Offer.id)
        .where(col(Offer.archived_at).is_(None))
        .where(col(Offer.visible).is_(True))
        .order_by(col(Offer.position), col(Offer.code), col(OfferVersion.version).desc())
        .ext(distinct_on(col(Offer.position), col(Offer.code)))
        .limit(MAX_OFFERS)
    )
    async with database.reading() as session:
        return [_view(offer, version) for offer, version in (await session.exec(query)).all()]


async def find_offer(session: AsyncSession, code: str) -> OfferView:
    """The newest version of an offer on sale. Raises OfferUnknownError."""
    query = (
        select(Offer, OfferVersion)
        .join(OfferVersion, col(OfferVersion.offer_id) == Offer.id)
        .where(Offer.code == code)
        .where(col(Offer.archived_at).is_(None))
        .order_by(col(OfferVersion.version).desc())
    )
    row = (await session.exec(query)).first()
    if row is None:
        raise OfferUnknownError(f"Offer {code} does not exist.", field="offer")
    return _view(*row)


async def newest_version(session: AsyncSession, offer_id: int) -> tuple[OfferView, bool]:
    """The newest version of an existing offer, and whether it is still on sale."""
    query = (
        select(Offer, OfferVersion)
        .join(OfferVersion, col(OfferVersion.offer_id) == Offer.id)
        .where(Offer.id == offer_id)
        .order_by(col(OfferVersion.version).desc())
        .limit(1)
    )
    offer, version = (await session.exec(query)).one()
    return _view(offer, version), offer.archived_at is None


async def offer_version(session: AsyncSession, version_id: int) -> OfferView:
    version = await session.get(OfferVersion, version_id)
    assert version is not None
    offer = await session.get(Offer, version.offer_id)
    assert offer is not None
    return _view(offer, version)


async def offer_versions(session: AsyncSession, version_ids: Iterable[int]) -> dict[int, OfferView]:
    """By the version's id."""
    query = (
        select(Offer, OfferVersion)
        .join(OfferVersion, col(OfferVersion.offer_id) == Offer.id)
        .where(col(OfferVersion.id).in_(set(version_ids)))
    )
    views = [_view(*row) for row in await session.exec(query)]
    return {view.version_id: view for view in views}


def new_version(offer_id: int, number: int, terms: OfferTerms, now: datetime) -> OfferVersion:
    """A row with the terms, which have passed check_terms."""
    overage = terms.overage
    usual = PACK_PRIORITY if terms.interval is Interval.ONCE else QUEUE_PRIORITY
    return OfferVersion(
        offer_id=offer_id,
        version=number,
        name=terms.name.strip(),
        description=terms.description,
        executions=terms.executions,
        price_minor=terms.price_minor,
        currency=terms.currency,
        interval=terms.interval,
        trial_days=terms.trial_days,
        overage=Overage.SOFT if overage else Overage.HARD,
        overage_unit_price_minor=overage.unit_price_minor if overage else None,
        overage_unit_executions=overage.unit_executions if overage else 1,
        overage_limit_executions=overage.limit_executions if overage else None,
        valid_days=terms.valid_days,
        priority=usual if terms.priority is None else terms.priority,
        created_at=now,
    )


def terms_of(version: OfferVersion) -> OfferTerms:
    return OfferTerms(**_terms(version))


def _view(offer: Offer, version: OfferVersion) -> OfferView:
    assert version.id is not None
    terms = _terms(version)
    return OfferView(code=offer.code, version=version.version, version_id=version.id, **terms)


def _terms(version: OfferVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "description": version.description,
        "executions": version.executions,
        "price_minor": version.price_minor,
        "currency": version.currency,
        "interval": Interval(version.interval),
        "overage": _overage(version),
        "valid_days": version.valid_days,
        "priority": version.priority,
        "trial_days": version.trial_days,
    }


def _overage(version: OfferVersion) -> OverageTerms | None:
    if version.overage_unit_price_minor is None:
        return None
    return OverageTerms(
        unit_price_minor=version.overage_unit_price_minor,
        unit_executions=version.overage_unit_executions,
        limit_executions=version.overage_limit_executions,
    )
