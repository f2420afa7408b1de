"""Comparisons with the payment provider: the last ones, what they found, and asking for one."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.billing.staff.audit import Deed, clean_reason, record
from billing_app.billing.staff.jobs import BackgroundJobs
from billing_app.billing.staff.permissions import Action, require
from billing_app.db.engine import Database
from billing_app.db.tables import Reconciliation


@dataclass(frozen=True, slots=True)
class FoundDifference:
    """What the provider says, and what we had. `healed` False: only told."""

    account_id: str
    what: str
    provider_id: str
    theirs: str
    ours: str
    healed: bool


@dataclass(frozen=True, slots=True)
class ReconciliationView:
    """A comparison that went through. `found` has the first of the differences."""

    began_at: datetime
    dry_run: bool
    differences: int
    healed: int
    found: list[FoundDifference]


async def list_reconciliations(
    database: Database, actor: Actor, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[ReconciliationView]:
    """Newest first. Raises ForbiddenError, InvalidInputError."""
    require(actor, Action.READ)
    check_limit(limit)
    query = select(Reconciliation).order_by(col(Reconciliation.began_at).desc())
    if cursor is not None:
        query = query.where(Reconciliation.began_at < decode_cursor(cursor, datetime))
    async with database.reading() as session:
        rows = list((await session.exec(query.limit(limit + 1))).all())
    views = [_view(row) for row in rows[:limit]]
    return Page(views, encode_cursor(views[-1].began_at) if len(rows) > limit else None)


async def run_reconciliation(
    database: Database,
    jobs: BackgroundJobs,
    actor: Actor,
    *,
    dry_run: bool,
    reason: str,
    now: datetime,
) -> str:
    """Ask for a comparison in the background; returns the id of its job. Audited.

    Raises ForbiddenError, JobsUnavailableError, InvalidInputError.
    """
    staff, reason = require(actor, Action.RECONCILE), clean_reason(reason)
    job_id = ids.new_id("reconcile_")
    async with database.transaction() as session:
        await jobs.reconcile(session, job_id=job_id, dry_run=dry_run, now=now)
        after = {"job_id": job_id, "dry_run": dry_run}
        await record(session, staff, Deed(Action.RECONCILE, reason, after=after), now)
    return job_id


def _view(row: Reconciliation) -> ReconciliationView:
    return ReconciliationView(
        began_at=row.began_at,
        dry_run=row.dry_run,
        differences=row.differences,
        healed=row.healed,
        found=[FoundDifference(**each) for each in row.found],
    )
