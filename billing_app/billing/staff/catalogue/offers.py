"""The catalogue as staff see it: drafts, versions, and how many accounts use each."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting, Span
from billing_app.billing.offers.catalogue import OfferTerms, terms_of
from billing_app.billing.plans.usable import is_open, is_waiting_bridge
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.catalogue.drafts import DraftView, newest_draft
from billing_app.billing.staff.customers.customers import CustomerRow, read_customers
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Interval
from billing_app.db.tables import Offer, OfferPrice, OfferVersion

MAX_LISTED: Final = 500
# On a version are those with a live subscription of it, or a plan made from it that has not ended.
# Sets of accounts, not looked up row by row: on a cluster plans are on other nodes.
HAS_KIND: Final = "account_id IN (SELECT id FROM accounts WHERE kind = '{kind}')"
OWES: Final = (
    "account_id {wanted} (SELECT account_id FROM subscriptions"
    " WHERE past_due_since IS NOT NULL AND ended_at IS NULL)"
)
# An account counts once, as it does in the list of who is on a version.
COUNTED: Final = f"""
    SELECT offer_version_id, count(*) FROM (
        SELECT offer_version_id, account_id FROM subscriptions WHERE ended_at IS NULL
        UNION
        SELECT offer_version_id, account_id FROM plans AS plan
        WHERE offer_version_id IS NOT NULL AND {is_open("plan")}
          AND NOT ({is_waiting_bridge("plan")})
    ) AS counted GROUP BY 1
"""  # noqa: S608


class OfferNotFoundError(NotFoundError):
    code = "offer_not_found"
    title = "Offer not found"


class OfferState(StrEnum):
    """A draft has no version yet."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer in the list. `version` None: nothing is published. `draft` has its newest terms;
    `has_edits`: some are unpublished. `accounts` counts those on any version."""

    code: str
    state: OfferState
    version: int | None
    draft: DraftView
    has_edits: bool
    accounts: int
    archived_at: datetime | None
    position: int


class OfferSort(StrEnum):
    """`POSITION` is the catalogue's order. Terms are the draft's; `PRICE` is in minor units of any
    currency."""

    POSITION = "position"
    NAME = "name"
    STATE = "state"
    PRICE = "price"
    EXECUTIONS = "executions"
    ACCOUNTS = "accounts"


class HolderSort(StrEnum):
    ACCOUNT = "account"


class VersionSort(StrEnum):
    VERSION = "version"
    PRICE = "price"
    EXECUTIONS = "executions"
    PUBLISHED = "published"
    ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class OfferQuery:
    """Filters of offers; None does not filter. `letters` are part of the name or the code."""

    letters: str = ""
    state: OfferState | None = None
    interval: Interval | None = None

    def has(self, row: "OfferRow") -> bool:
        terms, letters = row.draft.fields.terms, self.letters.strip().casefold()
        return (
            self.state in (None, row.state)
            and self.interval in (None, terms.interval)
            and (letters in terms.name.casefold() or letters in row.code)
        )


@dataclass(frozen=True, slots=True)
class HolderQuery:
    """Filters of accounts on a version; None does not filter."""

    kind: AccountKind | None = None
    past_due: bool | None = None


SORTING: Final = Sorting(
    {
        OfferSort.POSITION: Key(attrgetter("position"), NUMBER),
        OfferSort.NAME: Key(attrgetter("draft.fields.terms.name"), TEXT),
        OfferSort.STATE: Key(attrgetter("state"), TEXT),
        OfferSort.PRICE: Key(attrgetter("draft.fields.terms.price_minor"), NUMBER),
        OfferSort.EXECUTIONS: Key(attrgetter("draft.fields.terms.executions"), NUMBER),
        OfferSort.ACCOUNTS: Key(attrgetter("accounts"), NUMBER),
    },
    ties=(Key(attrgetter("code"), TEXT),),
    usual=By(OfferSort.POSITION),
)
_VERSION: Final = Key(attrgetter("version"), NUMBER)
VERSIONS: Final = Sorting(
    {
        VersionSort.VERSION: _VERSION,
        VersionSort.PRICE: Key(attrgetter("terms.price_minor"), NUMBER),
        VersionSort.EXECUTIONS: Key(attrgetter("terms.executions"), NUMBER),
        VersionSort.PUBLISHED: Key(attrgetter("published_at"), INSTANT),
        VersionSort.ACCOUNTS: Key(attrgetter("accounts"), NUMBER),
    },
    ties=(_VERSION,),
    usual=By(VersionSort.VERSION, descending=True),
)
HOLDERS: Final = Sorting(
    {HolderSort.ACCOUNT: Key("account_id", NUMBER)}, ties=(), usual=By(HolderSort.ACCOUNT)
)


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
    database: Database,
    actor: Actor,
    where: OfferQuery | None = None,
    *,
    now: datetime,
    by: By[OfferSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[OfferRow]:
    """The first MAX_LISTED, in the catalogue's order by default. Raises ForbiddenError,
    InvalidInputError."""
    require(actor, Action.READ)
    where = where or OfferQuery()
    span = SORTING.span(by, limit=limit, cursor=cursor)
    query = select(Offer).order_by(col(Offer.position), col(Offer.code)).limit(MAX_LISTED)
    async with database.reading() as session:
        offers = (await session.exec(query)).all()
        counts = await _accounts_by_version(session, now)
        rows = [(await _detail(session, offer, counts)).row for offer in offers]
    return span.cut(row for row in rows if where.has(row))


async def read_offer(database: Database, actor: Actor, code: str, now: datetime) -> OfferDetail:
    """Raises ForbiddenError, OfferNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        offer = await find_any_offer(session, code)
        return await _detail(session, offer, await _accounts_by_version(session, now))


async def list_versions(
    database: Database,
    actor: Actor,
    code: str,
    *,
    now: datetime,
    held: bool | None = None,
    by: By[VersionSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[VersionRow]:
    """An offer's versions, newest first by default; `held`: whether any account is on them.

    Raises as read_offer, InvalidInputError.
    """
    detail = await read_offer(database, actor, code, now)
    span = VERSIONS.span(by, limit=limit, cursor=cursor)
    return span.cut(row for row in detail.versions if held in (None, row.accounts > 0))


async def list_accounts_on(  # noqa: PLR0913 - a version has two names, a page of a list four
    database: Database,
    actor: Actor,
    code: str,
    version: int,
    where: HolderQuery | None = None,
    *,
    now: datetime,
    by: By[HolderSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[CustomerRow]:
    """Accounts on a version. Raises as read_offer, InvalidInputError."""
    require(actor, Action.READ)
    span = HOLDERS.span(by, limit=limit, cursor=cursor)
    statement = text(_holders_on(where or HolderQuery(), span))
    values: dict[str, Any] = {"now": now, "limit": limit + 1}
    if span.after is not None:
        values["after"] = span.after[0]
    async with database.reading() as session:
        offer = await find_any_offer(session, code)
        values["version"] = await _version_id(session, offer, version)
        found = (await (await session.connection()).execute(statement, values)).all()
        account_ids, following = span.split([int(row[0]) for row in found], lambda each: (each,))
        rows = await read_customers(session, account_ids, now)
    return Page(rows, following)


async def find_any_offer(session: AsyncSession, code: str, *, lock: bool = False) -> Offer:
    """Also one without a version, or an archived one. Raises OfferNotFoundError."""
    query = select(Offer).where(Offer.code == code)
    offer = (await session.exec(query.with_for_update() if lock else query)).first()
    if offer is None:
        raise OfferNotFoundError(f"Offer {code} does not exist.")
    return offer


def _holders_on(where: HolderQuery, span: Span) -> str:
    """Accounts of a page: as many from each index as the page may need, then the first of both."""
    order = f"ORDER BY account_id{' DESC' if span.descending else ''} LIMIT :limit"
    conditions = ["offer_version_id = :version"]
    if span.after is not None:
        conditions.append(f"account_id {'<' if span.descending else '>'} :after")
    if where.kind is not None:
        conditions.append(HAS_KIND.format(kind=where.kind.value))
    if where.past_due is not None:
        conditions.append(OWES.format(wanted="IN" if where.past_due else "NOT IN"))
    wanted = " AND ".join(conditions)
    return f"""
        SELECT account_id FROM (
            (SELECT account_id FROM subscriptions AS holder
             WHERE ended_at IS NULL AND {wanted} {order})
            UNION
            (SELECT DISTINCT account_id FROM plans AS holder
             WHERE {is_open("holder")} AND NOT ({is_waiting_bridge("holder")}) AND {wanted} {order})
        ) AS holders {order}"""  # noqa: S608


async def _version_id(session: AsyncSession, offer: Offer, version: int) -> int:
    query = select(OfferVersion.id).where(OfferVersion.offer_id == offer.id)
    found = (await session.exec(query.where(OfferVersion.version == version))).first()
    if found is None:
        raise OfferNotFoundError(f"The offer {offer.code} has no version {version}.")
    return found


async def _accounts_by_version(session: AsyncSession, now: datetime) -> dict[int, int]:
    rows = await (await session.connection()).execute(text(COUNTED), {"now": now})
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
        position=offer.position,
    )
    return OfferDetail(row, versions)
