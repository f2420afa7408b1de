"""Leases of which a report could not be counted: it came after the settle window, or said more than
the lease held."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import tuple_
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.executions.lease_views import (
    LeaseView,
    lease_rows,
    lease_view,
    select_leases,
)
from billing_app.billing.lists.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.db.engine import Database
from billing_app.db.tables import Lease

# They need attention for so long.
ATTENTION: Final = timedelta(days=30)


async def list_unsettled(
    database: Database,
    actor: Actor,
    *,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[LeaseView]:
    """For staff: leases of which a report could not be counted, newest lease first.

    Raises ForbiddenError, InvalidInputError.
    """
    require(actor, Action.READ)
    check_limit(limit)
    query = select_leases().where(col(Lease.unsettled) > 0)
    if cursor is not None:
        number, account = decode_cursor(cursor, tuple[int, int])
        after = tuple_(col(Lease.number), col(Lease.account_id)) < tuple_(number, account)
        query = query.where(after)
    query = query.order_by(col(Lease.number).desc(), col(Lease.account_id).desc())
    async with database.reading() as session:
        rows = await lease_rows(session, query.limit(limit + 1))
    page = rows[:limit]
    last = page[-1][0] if len(rows) > limit else None
    following = encode_cursor((last.number, last.account_id)) if last else None
    return Page([lease_view(row, now) for row in page], following)


async def count_unsettled(session: AsyncSession, now: datetime) -> tuple[int, str | None]:
    """Leases with reports that could not be counted, first seen in the last 30 days; the account
    of the last one."""
    needs = (col(Lease.unsettled) > 0) & (col(Lease.unsettled_at) > now - ATTENTION)
    count = (await session.exec(select(func.count()).select_from(Lease).where(needs))).one()
    newest = select(Lease.account_id).where(needs).order_by(col(Lease.unsettled_at).desc())
    account = (await session.exec(newest.limit(1))).first()
    return count, None if account is None else ids.encode_account(account)
