"""Overage and top-ups on a schedule; a run that was late acts on the time it has. A top-up that is
announced is bought at once.
"""

from datetime import UTC, datetime
from typing import Any, Final

import structlog
from dbos import DBOS, EnqueueOptions

from billing_app.billing.errors import BillingError
from billing_app.billing.overage.comparison import compare_meter
from billing_app.composition import get_services
from billing_app.jobs import webhooks
from billing_app.payments.rate_budget import Priority, at_priority

log = structlog.get_logger(__name__)

QUEUE: Final = "top_ups"
TOP_UP_ACCOUNT: Final = "top_up_account"
PARALLEL: Final = 4
POLLING_SECONDS: Final = 1.0
# The month's cap ends it sooner.
MAX_PACKS: Final = 20
TIMEOUT_SECONDS: Final = 240.0
COMPARING_SECONDS: Final = 3000.0


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def report_overage() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    with at_priority(Priority.WEBHOOK):
        return await services.subscriptions.reports.run(datetime.now(UTC))


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def settle_overage() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    with at_priority(Priority.WEBHOOK):
        return await services.settlements.run(datetime.now(UTC))


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def buy_top_ups() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    return await services.top_ups.run(datetime.now(UTC))


@DBOS.step(timeout_seconds=TIMEOUT_SECONDS)
async def buy_top_up(account_id: int) -> bool:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return False
    try:
        return await services.top_ups.buy_if_needed(account_id, datetime.now(UTC))
    except BillingError as error:
        log.warning("top_up_failed", account_id=account_id, code=error.code)
        return False


@DBOS.step(timeout_seconds=COMPARING_SECONDS)
async def compare_with_meter() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    with at_priority(Priority.RECONCILE):
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


@DBOS.workflow(name=TOP_UP_ACCOUNT)
async def top_up_account(account_id: int) -> None:
    """Packs for an account that ran low, until it has enough or its cap is reached."""
    for _ in range(MAX_PACKS):
        if not await buy_top_up(account_id):
            return
        log.info("topped_up", account_id=account_id)


@DBOS.workflow()
async def top_up(_scheduled_at: datetime, _context: Any) -> None:
    """Now and then: what was interrupted, and packs for accounts that nobody announced."""
    bought = await buy_top_ups()
    if bought:
        log.info("topped_up", packs=bought)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=PARALLEL,
        partition_concurrency=1,
        polling_interval_sec=POLLING_SECONDS,
    )


def enqueue_top_up(database_url: str, announced: str) -> None:
    """Have a pack bought soon for an account that was announced; every worker heard it, and all of
    them make the same job of it. What cannot be enqueued waits for the sweep."""
    account_id = announced.partition(" ")[0]
    options: EnqueueOptions = {
        "queue_name": QUEUE,
        "workflow_name": TOP_UP_ACCOUNT,
        "workflow_id": f"top-up-{announced.replace(' ', '-')}",
        "queue_partition_key": account_id,
    }
    try:
        webhooks.client(database_url).enqueue(options, int(account_id))
    except Exception as error:
        log.warning("top_up_not_enqueued", account_id=account_id, error=type(error).__name__)
