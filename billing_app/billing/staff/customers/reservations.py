"""Reservations of an account for staff.

An account may have millions, so they sort only by their key and the index of held ones.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy import select as select_rows
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import NUMBER, YES_NO, By, Key, Sorting, Span, rows_of
from billing_app.billing.usage.service import Days, first_number
from billing_app.db.enums import ReservationStatus
from billing_app.db.tables import Reservation


class ReservationSort(StrEnum):
    """`STATUS` has held ones first, newest first in both parts; ascending is the reverse."""

    STATUS = "status"
    BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class ReservationQuery:
    """Filters of reservations; None does not filter. `workflow` "" means those without one; `days`
    are those on which they began."""

    status: ReservationStatus | None = None
    workflow: str | None = None
    user_id: str | None = None
    days: Days | None = None


@dataclass(frozen=True, slots=True)
class ReservationView:
    """A reservation and its outcome. `is_overdue`: held past its end; the account's next decision
    releases it."""

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


IS_HELD: Final = col(Reservation.status) == ReservationStatus.HELD
_NUMBER: Final = Key(col(Reservation.number), NUMBER)
SORTING: Final = Sorting(
    {ReservationSort.STATUS: Key(IS_HELD, YES_NO), ReservationSort.BEGUN: _NUMBER},
    ties=(_NUMBER,),
    usual=By(ReservationSort.STATUS, descending=True),
)


async def find_reservations(
    session: AsyncSession,
    account_id: int,
    where: ReservationQuery,
    *,
    now: datetime,
    by: By[ReservationSort] | None,
    limit: int,
    cursor: str | None,
) -> Page[ReservationView]:
    """For anyone who may read the account. Raises InvalidInputError."""
    span = SORTING.span(by, limit=limit, cursor=cursor)
    query = _selected(account_id, where)
    if span.sort == ReservationSort.STATUS:
        rows, following = await _by_status(session, query, span)
    else:
        found, following = await span.fetch(session, query)
        rows = [row[0] for row in found]
    return Page([_view(row, now) for row in rows], following)


async def _by_status(
    session: AsyncSession, query: Select[Any], span: Span
) -> tuple[list[Reservation], str | None]:
    """Held ones and the others one after the other, each in the order of their key, so that nothing
    has to be sorted."""
    number = col(Reservation.number)
    rows: list[Reservation] = []
    is_after = span.after is None
    for held in (True, False) if span.descending else (False, True):
        part = query.where(IS_HELD if held else ~IS_HELD)
        if span.after is not None and span.after[0] is held:
            is_after, last = True, span.after[1]
            part = part.where(number < last if span.descending else number > last)
        if is_after and len(rows) <= span.limit:
            part = part.order_by(number.desc() if span.descending else number.asc())
            found = await rows_of(session, part.limit(span.limit + 1 - len(rows)))
            rows += [row[0] for row in found]
    return span.split(rows, lambda row: (row.status == ReservationStatus.HELD, row.number))


def _selected(account_id: int, where: ReservationQuery) -> Select[Any]:
    query: Select[Any] = select_rows(Reservation)
    query = query.where(col(Reservation.account_id) == account_id)
    if where.status is not None:
        query = query.where(col(Reservation.status) == where.status)
    if where.workflow is not None:
        query = query.where(col(Reservation.workflow) == where.workflow)
    if where.user_id is not None:
        query = query.where(col(Reservation.user_id) == where.user_id)
    if where.days is not None:
        number = col(Reservation.number)
        since, until = first_number(where.days.since), first_number(where.days.until)
        query = query.where(number >= since, number < until)
    return query


def _view(row: Reservation, now: datetime) -> ReservationView:
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
