"""Hourly: the next period of free offers."""

from datetime import datetime
from typing import Any

import structlog
from dbos import DBOS

from billing_app.billing.accounts.free_refills import refill_free_offers
from billing_app.composition import get_services

log = structlog.get_logger(__name__)


@DBOS.step()
async def refill(now: datetime) -> int:
    return await refill_free_offers(get_services().database, now)


@DBOS.workflow()
async def refill_hourly(scheduled_at: datetime, _context: Any) -> None:
    """Queue what begins within two days."""
    refilled = await refill(scheduled_at)
    if refilled:
        log.info("free_offers_refilled", accounts=refilled)
