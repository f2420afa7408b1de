"""The figures of all accounts, refreshed on a schedule."""

from datetime import date, datetime
from typing import Any

import structlog
from dbos import DBOS

from billing_app.billing.staff.operations import metrics_rollup
from billing_app.composition import get_services
from billing_app.db.partitions import start_of_month

log = structlog.get_logger(__name__)


@DBOS.step()
async def roll_up(now: datetime) -> int:
    return await metrics_rollup.roll_up(get_services().database, now)


@DBOS.step()
async def roll_up_again(now: datetime) -> int:
    services = get_services()
    months = services.settings.daily_retention_months
    kept_from = date.min if months is None else start_of_month(now, -months).date()
    return await metrics_rollup.roll_up_again(services.database, now, kept_from=kept_from)


@DBOS.step()
async def look_for_limits(now: datetime) -> int:
    return await metrics_rollup.look_for_limits(get_services().database, now)


@DBOS.workflow()
async def refresh_figures(scheduled_at: datetime, _context: Any) -> None:
    """Each ten minutes: the days that are over, and who is near their limit."""
    days = await roll_up(scheduled_at)
    log.info("figures_refreshed", days=days, near_limit=await look_for_limits(scheduled_at))


@DBOS.workflow()
async def recount_figures(scheduled_at: datetime, _context: Any) -> None:
    """Nightly: every day from the accounts' own rows."""
    log.info("figures_recounted", days=await roll_up_again(scheduled_at))
