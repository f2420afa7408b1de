"""What staff should look at now, counted for the menu and Overview."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.customers.disputes import Disputes
from billing_app.billing.staff.operations.jobs import BackgroundJobs, JobsUnavailableError
from billing_app.billing.staff.operations.unsettled_leases import count_unsettled
from billing_app.db.engine import Database
from billing_app.db.enums import WebhookState
from billing_app.db.tables import Reconciliation, WebhookEvent

JOBS_WITHIN: Final = timedelta(days=1)
COMPARISONS: Final = "reconcile"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Counts. Jobs and comparisons that failed in the last day and were not retried; disputes that
    need evidence, and the first day on which it is due; differences that the last reconciliation
    left open; leases of which a report of the last month could not be counted, and the
    account of the last one."""

    dead_letters: int = 0
    failed_jobs: int = 0
    failed_comparisons: int = 0
    disputes: int = 0
    evidence_due_at: datetime | None = None
    open_differences: int = 0
    unsettled_leases: int = 0
    unsettled_account_id: str | None = None

    @property
    def total(self) -> int:
        return (
            self.dead_letters
            + self.failed_jobs
            + self.failed_comparisons
            + self.disputes
            + self.open_differences
            + self.unsettled_leases
        )


async def read_trouble(
    database: Database, jobs: BackgroundJobs, disputes: Disputes, actor: Actor, now: datetime
) -> Trouble:
    """Raises ForbiddenError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        dead = select(func.count()).select_from(WebhookEvent)
        dead = dead.where(col(WebhookEvent.state) == WebhookState.DEAD)
        dead_letters = (await session.exec(dead)).one()
        open_differences = await _open_differences(session)
        unsettled, unsettled_account_id = await count_unsettled(session, now)
    failed = await _failed(jobs, now - JOBS_WITHIN)
    comparisons = sum(count for name, count in failed.items() if name.startswith(COMPARISONS))
    due = await disputes.awaiting_evidence(actor, now)
    return Trouble(
        dead_letters=dead_letters,
        failed_jobs=sum(failed.values()) - comparisons,
        failed_comparisons=comparisons,
        disputes=len(due),
        evidence_due_at=min(filter(None, due), default=None),
        open_differences=open_differences,
        unsettled_leases=unsettled,
        unsettled_account_id=unsettled_account_id,
    )


async def _open_differences(session: AsyncSession) -> int:
    query = select(Reconciliation).order_by(col(Reconciliation.began_at).desc()).limit(1)
    last = (await session.exec(query)).first()
    return last.differences - last.healed if last else 0


async def _failed(jobs: BackgroundJobs, since: datetime) -> dict[str, int]:
    try:
        return await jobs.count_failed(since)
    except JobsUnavailableError:
        return {}
