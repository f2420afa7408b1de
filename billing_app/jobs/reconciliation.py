"""Reconciliation, on a schedule and when staff ask for it."""

from datetime import datetime
from typing import Any, Final

import structlog
from dbos import DBOS

from billing_app.composition import get_services
from billing_app.payments.reconcile_walks import Extent
from billing_app.payments.reconciliation import reconcile

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS: Final = 3000.0
RECONCILE_NOW: Final = "reconcile_now"


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def reconcile_all(now: datetime, dry_run: bool = False) -> int:
    """Goes on where the last run stopped; a dry run compares everything."""
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    found = await reconcile(
        services.database,
        services.provider,
        services.subscriptions,
        now=now,
        dry_run=dry_run,
        extent=Extent(resumes=True, seconds=services.settings.reconcile_seconds),
    )
    for difference in found:
        log.warning("reconciled", difference=repr(difference))
    return len(found)


@DBOS.workflow()
async def reconcile_hourly(scheduled_at: datetime, _context: Any) -> None:
    """Compare with the payment provider, and heal."""
    log.info("reconciliation_done", differences=await reconcile_all(scheduled_at))


@DBOS.workflow(name=RECONCILE_NOW)
async def reconcile_now(asked_at: datetime, dry_run: bool) -> None:
    """What staff asked for; it fails when the payment provider does not answer."""
    log.info("reconciliation_done", differences=await reconcile_all(asked_at, dry_run))
