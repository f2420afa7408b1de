"""The catalogue as staff see it: drafts, versions, and how many accounts are on which."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.catalogue import OfferTerms, terms_of
from billing_app.billing.errors import NotFoundError
from billing_app.billing.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.billing.staff.customers import CustomerRow, read_customers
from billing_app.billing.staff.drafts import DraftView, newest_draft
from billing_app.billing.staff.permissions import Action, require
from billing_app.db.engine import Database
from billing_app.db.tables import Offer, OfferPrice, OfferVersion

MAX_LISTED: Final = 500
# Who has a live subscription of a version, or a plan made from it that has not ended.
HOLDERS: Final = """
    SELECT account_id, offer_version_id FROM subscriptions WHERE ended_at IS NULL
    UNION
    SELECT account_id, offer_version_id FROM plans
    WHERE offer_version_id IS NOT NULL AND ended_at IS NULL AND (ends_at IS NULL OR ends_at > :now)
"""


class OfferNotFoundError(NotFoundError):
    code = "offer_not_found"
    title = "No such offer"


class OfferState(StrEnum):
    """A draft has no version yet."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer in the list. `version` None: nothing is published. `draft`: what it shall say
    next, or says; `has_edits`: not all of that is published. `accounts`: on any version."""

    code: str
    state: OfferState
    version: int | None
    draft: DraftView
    has_edits: bool
    accounts: int
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A published version. `product_id` and `price_id` are the provider's; None before the
    first use of a version that was not published by staff."""

    version: int
    terms: OfferTerms
    published_at: datetime
    product_id: str | None
    price_id: str | None
    accounts: int


@dataclass(frozen=True, slots=True)
class OfferDetail:
    """An offer with all its versions, newest first."""

    row: OfferRow
    versions: list[VersionRow]


async def list_staff_offers(
    database: Database, actor: Actor, *, now: datetime, state: OfferState | None = None
) -> list[OfferRow]:
    """In the catalogue's order, at most MAX_LISTED. Raises ForbiddenError."""
    require(actor, Action.READ)
    query = select(Offer).order_by(col(Offer.position), col(Offer.id)).limit(MAX_LISTED)
    async with database.reading() as session:
        offers = (await session.exec(query)).all()
        counts = await _accounts_by_version(session, now)
        rows = [(await _detail(session, offer, counts)).row for offer in offers]
    return [row for row in rows if state is None or row.state is state]


async def read_offer(database: Database, actor: Actor, code: str, now: datetime) -> OfferDetail:
    """Raises ForbiddenError, OfferNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        offer = await find_any_offer(session, code)
        return await _detail(session, offer, await _accounts_by_version(session, now))


async def list_accounts_on(
    database: Database,
    actor: Actor,
    code: str,
    version: int,
    *,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[CustomerRow]:
    """Who is on a version, by account. Raises as read_offer, InvalidInputError."""
    require(actor, Action.READ)
    check_limit(limit)
    after = decode_cursor(cursor, int) if cursor else 0
    statement = text(f"""
        SELECT account_id FROM ({HOLDERS}) AS holders
        WHERE offer_version_id = :version AND account_id > :after
        ORDER BY account_id LIMIT :limit""")  # noqa: S608
    async with database.reading() as session:
        offer = await find_any_offer(session, code)
        version_id = await _version_id(session, offer, version)
        values = {"now": now, "version": version_id, "after": after, "limit": limit + 1}
        found = [
            row[0] for row in (await (await session.connection()).execute(statement, values)).all()
        ]
        rows = await read_customers(session, found[:limit], now)
    return Page(rows, encode_cursor(found[limit - 1]) if len(found) > limit else None)


async def find_any_offer(session: AsyncSession, code: str, *, lock: bool = False) -> Offer:
    """Also one without a version, or an archived one. Raises OfferNotFoundError."""
    query = select(Offer).where(Offer.code == code)
    offer = (await session.exec(query.with_for_update() if lock else query)).first()
    if offer is None:
        raise OfferNotFoundError(f"There is no offer {code}.")
    return offer


async def _version_id(session: AsyncSession, offer: Offer, version: int) -> int:
    query = select(OfferVersion.id).where(OfferVersion.offer_id == offer.id)
    found = (await session.exec(query.where(OfferVersion.version == version))).first()
    if found is None:
        raise OfferNotFoundError(f"The offer {offer.code} has no version {version}.")
    return found


async def _accounts_by_version(session: AsyncSession, now: datetime) -> dict[int, int]:
    statement = text(f"SELECT offer_version_id, count(*) FROM ({HOLDERS}) AS holders GROUP BY 1")  # noqa: S608
    rows = await (await session.connection()).execute(statement, {"now": now})
    return {row[0]: row[1] for row in rows.all()}


async def _detail(session: AsyncSession, offer: Offer, counts: dict[int, int]) -> OfferDetail:
    query = (
        select(OfferVersion, OfferPrice)
        .join(OfferPrice, col(OfferPrice.offer_version_id) == OfferVersion.id, isouter=True)
        .where(OfferVersion.offer_id == offer.id)
        .order_by(col(OfferVersion.version).desc())
    )
    versions = [
        VersionRow(
            version=version.version,
            terms=terms_of(version),
            published_at=version.created_at,
            product_id=price.product_id if price else None,
            price_id=price.price_id if price else None,
            accounts=counts.get(version.id or 0, 0),
        )
        for version, price in (await session.exec(query)).all()
    ]
    draft = await newest_draft(session, offer)
    state = OfferState.PUBLISHED if versions else OfferState.DRAFT
    row = OfferRow(
        code=offer.code,
        state=OfferState.ARCHIVED if offer.archived_at else state,
        version=versions[0].version if versions else None,
        draft=draft,
        has_edits=draft.revision != offer.published_revision,
        accounts=sum(version.accounts for version in versions),
        archived_at=offer.archived_at,
    )
    return OfferDetail(row, versions)
