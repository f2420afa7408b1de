"""Background work that survives a crash: DBOS workflows on a schedule, in the same PostgreSQL.

Reservations expire and plans take over without it; it only cleans up and checks.
"""

import logging
import signal
import threading
from datetime import datetime
from typing import Any, Final

import structlog
from dbos import DBOS, DBOSConfig, ScheduleInput
from prometheus_client import start_http_server

from billing_app import logs, tracing
from billing_app.billing.account_events import outbox
from billing_app.billing.alerts import raising
from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.early_ends import reopen_early_ended
from billing_app.billing.retention import (
    purge_answers,
    purge_attempts,
    purge_email_links,
    purge_invitations,
    purge_password_links,
    purge_portal_links,
    purge_sessions,
    purge_webhooks,
)
from billing_app.billing.staff.access.viewing import end_old_views
from billing_app.billing.subscriptions import top_ups
from billing_app.composition import get_services
from billing_app.jobs import (
    alerts,
    customers,
    free_offers,
    listening,
    mail,
    metrics,
    outgoing_webhooks,
    overage,
    reconciliation,
    retention,
    staff,
    webhooks,
)
from billing_app.jobs.pace import Pace
from billing_app.jobs.takeover import Takeover, new_executor_id
from billing_app.settings import load_settings

# One version for all releases: work that an older worker began goes on in a newer one.
APPLICATION_VERSION: Final = "1"
EACH_MINUTE: Final = "* * * * *"
EACH_FIVE_MINUTES: Final = "*/5 * * * *"
HOURLY: Final = "7 * * * *"
HOURLY_LATER: Final = "37 * * * *"
NIGHTLY: Final = "23 3 * * *"
EACH_TEN_MINUTES: Final = "*/10 * * * *"
EARLY_NIGHTLY: Final = "41 2 * * *"
LATE_NIGHTLY: Final = "53 3 * * *"
FIGURES: Final = "refresh-figures"
SWEEP: Final = "sweep-webhooks"
TOP_UPS: Final = "top-up"
MAILS: Final = "mail-bank-decisions"
ALERTS: Final = "deliver-alerts"
EVENTS: Final = "dispatch-account-events"

COALESCE_SECONDS: Final = 1.0
SECONDS_OF_MINUTE: Final = 60

THROTTLE: Final = logs.Throttle()

log = structlog.get_logger(__name__)


@DBOS.step()
async def remove_old_answers(now: datetime) -> int:
    services = get_services()
    days = services.settings.idempotency_retention_days
    return await purge_answers(services.database, now=now, retention_days=days)


@DBOS.step()
async def remove_old_sessions(now: datetime) -> int:
    database = get_services().database
    sessions = await purge_sessions(database, now=now)
    return sessions + await purge_attempts(database, now=now)


@DBOS.step()
async def remove_old_password_links(now: datetime) -> int:
    database = get_services().database
    resets = await purge_password_links(database, now=now)
    emails = await purge_email_links(database, now=now)
    invitations = await purge_invitations(database, now=now)
    return resets + emails + invitations + await purge_portal_links(database, now=now)


@DBOS.step()
async def remove_old_webhooks(now: datetime) -> int:
    return await purge_webhooks(get_services().database, now=now)


@DBOS.step()
async def reopen_plans() -> int:
    return await reopen_early_ended(get_services().database)


@DBOS.step()
async def end_views(now: datetime) -> int:
    return await end_old_views(get_services().database, now)


@DBOS.step()
async def compare_ledger() -> int:
    differences = await verify(get_services().database)
    for difference in differences:
        log.error("ledger_difference", difference=repr(difference))
    return len(differences)


@DBOS.workflow()
async def clean_up(scheduled_at: datetime, _context: Any) -> None:
    """Hourly: forget what is past its retention."""
    answers = await remove_old_answers(scheduled_at)
    sessions = await remove_old_sessions(scheduled_at)
    links = await remove_old_password_links(scheduled_at)
    jobs = await retention.forget_old_jobs(scheduled_at)
    hooks = await remove_old_webhooks(scheduled_at)
    log.info(
        "cleaned_up", answers=answers, sessions=sessions, links=links, jobs=jobs, webhooks=hooks
    )


@DBOS.workflow()
async def undo_clock_jump(_scheduled_at: datetime, _context: Any) -> None:
    """Every ten minutes: open plans again that ended while a clock was ahead."""
    reopened = await reopen_plans()
    if reopened:
        log.warning("plans_reopened", plans=reopened)


@DBOS.workflow()
async def end_staff_views(scheduled_at: datetime, _context: Any) -> None:
    """Each minute: write down that staff stopped looking at an account as its holder."""
    ended = await end_views(scheduled_at)
    if ended:
        log.info("staff_views_ended", views=ended)


@DBOS.workflow()
async def check_ledger(_scheduled_at: datetime, _context: Any) -> None:
    """Nightly: recompute every balance from the ledger, and log what differs."""
    log.info("ledger_checked", differences=await compare_ledger())


SCHEDULES: Final[list[ScheduleInput]] = [
    {
        "schedule_name": "sweep-balances",
        "workflow_fn": alerts.sweep_balances_hourly,
        "schedule": HOURLY_LATER,
    },
    {"schedule_name": "watch-accounts", "workflow_fn": alerts.watch_hourly, "schedule": HOURLY},
    {"schedule_name": "watch-cards", "workflow_fn": alerts.watch_cards, "schedule": NIGHTLY},
    {
        "schedule_name": "tell-meter",
        "workflow_fn": overage.tell_meter,
        "schedule": EACH_FIVE_MINUTES,
    },
    {
        "schedule_name": "check-meter",
        "workflow_fn": overage.check_meter,
        "schedule": NIGHTLY,
    },
    {
        "schedule_name": "settle-overage",
        "workflow_fn": overage.settle_late_overage,
        "schedule": HOURLY_LATER,
    },
    {
        "schedule_name": "refill-free-offers",
        "workflow_fn": free_offers.refill_hourly,
        "schedule": HOURLY,
    },
    {"schedule_name": "clean-up", "workflow_fn": clean_up, "schedule": HOURLY},
    {
        "schedule_name": "undo-clock-jump",
        "workflow_fn": undo_clock_jump,
        "schedule": EACH_TEN_MINUTES,
    },
    {
        "schedule_name": "tell-passing-time",
        "workflow_fn": outgoing_webhooks.tell_passing_time,
        "schedule": EACH_TEN_MINUTES,
    },
    {
        "schedule_name": "reconcile",
        "workflow_fn": reconciliation.reconcile_hourly,
        "schedule": HOURLY,
    },
    {
        "schedule_name": "end-staff-views",
        "workflow_fn": end_staff_views,
        "schedule": EACH_MINUTE,
    },
    {"schedule_name": "check-ledger", "workflow_fn": check_ledger, "schedule": NIGHTLY},
    {
        "schedule_name": FIGURES,
        "workflow_fn": metrics.refresh_figures,
        "schedule": EACH_TEN_MINUTES,
    },
    {
        "schedule_name": "keep-months",
        "workflow_fn": retention.keep_months,
        "schedule": EARLY_NIGHTLY,
    },
    {
        "schedule_name": "recount-figures",
        "workflow_fn": metrics.recount_figures,
        "schedule": LATE_NIGHTLY,
    },
]


def run_worker(database_url: str) -> None:
    """Run scheduled work until SIGTERM or SIGINT. Several workers share it safely."""
    settings = load_settings()
    launch(
        database_url,
        rest_seconds=settings.worker_poll_seconds,
        sweep_seconds=settings.sweep_seconds,
    )
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, settings.metrics_host)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("worker_started")
    stop.wait()
    DBOS.destroy()
    tracing.flush()


def launch(database_url: str, *, rest_seconds: float, sweep_seconds: int) -> None:
    """Start DBOS on the app's database (schema `dbos`) and register the schedules.

    Without an announcement it looks for work each `rest_seconds`, and for what was missed each
    `sweep_seconds`.
    """
    executor_id = new_executor_id()
    takeover = Takeover(database_url, executor_id, webhooks.APPLICATION_NAME)
    config: DBOSConfig = {
        "name": webhooks.APPLICATION_NAME,
        "executor_id": executor_id,
        "application_version": APPLICATION_VERSION,
        "console_log_level": "WARNING",
        # Of streams and events between workflows, which nothing here uses: 100 times a second
        # otherwise.
        "notification_coalesce_sec": COALESCE_SECONDS,
        "system_database_url": database_url.replace("postgresql://", "postgresql+psycopg://", 1),
    }
    tracing.start()
    if tracing.is_on():
        config |= {"enable_otlp": True, "otel_attribute_format": "semconv"}
    logging.getLogger("dbos").addFilter(THROTTLE)
    dbos = DBOS(config=config)
    logs.adopt("dbos")
    takeover.hold()
    DBOS.launch()
    takeover.start()
    for module in (webhooks, staff, mail, overage, customers, outgoing_webhooks, alerts):
        module.register_queue()
    _listen(dbos, database_url, rest_seconds)
    DBOS.apply_schedules([*SCHEDULES, *_sweeps(sweep_seconds)])
    # What arrived while no worker ran need not wait for the next minute.
    for name in (SWEEP, TOP_UPS, EVENTS, FIGURES):
        DBOS.trigger_schedule(name)


def _sweeps(seconds: int) -> list[ScheduleInput]:
    """For what was never enqueued or announced, and for mail about what was noticed."""
    schedule = EACH_MINUTE if seconds == SECONDS_OF_MINUTE else f"*/{seconds} * * * * *"
    return [
        {"schedule_name": TOP_UPS, "workflow_fn": overage.top_up, "schedule": schedule},
        {"schedule_name": SWEEP, "workflow_fn": webhooks.sweep_webhooks, "schedule": schedule},
        {"schedule_name": MAILS, "workflow_fn": mail.mail_bank_decisions, "schedule": schedule},
        {
            "schedule_name": EVENTS,
            "workflow_fn": outgoing_webhooks.sweep_account_events,
            "schedule": schedule,
        },
        {"schedule_name": ALERTS, "workflow_fn": alerts.sweep_alerts, "schedule": schedule},
    ]


def _listen(dbos: DBOS, database_url: str, rest_seconds: float) -> None:
    """Rest until jobs are announced, where they are; buy top-ups and tell events that are."""
    events = outgoing_webhooks.Announcements(
        database_url, outgoing_webhooks.enqueue_dispatch, "account-events"
    )
    raised = outgoing_webhooks.Announcements(database_url, alerts.enqueue_delivery, "alerts")
    events.start()
    raised.start()

    def heard(channel: str, payload: str) -> None:
        if channel == outbox.CHANNEL:
            events.hear()
        elif channel == raising.CHANNEL:
            raised.hear()
        else:
            overage.enqueue_top_up(database_url, payload)

    pace = Pace(rest_seconds)
    if listening.install(database_url):
        pace.adopt(dbos)
    listening.listen(database_url, pace, [top_ups.CHANNEL, outbox.CHANNEL, raising.CHANNEL], heard)
