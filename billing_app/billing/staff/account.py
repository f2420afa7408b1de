"""An account's page for staff: each part is read on its own, those that grow page by page.

The plans, the balance, the usage and the ledger are what the customer reads too: `plans`, `usage`
and `invoices` answer staff as they answer the account's holder.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.catalogue import OfferView, offer_version
from billing_app.billing.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.billing.staff.customers import CustomerRow, read_customers
from billing_app.billing.staff.links import ProviderLinks
from billing_app.billing.staff.permissions import Action, require
from billing_app.billing.subscriptions.invoices import InvoiceView, list_invoices
from billing_app.db.engine import Database
from billing_app.db.tables import (
    Account,
    ApiKey,
    Membership,
    Organization,
    ProviderCustomer,
    Reservation,
    Subscription,
    User,
)
from billing_app.db.words import AccountKind, ReservationStatus, Role, SubscriptionStatus


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """Whose account it is. `customer_url` is the provider's page; "" when it has none."""

    row: CustomerRow
    organization_name: str
    people: int
    customer_url: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in for the account; `email` "" for who never signed up."""

    user_id: str
    name: str
    email: str
    role: Role
    since: datetime


@dataclass(frozen=True, slots=True)
class ReservationView:
    """Executions held, or what became of them. `is_overdue`: held, and past its end: the next
    decision of the account frees it."""

    id: str
    status: ReservationStatus
    executions: int
    workflow: str
    user_id: str
    idempotency_key: str
    created_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    is_overdue: bool


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
    """A service key of the account's organization; `hint` is how it begins."""

    id: int
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def read_identity(
    database: Database, links: ProviderLinks, actor: Actor, account_id: str, now: datetime
) -> AccountIdentity:
    """Raises ForbiddenError, AccountNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        (row,) = await read_customers(session, [account.id], now)
        organization = await session.get(Organization, account.organization_id)
        counted = select(func.count()).select_from(
            _people_of(account).with_only_columns(col(User.id)).subquery()
        )
        people = (await session.exec(counted)).one()
    assert organization is not None
    url = links.customer(row.customer_id) if row.customer_id else ""
    return AccountIdentity(row, organization.name, people, url)


async def list_people(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Person]:
    """Members by user id; of a trial's account its person. Raises as read_identity,
    InvalidInputError."""
    require(actor, Action.READ)
    check_limit(limit)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = _people_of(account).order_by(col(User.id)).limit(limit + 1)
        if cursor is not None:
            query = query.where(col(User.id) > decode_cursor(cursor, str))
        rows = list((await session.exec(query)).all())
    people = [
        Person(user.id, user.name, user.email or "", Role(member.role), member.created_at)
        for user, member in rows[:limit]
    ]
    following = encode_cursor(people[-1].user_id) if len(rows) > limit else None
    return Page(people, following)


async def list_reservations(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[ReservationView]:
    """Held ones first, then newest first. Raises as read_identity, InvalidInputError."""
    require(actor, Action.READ)
    check_limit(limit)
    after = decode_cursor(cursor, tuple[bool, int]) if cursor else (True, None)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        rows: list[Reservation] = []
        if after[0]:
            rows = await _reservations(session, account, held=True, before=after[1], limit=limit)
        if len(rows) <= limit:
            before = None if after[0] else after[1]
            more = limit - len(rows)
            rows += await _reservations(session, account, held=False, before=before, limit=more)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = encode_cursor((last.status == ReservationStatus.HELD, last.number))
    return Page([_reservation(row, now) for row in rows[:limit]], following)


async def list_subscriptions(
    database: Database, links: ProviderLinks, actor: Actor, account_id: str
) -> list[SubscriptionRow]:
    """The newest first, at most DEFAULT_LIMIT. Raises as read_identity."""
    require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(Subscription)
            .where(Subscription.account_id == account.id)
            .order_by(col(Subscription.number).desc())
            .limit(DEFAULT_LIMIT)
        )
        rows = (await session.exec(query)).all()
        return [await _subscription(session, links, row) for row in rows]


async def list_account_invoices(
    database: Database,
    links: ProviderLinks,
    actor: Actor,
    account_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[InvoiceRow]:
    """Newest first, drafts left out. Raises as read_identity, InvalidInputError."""
    require(actor, Action.READ)
    page = await list_invoices(database, actor, account_id, limit=limit, cursor=cursor)
    return Page([InvoiceRow(row, links.invoice(row.id)) for row in page.items], page.next_cursor)


async def list_account_keys(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[AccountKey]:
    """Keys of an organization, newest first; a person's trial has none. Raises as
    read_identity, InvalidInputError."""
    require(actor, Action.READ)
    check_limit(limit)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        if account.kind != AccountKind.ORGANIZATION:
            return Page([], None)
        query = select(ApiKey).where(ApiKey.organization_id == account.organization_id)
        if cursor is not None:
            query = query.where(col(ApiKey.id) < decode_cursor(cursor, int))
        query = query.order_by(col(ApiKey.id).desc()).limit(limit + 1)
        rows = list((await session.exec(query)).all())
    following = encode_cursor(rows[limit - 1].id) if len(rows) > limit else None
    return Page([_key(row) for row in rows[:limit]], following)


async def _reservations(
    session: AsyncSession, account: Account, *, held: bool, before: int | None, limit: int
) -> list[Reservation]:
    """One more than `limit`, newest first, held ones or settled ones."""
    is_held = col(Reservation.status) == ReservationStatus.HELD
    query = select(Reservation).where(Reservation.account_id == account.id)
    query = query.where(is_held if held else ~is_held)
    if before is not None:
        query = query.where(col(Reservation.number) < before)
    query = query.order_by(col(Reservation.number).desc()).limit(limit + 1)
    return list((await session.exec(query)).all())


async def customer_of(session: AsyncSession, account: Account) -> str | None:
    row = await session.get(ProviderCustomer, account.id)
    return row.customer_id if row else None


def _people_of(account: Account):  # noqa: ANN202 - SQLModel's own name for it is private
    """Whoever may sign in for the account, with their membership."""
    query = (
        select(User, Membership)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.organization_id == account.organization_id)
    )
    return query if account.user_id is None else query.where(User.id == account.user_id)


def _reservation(row: Reservation, now: datetime) -> ReservationView:
    return ReservationView(
        id=ids.encode(ids.RESERVATION, row.account_id, row.number),
        status=ReservationStatus(row.status),
        executions=row.executions,
        workflow=row.workflow,
        user_id=row.user_id,
        idempotency_key=row.idempotency_key,
        created_at=row.created_at,
        expires_at=row.expires_at,
        settled_at=row.settled_at,
        is_overdue=row.status == ReservationStatus.HELD and row.expires_at <= now,
    )


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
