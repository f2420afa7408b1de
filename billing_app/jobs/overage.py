"""Overage and top-ups on a schedule; a run that was late acts on the time it has."""

from datetime import UTC, datetime
from typing import Any, Final

import structlog
from dbos import DBOS

from billing_app.billing.overage.comparison import compare_meter
from billing_app.composition import get_services

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS: Final = 240.0
COMPARING_SECONDS: Final = 3000.0


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def report_overage() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    return await services.subscriptions.reports.run(datetime.now(UTC))


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def settle_overage() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    return await services.settlements.run(datetime.now(UTC))


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def buy_top_ups() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    return await services.top_ups.run(datetime.now(UTC))


@DBOS.step(timeout_seconds=COMPARING_SECONDS)
async def compare_with_meter() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    found = await compare_meter(services.database, services.provider, datetime.now(UTC))
    for difference in found:
        log.error("meter_difference", difference=repr(difference))
    return len(found)


@DBOS.workflow()
async def check_meter(_scheduled_at: datetime, _context: Any) -> None:
    """Nightly: compare the provider's meter with what it was told, and log what differs."""
    log.info("meter_checked", differences=await compare_with_meter())


@DBOS.workflow()
async def tell_meter(_scheduled_at: datetime, _context: Any) -> None:
    """Every few minutes: what was used beyond plans. A renewal's invoice is a draft for an hour,
    so that the last of its period is on it."""
    sent = await report_overage()
    if sent:
        log.info("overage_reported", reports=sent)


@DBOS.workflow()
async def settle_late_overage(_scheduled_at: datetime, _context: Any) -> None:
    """Hourly: what came too late for its period's invoice."""
    settled = await settle_overage()
    if settled:
        log.info("overage_settled", amounts=settled)


@DBOS.workflow()
async def top_up(_scheduled_at: datetime, _context: Any) -> None:
    """Every few seconds: packs for accounts that ran low and ordered it so."""
    bought = await buy_top_ups()
    if bought:
        log.info("topped_up", packs=bought)
