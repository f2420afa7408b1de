"""Reading leases: answers, routes, and requests as functions. Opening them: leases.py."""

from datetime import date, datetime
from typing import Final

import msgspec

from .answers import Page
from .bodies import PageQuery
from .routes import Operation, Route


class LeaseView(msgspec.Struct, frozen=True, kw_only=True):
    """`status`: open, expired, closed or freed. `executions`: held in all. `executions_unsettled`:
    the most that a report said beyond what could be counted, first at `unsettled_at`."""

    id: str
    account_id: str
    status: str
    executions: int
    executions_settled: int
    executions_unsettled: int
    unsettled_at: datetime | None
    workflow: str | None
    user_id: str | None
    opened_at: datetime
    expires_at: datetime
    settle_until: datetime


class LeaseLine(msgspec.Struct, frozen=True):
    """Executions of a workflow and a user on a UTC day that are counted."""

    workflow: str | None
    user_id: str | None
    day: date
    executions: int


class LeaseWithLines(msgspec.Struct, frozen=True):
    lease: LeaseView
    lines: list[LeaseLine]


LIST_LEASES: Final = Route("GET", "/billing/leases", Page[LeaseView], query=PageQuery)
READ_LEASE: Final = Route("GET", "/billing/leases/{lease_id}", LeaseWithLines)


def leases(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[Page[LeaseView]]:
    """A page of the account's leases that still hold executions, newest first."""
    query = PageQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        limit=limit,
        cursor=cursor,
    )
    return LIST_LEASES.operation(query=query)


def read_lease(lease_id: str) -> Operation[LeaseWithLines]:
    """A lease, and what is counted of it. Raises NotFoundError."""
    return READ_LEASE.operation(lease_id)
