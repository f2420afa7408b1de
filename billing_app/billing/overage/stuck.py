"""Overage that the provider does not take: refused, or its key belongs to another request."""

from datetime import datetime

from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.overage.late_settlement import key_of
from billing_app.billing.overage.reports import identifier_of
from billing_app.db.engine import Database
from billing_app.db.enums import ReportState
from billing_app.db.tables import MeterReport, OverageSettlement


async def stuck_overage(database: Database, before: datetime) -> list[tuple[str, str]]:
    """Account and key of each report and settlement that is pending since before that time."""
    reports = (
        select(MeterReport)
        .where(MeterReport.state == ReportState.PENDING, MeterReport.created_at < before)
        .order_by(col(MeterReport.created_at))
    )
    settlements = (
        select(OverageSettlement)
        .where(OverageSettlement.state == ReportState.PENDING)
        .where(OverageSettlement.created_at < before)
        .order_by(col(OverageSettlement.created_at))
    )
    async with database.reading() as session:
        reported = [(row.account_id, identifier_of(row)) for row in await session.exec(reports)]
        settled = [(row.account_id, key_of(row)) for row in await session.exec(settlements)]
    return [(ids.encode_account(account_id), key) for account_id, key in reported + settled]
