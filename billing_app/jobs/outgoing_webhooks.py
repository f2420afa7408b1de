"""Outgoing webhooks as durable jobs: events become deliveries, and each attempt is a workflow.

The database is the source of truth: an event that was not announced, and a delivery without a job,
are found by the sweep. The next attempt is queued, with its delay, in the transaction that keeps
the result of this one; an attempt that was interrupted is made again, with the same id.
"""

import random
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import structlog
from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events import passing_time
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.notices import sending
from billing_app.billing.notices.account_events import AccountEventNotices
from billing_app.billing.webhooks_out import attempts, dispatch
from billing_app.composition import Services, get_services
from billing_app.db.engine import Database
from billing_app.db.tables import WebhookDelivery
from billing_app.jobs import mail, webhooks
from billing_app.jobs.enqueueing import enqueue
from billing_app.jobs.webhook_sender import WebhookSender

DISPATCH_QUEUE: Final = "account_events"
DELIVERY_QUEUE: Final = "webhooks_out"
DISPATCH: Final = "dispatch_account_events"
DELIVER: Final = "deliver_webhook"
PARALLEL: Final = 32
# An endpoint that is slow holds up no other.
PARALLEL_OF_ENDPOINT: Final = 4
POLLING_SECONDS: Final = 0.25
# Many announcements in a row are answered by one job.
MIN_GAP_SECONDS: Final = 0.25
# A job ends some time; what is left is taken by the next.
MAX_BLOCKS: Final = 200
MAX_STEP_ATTEMPTS: Final = 10
FIRST_RETRY_SECONDS: Final = 1.0
BACKOFF: Final = 2.0

log = structlog.get_logger(__name__)


class DbosDeliveryQueue:
    """Implements billing's DeliveryQueue."""

    def __init__(self, client: DBOSClient) -> None:
        self._client = client

    async def attempt(
        self, session: AsyncSession, delivery: WebhookDelivery, *, delay_seconds: float
    ) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        number = delivery.attempts
        options: EnqueueOptions = {
            "queue_name": DELIVERY_QUEUE,
            "workflow_name": DELIVER,
            "workflow_id": f"{delivery.id}-{delivery.round}-{number}",
            "queue_partition_key": delivery.endpoint_id,
        }
        if delay_seconds:
            options["delay_seconds"] = delay_seconds
        await enqueue(session, self._client, options, delivery.id, delivery.round, number)


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_STEP_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def attempt_delivery(delivery_id: str, round_: int, number: int) -> None:
    await attempt(get_services(), delivery_id, round_, number)


async def attempt(services: Services, delivery_id: str, round_: int, number: int) -> None:
    """Send it and keep the answer; a copied database lets it wait, or receivers would hear of its
    original's events once more."""
    database = services.database
    if await services.installation.advice():
        await attempts.park(database, delivery_id, round_=round_, attempts=number)
        return
    client = webhooks.client(database.url)
    message = await attempts.next_message(
        database, delivery_id, round_=round_, attempts=number, now=_now()
    )
    if message is None:
        return
    answer = await sender(allow_private=services.settings.webhook_allow_private).send(
        message, _now()
    )
    await attempts.record(
        database,
        message,
        answer,
        queue=DbosDeliveryQueue(client),
        mail=mail.DbosMailQueue(client) if services.mailer else None,
        jitter=random.random(),  # noqa: S311 - spreads load
        now=_now(),
    )


@DBOS.workflow(name=DELIVER)
async def deliver_webhook(delivery_id: str, round_: int, number: int) -> None:
    """One attempt of a delivery, the `number`th from 0; what follows it is queued with it."""
    await attempt_delivery(delivery_id, round_, number)


@DBOS.step()
async def dispatch_block() -> int:
    """How much was done; 0: nothing waits, or this is a copy of a database."""
    services = get_services()
    if advice := await services.installation.advice():
        log.warning("job_skipped", job=DISPATCH, advice=advice)
        return 0
    database, mail_queue = services.database, mail.get_mail_queue()
    queue = DbosDeliveryQueue(webhooks.client(database.url))
    listener = AccountEventNotices(_book(database)) if mail_queue else None
    taken = await dispatch.dispatch_events(database, _now(), listener)
    if mail_queue is not None:
        taken += await sending.queue_notices(database, mail_queue, _now())
    return taken + await dispatch.queue_deliveries(database, queue, _now())


@DBOS.workflow(name=DISPATCH)
async def dispatch_account_events() -> None:
    """Make deliveries of what happened, and have them attempted."""
    for _ in range(MAX_BLOCKS):
        if not await dispatch_block():
            return


@DBOS.workflow()
async def sweep_account_events(_scheduled_at: datetime, _context: Any) -> None:
    """Now and then: what was not announced."""
    await dispatch_account_events()


@DBOS.step()
async def tell_time() -> int:
    return await passing_time.tell_passing_time(get_services().database, _now())


@DBOS.workflow()
async def tell_passing_time(_scheduled_at: datetime, _context: Any) -> None:
    """Every ten minutes: plans that started or ended while nobody used their account."""
    told = await tell_time()
    if told:
        log.info("passing_time_told", accounts=told)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(DISPATCH_QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_SECONDS)
    DBOS.register_queue(
        DELIVERY_QUEUE,
        worker_concurrency=PARALLEL,
        partition_concurrency=PARALLEL_OF_ENDPOINT,
        polling_interval_sec=POLLING_SECONDS,
    )


class Announcements:
    """Makes one job of many announcements, in a thread of its own until the process ends."""

    def __init__(self, database_url: str, enqueue: Callable[[str], None], name: str) -> None:
        self._database_url = database_url
        self._enqueue = enqueue
        self._name = name
        self._announced = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def hear(self) -> None:
        self._announced.set()

    def _run(self) -> None:
        while self._announced.wait():
            self._announced.clear()
            self._enqueue(self._database_url)
            threading.Event().wait(MIN_GAP_SECONDS)


def enqueue_dispatch(database_url: str) -> None:
    """What cannot be enqueued waits for the sweep."""
    options: EnqueueOptions = {
        "queue_name": DISPATCH_QUEUE,
        "workflow_name": DISPATCH,
        "workflow_id": f"{DISPATCH}-{uuid.uuid4()}",
    }
    try:
        webhooks.client(database_url).enqueue(options)
    except Exception as error:
        log.warning("account_events_not_enqueued", error=type(error).__name__)


@cache
def _book(database: Database) -> RuleBook:
    return RuleBook(database)


@cache
def sender(*, allow_private: bool) -> WebhookSender:
    return WebhookSender(allow_private=allow_private)


def _now() -> datetime:
    return datetime.now(UTC)
