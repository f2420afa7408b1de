"""Reading leases: one, and those of an account."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading, key_may_read
from billing_app.billing.actors import Actor, ServiceActor, require_scope
from billing_app.billing.errors import AccountNotFoundError, LeaseNotFoundError
from billing_app.billing.executions.lease_answers import LeaseStatus, lease_id, status_of
from billing_app.billing.lists.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.billing.lists.sorting import rows_of
from billing_app.db.engine import Database
from billing_app.db.enums import ReservationStatus, Scope
from billing_app.db.tables import Account, Lease, LeaseLine, Reservation

LeaseRow = tuple[Lease, Reservation]


@dataclass(frozen=True, slots=True)
class LeaseLineView:
    """Executions of a workflow and a user on a UTC day that are counted."""

    workflow: str | None
    user_id: str | None
    day: date
    executions: int


@dataclass(frozen=True, slots=True)
class LeaseView:
    """`executions`: held in all. `executions_unsettled`: the most that a report said beyond what
    could be counted, first at `unsettled_at`."""

    id: str
    account_id: str
    status: LeaseStatus
    executions: int
    executions_settled: int
    executions_unsettled: int
    unsettled_at: datetime | None
    workflow: str | None
    user_id: str | None
    opened_at: datetime
    expires_at: datetime
    settle_until: datetime


@dataclass(frozen=True, slots=True)
class LeaseWithLines:
    lease: LeaseView
    lines: list[LeaseLineView]


async def read_lease(
    database: Database, actor: Actor, name: str, *, now: datetime
) -> LeaseWithLines:
    """Raises LeaseNotFoundError, ScopeMissingError."""
    pair = ids.decode(ids.LEASE, name)
    if pair is None:
        raise LeaseNotFoundError
    async with database.reading() as session:
        try:
            await _authorize(session, actor, pair[0])
        except AccountNotFoundError:
            raise LeaseNotFoundError from None
        is_named = (col(Lease.account_id) == pair[0]) & (col(Lease.number) == pair[1])
        rows = await lease_rows(session, select_leases().where(is_named))
        if not rows:
            raise LeaseNotFoundError
        lines = select(LeaseLine).where(
            col(LeaseLine.account_id) == pair[0], col(LeaseLine.lease_number) == pair[1]
        )
        found = (await session.exec(lines.order_by(*_line_order()))).all()
    return LeaseWithLines(lease_view(rows[0], now), [_line(line) for line in found])


async def list_leases(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[LeaseView]:
    """Leases that still hold executions, newest first. Raises AccountNotFoundError,
    ScopeMissingError, InvalidInputError."""
    check_limit(limit)
    number = ids.decode_account(account_id)
    if number is None:
        raise AccountNotFoundError
    async with database.reading() as session:
        await _authorize(session, actor, number)
        query = select_leases().where(
            col(Lease.account_id) == number,
            col(Reservation.account_id) == number,
            col(Reservation.status) == ReservationStatus.HELD,
            col(Reservation.expires_at) > now,
        )
        if cursor is not None:
            query = query.where(col(Lease.number) < decode_cursor(cursor, int))
        query = query.order_by(col(Lease.number).desc()).limit(limit + 1)
        rows = await lease_rows(session, query)
    page = rows[:limit]
    following = encode_cursor(page[-1][0].number) if len(rows) > limit else None
    return Page([lease_view(row, now) for row in page], following)


async def _authorize(session: AsyncSession, actor: Actor, account_number: int) -> None:
    if not isinstance(actor, ServiceActor):
        await authorize_reading(session, actor, ids.encode_account(account_number))
        return
    require_scope(actor, Scope.EXECUTIONS)
    account = await session.get(Account, account_number)
    if account is None or not key_may_read(actor, account.organization_id, account.id):
        raise AccountNotFoundError


def select_leases() -> Any:
    """Rows of a lease and its reservation."""
    is_its = (col(Reservation.account_id) == col(Lease.account_id)) & (
        col(Reservation.number) == col(Lease.number)
    )
    return select(Lease, Reservation).join(Reservation, is_its)


async def lease_rows(session: AsyncSession, query: Any) -> list[LeaseRow]:
    return [(row[0], row[1]) for row in await rows_of(session, query)]


def _line_order() -> tuple[Any, ...]:
    return col(LeaseLine.day), col(LeaseLine.workflow), col(LeaseLine.user_id)


def _line(row: LeaseLine) -> LeaseLineView:
    return LeaseLineView(row.workflow or None, row.user_id or None, row.day, row.executions)


def lease_view(row: LeaseRow, now: datetime) -> LeaseView:
    lease, reservation = row
    return LeaseView(
        id=lease_id(lease.account_id, lease.number),
        account_id=ids.encode_account(lease.account_id),
        status=status_of(
            reservation.status,
            expires_at=lease.expires_at,
            settle_until=reservation.expires_at,
            now=now,
        ),
        executions=lease.executions,
        executions_settled=lease.settled,
        executions_unsettled=lease.unsettled,
        unsettled_at=lease.unsettled_at,
        workflow=reservation.workflow or None,
        user_id=reservation.user_id or None,
        opened_at=reservation.created_at,
        expires_at=lease.expires_at,
        settle_until=reservation.expires_at,
    )
