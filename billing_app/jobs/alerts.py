"""Alerts as jobs: what decisions raise is delivered at once, what time brings is looked for."""

import uuid
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from dbos import DBOS, EnqueueOptions

from billing_app.billing.alerts import delivery, pace, paying, retention
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.sweep import sweep_balances
from billing_app.billing.notices import passing_time as notices
from billing_app.billing.notices import sending, support
from billing_app.billing.subscriptions.installation import may_write
from billing_app.composition import get_services
from billing_app.jobs import mail, webhooks
from billing_app.payments.rate_budget import Priority, at_priority

QUEUE: Final = "alerts"
DELIVER: Final = "deliver_alerts"
POLLING_SECONDS: Final = 0.25
MAX_ATTEMPTS: Final = 10
FIRST_RETRY_SECONDS: Final = 1.0
BACKOFF: Final = 2.0

log = structlog.get_logger(__name__)


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def deliver() -> int:
    return await delivery.deliver(get_services().database, await _mail_queue(), _now())


@DBOS.step()
async def alert_failed_payments() -> int:
    database = get_services().database
    return await paying.alert_failed_payments(database, await _book(), _now())


@DBOS.step()
async def sweep() -> int:
    return await sweep_balances(get_services().database, await _book(), _now())


@DBOS.step()
async def watch() -> int:
    """Renewals, forecasts and pace; mail about what is due, or could not be sent; what is past its
    retention."""
    database, book, now = get_services().database, await _book(), _now()
    raised = await paying.alert_renewals(database, book, now)
    raised += await pace.alert_unusual_pace(database, book, now)
    raised += await pace.alert_forecasts(database, book, now)
    queue = await _mail_queue()
    if queue is not None:
        await delivery.queue_unsent(database, queue, now)
        await notices.write_notices(database, book, now)
        await sending.queue_notices(database, queue, now)
    await retention.purge_alerts(database, now)
    await sending.purge_notices(database, now)
    return raised


@DBOS.step()
async def mail_notices() -> int:
    queue = await _mail_queue()
    if queue is None:
        return 0
    database, now = get_services().database, _now()
    await support.write_support_notices(database, now)
    return await sending.queue_notices(database, queue, now)


@DBOS.step()
async def ask_for_cards() -> int:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return 0
    with at_priority(Priority.RECONCILE):
        return await paying.alert_cards(services.database, services.provider, await _book(), _now())


@DBOS.workflow(name=DELIVER)
async def deliver_alerts() -> None:
    """What was raised since the last time."""
    await deliver()


@DBOS.workflow()
async def sweep_alerts(_scheduled_at: datetime, _context: Any) -> None:
    """Now and then: payments that failed, what was not announced, and what support did."""
    await alert_failed_payments()
    await deliver()
    await mail_notices()


@DBOS.workflow()
async def sweep_balances_hourly(_scheduled_at: datetime, _context: Any) -> None:
    """Hourly: thresholds that were crossed without an alert."""
    missed = await sweep()
    if missed:
        log.warning("alerts_were_missed", alerts=missed)


@DBOS.workflow()
async def watch_hourly(_scheduled_at: datetime, _context: Any) -> None:
    """Hourly: what time brings."""
    raised = await watch()
    if raised:
        log.info("alerts_raised", alerts=raised)


@DBOS.workflow()
async def watch_cards(_scheduled_at: datetime, _context: Any) -> None:
    """Nightly: cards that expire before they are charged again."""
    raised = await ask_for_cards()
    if raised:
        log.info("alerts_raised", alerts=raised)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_SECONDS)


def enqueue_delivery(database_url: str) -> None:
    """What cannot be enqueued waits for the sweep."""
    options: EnqueueOptions = {
        "queue_name": QUEUE,
        "workflow_name": DELIVER,
        "workflow_id": f"{DELIVER}-{uuid.uuid4()}",
    }
    try:
        webhooks.client(database_url).enqueue(options)
    except Exception as error:
        log.warning("alerts_not_enqueued", error=type(error).__name__)


async def _mail_queue() -> mail.DbosMailQueue | None:
    """None where nothing is mailed: a copied database would mail its original's customers."""
    queue = mail.get_mail_queue()
    may = queue is not None and await may_write(get_services().provider, DELIVER)
    return queue if may else None


async def _book() -> RuleBook:
    """The rules as they are now."""
    book = get_services().alert_watch.rule_book
    await book.read()
    return book


def _now() -> datetime:
    return datetime.now(UTC)
