"""An account's page for staff: each part is read on its own, long ones page by page.

Plans, balance, usage and ledger are what the customer reads too: `plans`, `usage` and `invoices`
answer staff as they answer the account's holder.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy import select as select_rows
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.staff.access.ownership import is_own
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.customers.customers import CustomerRow, read_customers
from billing_app.billing.staff.customers.reservations import (
    ReservationQuery,
    ReservationSort,
    ReservationView,
    find_reservations,
)
from billing_app.billing.staff.operations.provider_links import ProviderLinks
from billing_app.billing.subscriptions.invoices import (
    InvoiceQuery,
    InvoiceSort,
    InvoiceView,
    list_invoices,
)
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role, SubscriptionStatus
from billing_app.db.tables import (
    Account,
    ApiKey,
    Membership,
    Organization,
    ProviderCustomer,
    Subscription,
    User,
)


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """The account's holder. `customer_url` is the provider's page, "" without one. `is_own`: the
    reader holds it, or is a member of its organization."""

    row: CustomerRow
    organization_name: str
    people: int
    customer_url: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class Person:
    """A member who can sign in for the account; `email` is "" for one who never signed up."""

    user_id: str
    name: str
    email: str
    role: Role
    since: datetime


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """A subscription of the account, live or ended, with the provider's own page for it."""

    provider_id: str
    status: SubscriptionStatus
    offer: OfferView
    next_offer: OfferView | None
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    ends_at: datetime
    is_collecting: bool
    is_duplicate: bool
    is_trial_refused: bool
    past_due_since: datetime | None
    ended_at: datetime | None
    synced_at: datetime
    provider_url: str


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice as its holder sees it, with the provider's own page for staff."""

    invoice: InvoiceView
    provider_url: str


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A service key of the account's organization; `hint` is its beginning."""

    id: int
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class PersonSort(StrEnum):
    ID = "id"
    NAME = "name"
    EMAIL = "email"
    SINCE = "since"


class SubscriptionSort(StrEnum):
    """`BEGAN` is the order in which they began."""

    BEGAN = "began"
    PERIOD = "period"
    STATUS = "status"


class KeySort(StrEnum):
    MADE = "made"
    NAME = "name"


_USER: Final = Key(col(User.id), TEXT)
PEOPLE: Final = Sorting(
    {
        PersonSort.ID: _USER,
        PersonSort.NAME: Key(func.lower(User.name), TEXT),
        PersonSort.EMAIL: Key(func.lower(func.coalesce(User.email, "")), TEXT),
        PersonSort.SINCE: Key(col(Membership.created_at), INSTANT),
    },
    ties=(_USER,),
    usual=By(PersonSort.ID),
)
_SUBSCRIPTION: Final = Key(col(Subscription.number), NUMBER)
SUBSCRIPTIONS: Final = Sorting(
    {
        SubscriptionSort.BEGAN: _SUBSCRIPTION,
        SubscriptionSort.PERIOD: Key(col(Subscription.period_end), INSTANT),
        SubscriptionSort.STATUS: Key(col(Subscription.status), TEXT),
    },
    ties=(_SUBSCRIPTION,),
    usual=By(SubscriptionSort.BEGAN, descending=True),
)
_KEY: Final = Key(col(ApiKey.id), NUMBER)
KEYS: Final = Sorting(
    {KeySort.MADE: _KEY, KeySort.NAME: Key(func.lower(ApiKey.name), TEXT)},
    ties=(_KEY,),
    usual=By(KeySort.MADE, descending=True),
)


async def read_identity(
    database: Database, links: ProviderLinks, actor: Actor, account_id: str, now: datetime
) -> AccountIdentity:
    """Raises ForbiddenError, AccountNotFoundError."""
    staff = require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        theirs = await is_own(session, account.id, staff.actor_id)
        (row,) = await read_customers(session, [account.id], now)
        organization = await session.get(Organization, account.organization_id)
        counted = select(func.count()).select_from(
            _people_of(account).with_only_columns(col(User.id)).subquery()
        )
        people = (await session.exec(counted)).one()
    assert organization is not None
    url = links.customer(row.customer_id) if row.customer_id else ""
    return AccountIdentity(row, organization.name, people, url, theirs)


async def list_people(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    role: Role | None = None,
    by: By[PersonSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Person]:
    """Members, by user id by default; the person of a trial account. Raises as read_identity,
    InvalidInputError."""
    require(actor, Action.READ)
    span = PEOPLE.span(by, limit=limit, cursor=cursor)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = _people_of(account)
        if role is not None:
            query = query.where(Membership.role == role)
        rows, following = await span.fetch(session, query)
    people = [
        Person(user.id, user.name, user.email or "", Role(member.role), member.created_at)
        for user, member, *_ in rows
    ]
    return Page(people, following)


async def list_reservations(
    database: Database,
    actor: Actor,
    account_id: str,
    where: ReservationQuery | None = None,
    *,
    now: datetime,
    by: By[ReservationSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[ReservationView]:
    """By default held ones first, then newest first. Raises as read_identity, InvalidInputError."""
    require(actor, Action.READ)
    where = where or ReservationQuery()
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        return await find_reservations(
            session,
            account.id,
            where,
            now=now,
            by=by,
            limit=limit,
            cursor=cursor,
        )


async def list_subscriptions(
    database: Database,
    links: ProviderLinks,
    actor: Actor,
    account_id: str,
    *,
    by: By[SubscriptionSort] | None = None,
) -> list[SubscriptionRow]:
    """At most DEFAULT_LIMIT, newest first by default: an account has one at a time. Raises as
    read_identity."""
    require(actor, Action.READ)
    span = SUBSCRIPTIONS.span(by, limit=DEFAULT_LIMIT)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query: Select[Any] = select_rows(Subscription)
        rows, _ = await span.fetch(session, query.where(col(Subscription.account_id) == account.id))
        return [await _subscription(session, links, row[0]) for row in rows]


async def list_account_invoices(
    database: Database,
    links: ProviderLinks,
    actor: Actor,
    account_id: str,
    where: InvoiceQuery | None = None,
    *,
    by: By[InvoiceSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[InvoiceRow]:
    """Newest first by default, without drafts. Raises as read_identity, InvalidInputError."""
    require(actor, Action.READ)
    page = await list_invoices(
        database,
        actor,
        account_id,
        where,
        by=by,
        limit=limit,
        cursor=cursor,
    )
    return Page([InvoiceRow(row, links.invoice(row.id)) for row in page.items], page.next_cursor)


async def list_account_keys(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    revoked: bool | None = None,
    by: By[KeySort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[AccountKey]:
    """Keys of an organization, newest first by default; a trial has none. Raises as read_identity,
    InvalidInputError."""
    require(actor, Action.READ)
    span = KEYS.span(by, limit=limit, cursor=cursor)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        if account.kind != AccountKind.ORGANIZATION:
            return Page([], None)
        query: Select[Any] = select_rows(ApiKey)
        query = query.where(col(ApiKey.organization_id) == account.organization_id)
        if revoked is not None:
            ended = col(ApiKey.revoked_at)
            query = query.where(ended.is_not(None) if revoked else ended.is_(None))
        rows, following = await span.fetch(session, query)
    return Page([_key(row[0]) for row in rows], following)


async def customer_of(session: AsyncSession, account: Account) -> str | None:
    row = await session.get(ProviderCustomer, account.id)
    return row.customer_id if row else None


def _people_of(account: Account):  # noqa: ANN202 - SQLModel's own name for it is private
    """Users who can sign in for the account, with their membership."""
    query = (
        select(User, Membership)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.organization_id == account.organization_id)
    )
    return query if account.user_id is None else query.where(User.id == account.user_id)


async def _subscription(
    session: AsyncSession, links: ProviderLinks, row: Subscription
) -> SubscriptionRow:
    following = row.next_offer_version_id
    return SubscriptionRow(
        provider_id=row.provider_id,
        status=SubscriptionStatus(row.status),
        offer=await offer_version(session, row.offer_version_id),
        next_offer=await offer_version(session, following) if following else None,
        period_start=row.period_start,
        period_end=row.period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        ends_at=row.cancel_at or row.period_end,
        is_collecting=row.is_collecting,
        is_duplicate=row.is_duplicate,
        is_trial_refused=row.trial_refused_at is not None,
        past_due_since=row.past_due_since,
        ended_at=row.ended_at,
        synced_at=row.synced_at,
        provider_url=links.subscription(row.provider_id),
    )


def _key(row: ApiKey) -> AccountKey:
    assert row.id is not None
    return AccountKey(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
