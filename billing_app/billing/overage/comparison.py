"""Compares the provider's meter with our reports, for each period of each customer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.overage.reports import period_of
from billing_app.billing.overage.stamps import minutes_of
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
)
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource, ReportState
from billing_app.db.tables import MeterReport, Plan, ProviderCustomer

# Periods that ended earlier have already been compared.
COMPARED: Final = timedelta(days=35)
BLOCK_PLANS: Final = 500


@dataclass(frozen=True, slots=True)
class MeterDifference:
    """Executions of a plan's period: counted by the meter, and reported by us."""

    account_id: str
    plan_sequence: int
    period_start: datetime
    period_end: datetime
    theirs: int
    ours: int


async def compare_meter(
    database: Database, provider: PaymentProvider, now: datetime
) -> list[MeterDifference]:
    """Lists each difference and repairs none: money is settled from invoices, not from the meter.

    Raises what the provider raises.
    """
    differences: list[MeterDifference] = []
    after = (0, 0)
    while rows := await _reported_plans(database, after, now):
        for plan, customer_id, ours in rows:
            if ours is None:
                continue
            start, end = minutes_of(period_of(plan))
            try:
                theirs = await provider.metered_usage(customer_id, start, end)
            except NotAtProviderError:
                theirs = 0
            if theirs != ours:
                account_id = ids.encode_account(plan.account_id)
                differences.append(
                    MeterDifference(account_id, plan.sequence, start, end, theirs, ours)
                )
        after = (rows[-1][0].account_id, rows[-1][0].sequence)
    return differences


async def _reported_plans(
    database: Database, after: tuple[int, int], now: datetime
) -> list[tuple[Plan, str, int | None]]:
    """Overage plans with their customer and what was reported of them."""
    async with database.reading() as session:
        query = (
            select(Plan, ProviderCustomer.customer_id)
            .join(ProviderCustomer, col(ProviderCustomer.account_id) == Plan.account_id)
            .where(Plan.source == PlanSource.OVERAGE)
            .where(Plan.starts_at <= now)
            .where(col(Plan.ends_at) > now - COMPARED)
            .where((col(Plan.account_id) > after[0]) | (
                (col(Plan.account_id) == after[0]) & (col(Plan.sequence) > after[1])
            ))
            .order_by(col(Plan.account_id), col(Plan.sequence))
            .limit(BLOCK_PLANS)
        )  # fmt: skip
        plans = (await session.exec(query)).all()
        return [(plan, customer, await _reported(session, plan)) for plan, customer in plans]


async def _reported(session: AsyncSession, plan: Plan) -> int | None:
    """None while a report is pending."""
    query = (
        select(
            func.coalesce(func.sum(MeterReport.executions), 0),
            func.count().filter(col(MeterReport.state) == ReportState.PENDING),
        )
        .where(MeterReport.account_id == plan.account_id)
        .where(MeterReport.plan_sequence == plan.sequence)
    )
    executions, pending = (await session.exec(query)).one()
    return None if pending else int(executions)
