"""Reconciliations with the payment provider: the last ones, their differences, and starting one."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy import select as select_rows
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, YES_NO, By, Key, Sorting
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.billing.staff.operations.jobs import BackgroundJobs
from billing_app.db.engine import Database
from billing_app.db.tables import Reconciliation


class ReconciliationNotFoundError(NotFoundError):
    code = "reconciliation_not_found"
    title = "Reconciliation not found"


class ReconciliationSort(StrEnum):
    BEGAN = "began"
    DIFFERENCES = "differences"


class DifferenceSort(StrEnum):
    """`FOUND` is the order in which they were found."""

    FOUND = "found"
    ACCOUNT = "account"
    WHAT = "what"
    HEALED = "healed"


@dataclass(frozen=True, slots=True)
class FoundDifference:
    """The provider's value and ours. `healed` False: only reported."""

    account_id: str
    what: str
    provider_id: str
    theirs: str
    ours: str
    healed: bool


@dataclass(frozen=True, slots=True)
class ReconciliationView:
    """A finished reconciliation. `found` has the first of its differences. `whole_since`: every
    customer had been compared since then when it ended; None: not yet."""

    began_at: datetime
    dry_run: bool
    differences: int
    healed: int
    found: list[FoundDifference]
    whole_since: datetime | None = None


_BEGAN: Final = Key(col(Reconciliation.began_at), INSTANT)
SORTING: Final = Sorting(
    {
        ReconciliationSort.BEGAN: _BEGAN,
        ReconciliationSort.DIFFERENCES: Key(col(Reconciliation.differences), NUMBER),
    },
    ties=(_BEGAN,),
    usual=By(ReconciliationSort.BEGAN, descending=True),
)


@dataclass(frozen=True, slots=True)
class DifferenceQuery:
    """Filters of differences; None does not filter. `began_at` is the reconciliation's start; None:
    the last one."""

    began_at: datetime | None = None
    healed: bool | None = None
    what: str | None = None


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A difference with its position among those found."""

    number: int
    difference: FoundDifference


_NUMBER: Final = Key(attrgetter("number"), NUMBER)
DIFFERENCES: Final = Sorting(
    {
        DifferenceSort.FOUND: _NUMBER,
        DifferenceSort.ACCOUNT: Key(attrgetter("difference.account_id"), TEXT),
        DifferenceSort.WHAT: Key(attrgetter("difference.what"), TEXT),
        DifferenceSort.HEALED: Key(attrgetter("difference.healed"), YES_NO),
    },
    ties=(_NUMBER,),
    usual=By(DifferenceSort.FOUND),
)


async def list_reconciliations(
    database: Database,
    actor: Actor,
    *,
    dry_run: bool | None = None,
    differs: bool | None = None,
    by: By[ReconciliationSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[ReconciliationView]:
    """Newest first by default; `differs`: with or without differences. Raises ForbiddenError,
    InvalidInputError."""
    require(actor, Action.READ)
    span = SORTING.span(by, limit=limit, cursor=cursor)
    query: Select[Any] = select_rows(Reconciliation)
    if dry_run is not None:
        query = query.where(col(Reconciliation.dry_run).is_(dry_run))
    if differs is not None:
        found = col(Reconciliation.differences)
        query = query.where(found > 0 if differs else found == 0)
    async with database.reading() as session:
        rows, following = await span.fetch(session, query)
    return Page([_view(row[0]) for row in rows], following)


async def list_differences(
    database: Database,
    actor: Actor,
    where: DifferenceQuery | None = None,
    *,
    by: By[DifferenceSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[FoundDifference]:
    """The differences of a reconciliation, the first ones when there were many.

    Raises ForbiddenError, ReconciliationNotFoundError, InvalidInputError.
    """
    require(actor, Action.READ)
    span = DIFFERENCES.span(by, limit=limit, cursor=cursor)
    where = where or DifferenceQuery()
    query = select(Reconciliation).order_by(col(Reconciliation.began_at).desc()).limit(1)
    if where.began_at is not None:
        query = query.where(Reconciliation.began_at == where.began_at)
    async with database.reading() as session:
        row = (await session.exec(query)).first()
    if row is None and where.began_at is not None:
        raise ReconciliationNotFoundError
    page = span.cut(
        _Numbered(number, found)
        for number, found in enumerate(_view(row).found if row else [])
        if where.healed in (None, found.healed) and where.what in (None, found.what)
    )
    return Page([each.difference for each in page.items], page.next_cursor)


async def run_reconciliation(
    database: Database,
    jobs: BackgroundJobs,
    actor: Actor,
    *,
    dry_run: bool,
    reason: str,
    now: datetime,
) -> str:
    """Start a reconciliation in the background; returns the id of its job. Audited.

    Raises ForbiddenError, JobsUnavailableError, InvalidInputError.
    """
    staff, reason = require(actor, Action.RECONCILE), clean_reason(reason)
    job_id = ids.new_id("reconcile_")
    async with database.transaction() as session:
        await jobs.reconcile(session, job_id=job_id, dry_run=dry_run, now=now)
        after = {"job_id": job_id, "dry_run": dry_run}
        await record(session, staff, AuditRecord(Action.RECONCILE, reason, after=after), now)
    return job_id


def _view(row: Reconciliation) -> ReconciliationView:
    return ReconciliationView(
        began_at=row.began_at,
        dry_run=row.dry_run,
        differences=row.differences,
        healed=row.healed,
        found=[FoundDifference(**each) for each in row.found],
        whole_since=row.whole_since,
    )
