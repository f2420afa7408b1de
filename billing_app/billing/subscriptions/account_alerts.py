"""Why an account's executions are refused, or soon will be: what its people must know first."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.executions.expired_holds import unused_of
from billing_app.billing.plans.service import plan_balance
from billing_app.billing.subscriptions.dunning import UNPAID
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus, PlanSource
from billing_app.db.tables import Account, Invoice, Plan


class StopKind(StrEnum):
    """The first one that applies is shown."""

    BLOCKED = "blocked"
    PAST_DUE = "past_due"
    DISPUTED = "disputed"
    PAUSED = "paused"


ORDER: Final = {kind: place for place, kind in enumerate(StopKind)}


@dataclass(frozen=True, slots=True)
class Stop:
    """From `at` on the plan allows no new executions; `is_in_force`: that is now. `due_at`: the
    oldest invoice was sent to be paid until then; None: it is charged automatically.

    `amount_due_minor` is everything overdue, in `currency`; `page_url` is where to pay the oldest
    invoice. `executions_elsewhere`: what other plans still allow.
    """

    kind: StopKind
    plan_name: str
    at: datetime
    is_in_force: bool
    amount_due_minor: int
    currency: str
    page_url: str
    executions_elsewhere: int
    due_at: datetime | None = None


async def read_stop(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> Stop | None:
    """None: no plan is stopped. Raises AccountNotFoundError. Reads only the database."""
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        plans = await _open_plans(session, account, now)
        unused = {plan.sequence: await unused_of(session, plan, now) for plan in plans}
        invoices = await _invoices_of(session, account, plans)
    stops = [(kind, plan, at) for plan in plans for kind, at in _stops_of(plan, invoices, now)]
    if not stops:
        return None
    kind, plan, at = min(stops, key=lambda each: (ORDER[each[0]], each[2]))
    stopped = {stopped.sequence for each, stopped, _ in stops if each is kind}
    overdue = [invoice for invoice in invoices.values() if invoice.status in UNPAID]
    return Stop(
        kind=kind,
        plan_name=plan.name,
        at=at,
        is_in_force=at <= now,
        amount_due_minor=sum(invoice.amount_due_minor for invoice in overdue),
        currency=overdue[0].currency if overdue else "",
        page_url=overdue[0].page_url if overdue else "",
        due_at=overdue[0].due_at if overdue else None,
        executions_elsewhere=sum(
            unused[each.sequence]
            for each in plans
            if each.sequence not in stopped and not _is_stopped(each, now)
        ),
    )


async def _open_plans(session: AsyncSession, account: Account, now: datetime) -> list[Plan]:
    query = (
        select(Plan)
        .where(Plan.account_id == account.id)
        .where(Plan.source != PlanSource.OVERAGE)
        .where(col(Plan.ended_at).is_(None))
        .where(Plan.starts_at <= now)
        .order_by(col(Plan.sequence))
    )
    rows = (await session.exec(query)).all()
    return [row for row in rows if row.ends_at is None or row.ends_at > now]


async def _invoices_of(
    session: AsyncSession, account: Account, plans: list[Plan]
) -> dict[str, Invoice]:
    """The invoices of suspended plans by provider id, oldest first."""
    references = [plan.source_reference for plan in plans if plan.suspended_at is not None]
    if not references:
        return {}
    query = (
        select(Invoice)
        .where(Invoice.account_id == account.id)
        .where(col(Invoice.provider_id).in_(references))
        .order_by(col(Invoice.issued_at))
    )
    return {row.provider_id: row for row in (await session.exec(query)).all()}


def _stops_of(
    plan: Plan, invoices: dict[str, Invoice], now: datetime
) -> list[tuple[StopKind, datetime]]:
    """A renewal that is still a draft, or not yet due, is not shown."""
    stops: list[tuple[StopKind, datetime]] = []
    if plan.blocked_at is not None:
        stops.append((StopKind.BLOCKED, plan.blocked_at))
    if plan.paused_at is not None:
        stops.append((StopKind.PAUSED, plan.paused_at))
    if plan.suspended_at is not None:
        invoice = invoices.get(plan.source_reference or "")
        is_unpaid = invoice is not None and invoice.status in UNPAID
        is_early = invoice is not None and (
            invoice.status == InvoiceStatus.DRAFT or (invoice.due_at or now) > now
        )
        if not is_early or plan.suspended_at <= now:
            kind = StopKind.PAST_DUE if is_unpaid else StopKind.DISPUTED
            stops.append((kind, plan.suspended_at))
    return stops


def _is_stopped(plan: Plan, now: datetime) -> bool:
    """Of a plan in its period."""
    return not plan_balance(plan).is_usable(now)
