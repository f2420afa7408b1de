"""Tells the provider's meter what was used beyond plans: from the daily rows, each once.

A report is committed before it is sent, and its key is its identifier at the provider, so that a
crash neither loses nor doubles it. While an invoice can still take a period up, its plan is
reported; what changes later is settled (see settling.py).
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.overage.stamps import MINUTE, Period, minute_of, stamp
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    PaymentProviderUnavailableError,
)
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

# The provider forgets identifiers after a day; an hour is kept clear of that.
REMEMBERED: Final = timedelta(hours=23)
# By then the invoice of a period is final: it is a draft for one hour.
CLOSED_AFTER: Final = timedelta(hours=2)
# What an older row says is settled by now: the provider takes 35 days.
OLDEST: Final = timedelta(days=34)
MAX_ACCOUNTS: Final = 1_000

UNTOLD: Final = text("""
SELECT account_id FROM meter_reports WHERE state = 'pending'
UNION
SELECT d.account_id
FROM daily_overage AS d
JOIN plans AS p ON p.account_id = d.account_id AND p.sequence = d.plan_sequence
LEFT JOIN (
    SELECT account_id, plan_sequence, day, sum(executions) AS executions
    FROM meter_reports WHERE day >= :since GROUP BY 1, 2, 3
) AS r ON r.account_id = d.account_id AND r.plan_sequence = d.plan_sequence AND r.day = d.day
WHERE d.day >= :since AND p.ends_at > :closed
  AND (p.ended_at IS NULL OR p.ended_because = 'period_ended')
  AND d.used - d.refunded <> coalesce(r.executions, 0)
ORDER BY 1 LIMIT :most
""")

log = structlog.get_logger(__name__)


class OverageReports:
    def __init__(self, database: Database, provider: PaymentProvider) -> None:
        self._database = database
        self._provider = provider

    async def run(self, now: datetime) -> int:
        """Report all that is not told yet; returns how many reports were sent.

        An account whose report fails is left to the next run.
        """
        values = {
            "since": (now - OLDEST).date(),
            "closed": now - CLOSED_AFTER,
            "most": MAX_ACCOUNTS,
        }
        async with self._database.reading() as session:
            connection = await session.connection()
            accounts = [row[0] for row in await connection.execute(UNTOLD, values)]
        sent = 0
        for account_id in accounts:
            try:
                sent += await self.account(account_id, now)
            except PaymentProviderUnavailableError:
                raise
            except BillingError as error:
                log.exception("overage_not_reported", account_id=account_id, code=error.code)
        return sent

    async def account(self, account_id: int, now: datetime) -> int:
        """Report what an account's open plans were not told of. Raises what the provider raises."""
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, account_id)
        if customer is None:
            return 0
        sent = await self._send_all(account_id, customer.customer_id, now)
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            await _write_down(session, account_id, now)
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
        """Read off the meter whether an old report arrived; send it again when it did not."""
        minute = minute_of(row.at)
        async with self._database.reading() as session:
            told = await _told_in(session, row.account_id, minute)
        held = await self._provider.metered_usage(customer_id, minute, minute + MINUTE)
        if held == told + row.executions:
            await self._keep(row, now, state=ReportState.DONE)
        elif held == told:
            await self._send(await self._keep(row, now, is_new=True), customer_id, now)
        else:
            log.error("meter_differs", report=identifier_of(row), told=told, held=held)

    async def _keep(
        self,
        row: MeterReport,
        now: datetime,
        *,
        state: ReportState = ReportState.PENDING,
        is_new: bool = False,
    ) -> MeterReport:
        """`is_new`: it is sent as if for the first time, and stamped anew."""
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
    """The same for the same report, at any time."""
    account_id = ids.encode_account(row.account_id)
    return f"overage-{account_id}-{row.plan_sequence}-{row.day:%Y%m%d}-{row.number}"


def period_of(plan: Plan) -> Period:
    assert plan.ends_at is not None
    return Period(plan.starts_at, min(plan.ended_at or plan.ends_at, plan.ends_at))


async def _write_down(session: AsyncSession, account_id: int, now: datetime) -> None:
    """A pending report for each day of an open plan whose count is not what the meter was told.

    The caller holds the account's lock. A day whose last report is still on its way waits.
    """
    told = await _told(session, account_id)
    taken = await _taken(session, account_id)
    for plan, daily in await _open_days(session, account_id, now):
        executions, number, is_pending = told.get((plan.sequence, daily.day), (0, 0, False))
        difference = daily.used - daily.refunded - executions
        if difference == 0 or is_pending:
            continue
        at = stamp(period_of(plan), daily.day, now, taken)
        taken.add(at)
        session.add(
            MeterReport(
                account_id=account_id,
                plan_sequence=plan.sequence,
                day=daily.day,
                number=number + 1,
                executions=difference,
                at=at,
                state=ReportState.PENDING,
                created_at=now,
            )
        )


async def _open_days(
    session: AsyncSession, account_id: int, now: datetime
) -> Sequence[tuple[Plan, DailyOverage]]:
    query = (
        select(Plan, DailyOverage)
        .join(
            DailyOverage,
            (col(DailyOverage.account_id) == Plan.account_id)
            & (col(DailyOverage.plan_sequence) == Plan.sequence),
        )
        .where(Plan.account_id == account_id)
        .where(col(Plan.ended_at).is_(None) | (col(Plan.ended_because) == EndReason.PERIOD_ENDED))
        .where(col(Plan.ends_at) > now - CLOSED_AFTER)
        .order_by(col(Plan.sequence), col(DailyOverage.day))
    )
    final = (
        select(OverageBill.plan_sequence)
        .where(OverageBill.account_id == account_id)
        .where(col(OverageBill.is_open).is_(False))
    )
    return (await session.exec(query.where(col(Plan.sequence).not_in(final)))).all()


async def _told(
    session: AsyncSession, account_id: int
) -> dict[tuple[int, date], tuple[int, int, bool]]:
    """By plan and day: executions told, the last number, and whether one is on its way."""
    query = select(MeterReport).where(MeterReport.account_id == account_id)
    found: dict[tuple[int, date], tuple[int, int, bool]] = {}
    for row in (await session.exec(query.order_by(col(MeterReport.number)))).all():
        executions, _, is_pending = found.get((row.plan_sequence, row.day), (0, 0, False))
        found[row.plan_sequence, row.day] = (
            executions + row.executions,
            row.number,
            is_pending or row.state == ReportState.PENDING,
        )
    return found


async def _taken(session: AsyncSession, account_id: int) -> set[datetime]:
    query = select(MeterReport.at).where(MeterReport.account_id == account_id)
    return set((await session.exec(query)).all())


async def _told_in(session: AsyncSession, account_id: int, minute: datetime) -> int:
    query = (
        select(func.coalesce(func.sum(MeterReport.executions), 0))
        .where(MeterReport.account_id == account_id)
        .where(MeterReport.state == ReportState.DONE)
        .where(MeterReport.at == minute)
    )
    return int((await session.exec(query)).one())
