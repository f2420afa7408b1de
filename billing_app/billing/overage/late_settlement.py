"""Settles overage that came too late for its period's invoice: exactly, on the next invoice.

Our own count says what a plan's overage costs, the provider's invoices say what was billed. They
differ when a reservation was committed after the period, when executions were refunded later, or
when a report missed its invoice.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from sqlalchemy import BigInteger, or_
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Mapped
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from billing_app.billing import ids
from billing_app.billing.money import Money, cost_of_units_begun
from billing_app.billing.overage.reports import CLOSED_AFTER, is_of_plan
from billing_app.billing.subscriptions.account_runs import run_each
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.installation import may_write
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource, ReportState
from billing_app.db.tables import (
    Account,
    OfferVersion,
    OverageBill,
    OverageSettlement,
    Plan,
    ProviderCustomer,
)

MAX_PLANS: Final = 1_000


@dataclass(slots=True)
class OverageSettlements:
    _database: Database
    _provider: PaymentProvider
    _syncing: CustomerSync

    async def run(self, now: datetime) -> int:
        """Settle all closed plans; returns how many amounts were put on invoices.

        Raises what `run_each` raises.
        """
        if not await may_write(self._provider, "overage_settlements"):
            return 0
        async with self._database.reading() as session:
            plans = [plan for plan, _, _ in await session.exec(_unsettled(now).limit(MAX_PLANS))]
        return await run_each(
            plans,
            lambda plan: self.settle(plan.account_id, plan.sequence, now),
            account_of=lambda plan: plan.account_id,
            job="overage settlements",
        )

    async def settle(self, account_id: int, sequence: int, now: datetime) -> bool:
        """Bill or credit the difference, after fetching the provider's invoices again."""
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, account_id)
        if customer is None:
            return False
        await self._syncing.customer(customer.customer_id, now)
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            row = await _intend(session, account_id, sequence, now)
            is_live = await live_subscription(session, account_id) is not None
        if row is None:
            return False
        method = None
        if not is_live and row.amount_minor > 0:
            method = await self._provider.payment_method(customer.customer_id)
        await self._provider.settle_overage(
            customer_id=customer.customer_id,
            amount=Money(row.amount_minor, row.currency),
            description=f"Executions beyond the plan, corrected to {row.executions:,}",
            payment_method_id=method.provider_id if method else None,
            key=key_of(row),
        )
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            kept = await session.get(OverageSettlement, (account_id, sequence, row.number))
            assert kept is not None
            kept.state, kept.finished_at = ReportState.DONE, now
            session.add(kept)
        await self._syncing.customer(customer.customer_id, now)
        return True


def key_of(row: OverageSettlement) -> str:
    account_id = ids.encode_account(row.account_id)
    return f"overage-settlement-{account_id}-{row.plan_sequence}-{row.number}"


def _unsettled(now: datetime) -> Select[Plan, str, int]:
    """Closed plans that no draft invoice will bill more of, and that have a settlement pending or
    cost another amount than was billed and settled: with their currency and the difference."""
    settlements = (
        select(
            OverageSettlement.account_id,
            OverageSettlement.plan_sequence,
            func.sum(OverageSettlement.amount_minor).label("amount_minor"),
            func.bool_or(OverageSettlement.state == ReportState.PENDING).label("is_pending"),
        )
        .group_by("account_id", "plan_sequence")
        .subquery()
    )
    cost_minor = cost_of_units_begun(
        col(Plan.used),
        col(OfferVersion.overage_unit_executions),
        cast("Mapped[int]", OfferVersion.overage_unit_price_minor),
    )
    billed_minor = func.coalesce(OverageBill.billed_minor, 0)
    settled_minor = sql_cast(func.coalesce(settlements.c.amount_minor, 0), BigInteger)
    difference_minor = cost_minor - billed_minor - settled_minor
    return (
        select(Plan, OfferVersion.currency, difference_minor)
        .join(OfferVersion, col(OfferVersion.id) == Plan.offer_version_id)
        .outerjoin(OverageBill, is_of_plan(OverageBill.account_id, OverageBill.plan_sequence))
        .outerjoin(settlements, is_of_plan(settlements.c.account_id, settlements.c.plan_sequence))
        .where(Plan.source == PlanSource.OVERAGE)
        .where(func.least(Plan.ended_at, Plan.ends_at) < now - CLOSED_AFTER)
        .where(func.coalesce(OverageBill.is_open, False).is_(False))
        .where(or_(settlements.c.is_pending, difference_minor != 0))
        .order_by(col(Plan.account_id), col(Plan.sequence))
    )


async def _intend(
    session: AsyncSession, account_id: int, sequence: int, now: datetime
) -> OverageSettlement | None:
    """The pending settlement, or a new one; None: nothing differs."""
    query = (
        select(OverageSettlement)
        .where(OverageSettlement.account_id == account_id)
        .where(OverageSettlement.plan_sequence == sequence)
        .order_by(col(OverageSettlement.number))
    )
    earlier = (await session.exec(query)).all()
    for row in earlier:
        if row.state == ReportState.PENDING:
            return row
    due = _unsettled(now).where(Plan.account_id == account_id, Plan.sequence == sequence)
    found = (await session.exec(due)).first()
    if found is None:
        return None
    plan, currency, amount_minor = found
    row = OverageSettlement(
        account_id=account_id,
        plan_sequence=sequence,
        number=len(earlier) + 1,
        executions=plan.used,
        amount_minor=amount_minor,
        currency=currency,
        state=ReportState.PENDING,
        created_at=now,
    )
    session.add(row)
    return row
