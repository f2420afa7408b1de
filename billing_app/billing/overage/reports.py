"""Overage reports: tell the provider's meter what was used beyond plans, day by day, once.

A report is committed before it is sent, and its key is its identifier at the provider, so a crash
neither loses nor doubles it. A plan is reported while an invoice can still bill its period; what
changes later is settled (see late_settlement.py).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import BigInteger, ColumnElement, and_
from sqlalchemy import cast as sql_cast
from sqlalchemy import select as select_rows
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from billing_app.billing import ids
from billing_app.billing.overage.stamps import MINUTE, Period, minute_of, stamp
from billing_app.billing.subscriptions.account_runs import run_each
from billing_app.billing.subscriptions.installation import may_write
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, ReportState
from billing_app.db.tables import (
    Account,
    DailyOverage,
    MeterReport,
    OverageBill,
    Plan,
    ProviderCustomer,
)

# The provider forgets identifiers after a day; this leaves an hour to spare.
REMEMBERED: Final = timedelta(hours=23)
# By then the invoice of a period is final: it is a draft for one hour.
CLOSED_AFTER: Final = timedelta(hours=2)
# Older days are settled by now: the provider accepts 35 days.
OLDEST: Final = timedelta(days=34)
MAX_ACCOUNTS: Final = 1_000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class OverageReports:
    _database: Database
    _provider: PaymentProvider

    async def run(self, now: datetime) -> int:
        """Report everything unreported; returns how many reports were sent.

        An account whose report fails waits for the next run. Raises what `run_each` raises.
        """
        if not await may_write(self._provider, "overage_reports"):
            return 0
        pending = select(MeterReport.account_id).where(MeterReport.state == ReportState.PENDING)
        unreported = _unreported(now, (now - OLDEST).date()).with_only_columns(col(Plan.account_id))
        accounts = pending.union(unreported).order_by("account_id").limit(MAX_ACCOUNTS)
        async with self._database.reading() as session:
            connection = await session.connection()
            account_ids = (await connection.execute(accounts)).scalars().all()
        return await run_each(
            account_ids,
            lambda account_id: self.account(account_id, now),
            account_of=int,
            job="overage reports",
        )

    async def account(self, account_id: int, now: datetime) -> int:
        """Report what is unreported of one account. Raises what the provider raises."""
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, account_id)
        if customer is None:
            return 0
        sent = await self._send_all(account_id, customer.customer_id, now)
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            await _write_reports(session, account_id, now)
        return sent + await self._send_all(account_id, customer.customer_id, now)

    async def _send_all(self, account_id: int, customer_id: str, now: datetime) -> int:
        query = (
            select(MeterReport)
            .where(MeterReport.account_id == account_id)
            .where(MeterReport.state == ReportState.PENDING)
            .order_by(col(MeterReport.day), col(MeterReport.number))
        )
        async with self._database.reading() as session:
            rows = list((await session.exec(query)).all())
        for row in rows:
            if now - row.created_at > REMEMBERED:
                await self._look_up(row, customer_id, now)
            else:
                await self._send(row, customer_id, now)
        return len(rows)

    async def _send(self, row: MeterReport, customer_id: str, now: datetime) -> None:
        await self._provider.report_usage(
            customer_id=customer_id,
            executions=row.executions,
            identifier=identifier_of(row),
            at=row.at,
        )
        await self._keep(row, now, state=ReportState.DONE)

    async def _look_up(self, row: MeterReport, customer_id: str, now: datetime) -> None:
        """Read from the meter whether an old report arrived; send it again if it did not."""
        minute = minute_of(row.at)
        async with self._database.reading() as session:
            reported = await _reported_in(session, row.account_id, minute)
        metered = await self._provider.metered_usage(customer_id, minute, minute + MINUTE)
        if metered == reported + row.executions:
            await self._keep(row, now, state=ReportState.DONE)
        elif metered == reported:
            await self._send(await self._keep(row, now, is_new=True), customer_id, now)
        else:
            log.error(
                "meter_differs", report=identifier_of(row), reported=reported, metered=metered
            )

    async def _keep(
        self,
        row: MeterReport,
        now: datetime,
        *,
        state: ReportState = ReportState.PENDING,
        is_new: bool = False,
    ) -> MeterReport:
        """`is_new`: it will be sent as if for the first time, with a new time stamp."""
        key = (row.account_id, row.plan_sequence, row.day, row.number)
        async with self._database.transaction() as session:
            kept = await session.get(MeterReport, key, with_for_update=True)
            assert kept is not None
            kept.state = state
            kept.finished_at = now if state is ReportState.DONE else None
            if is_new:
                plan = await session.get(Plan, (row.account_id, row.plan_sequence))
                assert plan is not None
                taken = await _taken(session, row.account_id)
                kept.at = stamp(period_of(plan), row.day, now, taken)
                kept.created_at = now
            session.add(kept)
        return kept


def identifier_of(row: MeterReport) -> str:
    """The same for the same report, whenever it is sent."""
    account_id = ids.encode_account(row.account_id)
    return f"overage-{account_id}-{row.plan_sequence}-{row.day:%Y%m%d}-{row.number}"


def period_of(plan: Plan) -> Period:
    assert plan.ends_at is not None
    return Period(plan.starts_at, min(plan.ended_at or plan.ends_at, plan.ends_at))


def is_of_plan(account_id: Any, plan_sequence: Any) -> ColumnElement[bool]:
    return and_(account_id == Plan.account_id, plan_sequence == Plan.sequence)


async def _write_reports(session: AsyncSession, account_id: int, now: datetime) -> None:
    """A pending report for each unreported day. The caller holds the account's lock."""
    taken = await _taken(session, account_id)
    query = _unreported(now).where(Plan.account_id == account_id)
    query = query.order_by(col(Plan.sequence), col(DailyOverage.day))
    for plan, day, executions, last_number in (await session.exec(query)).all():
        at = stamp(period_of(plan), day, now, taken)
        taken.add(at)
        session.add(
            MeterReport(
                account_id=account_id,
                plan_sequence=plan.sequence,
                day=day,
                number=last_number + 1,
                executions=executions,
                at=at,
                state=ReportState.PENDING,
                created_at=now,
            )
        )


def _unreported(now: datetime, since: date = date.min) -> Select[Plan, date, int, int]:
    """Days of plans that an invoice can still bill, whose count is not what was reported: with the
    difference and the number of the last report. A day with a pending report waits."""
    reports = (
        select_rows(
            col(MeterReport.account_id),
            col(MeterReport.plan_sequence),
            col(MeterReport.day),
            func.sum(MeterReport.executions).label("executions"),
            func.max(MeterReport.number).label("number"),
            func.bool_or(MeterReport.state == ReportState.PENDING).label("is_pending"),
        )
        .where(col(MeterReport.day) >= since)
        .group_by(col(MeterReport.account_id), col(MeterReport.plan_sequence), col(MeterReport.day))
        .subquery()
    )
    counted = col(DailyOverage.used) - col(DailyOverage.refunded)
    difference = counted - sql_cast(func.coalesce(reports.c.executions, 0), BigInteger)
    return (
        select(Plan, col(DailyOverage.day), difference, func.coalesce(reports.c.number, 0))
        .join(DailyOverage, is_of_plan(DailyOverage.account_id, DailyOverage.plan_sequence))
        .outerjoin(OverageBill, is_of_plan(OverageBill.account_id, OverageBill.plan_sequence))
        .outerjoin(
            reports,
            is_of_plan(reports.c.account_id, reports.c.plan_sequence)
            & (reports.c.day == DailyOverage.day),
        )
        .where(col(DailyOverage.day) >= since)
        .where(col(Plan.ended_at).is_(None) | (col(Plan.ended_because) == EndReason.PERIOD_ENDED))
        .where(col(Plan.ends_at) > now - CLOSED_AFTER)
        .where(func.coalesce(OverageBill.is_open, True))
        .where(difference != 0, func.coalesce(reports.c.is_pending, False).is_(False))
    )


async def _taken(session: AsyncSession, account_id: int) -> set[datetime]:
    query = select(MeterReport.at).where(MeterReport.account_id == account_id)
    return set((await session.exec(query)).all())


async def _reported_in(session: AsyncSession, account_id: int, minute: datetime) -> int:
    query = (
        select(func.coalesce(func.sum(MeterReport.executions), 0))
        .where(MeterReport.account_id == account_id)
        .where(MeterReport.state == ReportState.DONE)
        .where(MeterReport.at == minute)
    )
    return int((await session.exec(query)).one())
