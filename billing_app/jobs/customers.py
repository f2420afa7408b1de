"""Brings customers at the payment provider up to date, one job of an account at a time.

A job sends what is true when it runs, so the last one sends the newest details. What fails again
and again is left to reconciliation, which compares all customers.
"""

import uuid
from typing import Final

from dbos import DBOS, DBOSClient
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.subscriptions.customer_details import send_details
from billing_app.billing.subscriptions.installation import may_write
from billing_app.composition import get_services
from billing_app.jobs import webhooks
from billing_app.jobs.enqueueing import enqueue_if_possible
from billing_app.payments.rate_budget import Priority, at_priority

QUEUE: Final = "customers"
CUSTOMER_DETAILS: Final = "send_customer_details"
MAX_ATTEMPTS: Final = 8
FIRST_RETRY_SECONDS: Final = 1.0
BACKOFF: Final = 3.0
PARALLEL: Final = 4
POLLING_SECONDS: Final = 0.5


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def send(account_id: int) -> None:
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return
    with at_priority(Priority.WEBHOOK):
        if await may_write(services.provider, CUSTOMER_DETAILS):
            await send_details(services.database, services.provider, account_id)


@DBOS.workflow(name=CUSTOMER_DETAILS)
async def send_customer_details(account_id: int) -> None:
    """Give the account's customer its newest details."""
    await send(account_id)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=PARALLEL,
        partition_concurrency=1,
        polling_interval_sec=POLLING_SECONDS,
    )


class DbosDetailsQueue:
    """Implements billing's DetailsQueue: a job for each change, in the caller's transaction."""

    def __init__(self, client: DBOSClient) -> None:
        self._client = client

    async def customer_details(self, session: AsyncSession, account_id: int) -> None:
        await enqueue_if_possible(
            session,
            self._client,
            {
                "queue_name": QUEUE,
                "workflow_name": CUSTOMER_DETAILS,
                "workflow_id": f"customer-details-{uuid.uuid4()}",
                "queue_partition_key": str(account_id),
            },
            account_id,
        )


def get_details_queue() -> DbosDetailsQueue | None:
    """This process's; None without a payment provider."""
    services = get_services()
    if services.settings.stripe_secret_key is None:
        return None
    return DbosDetailsQueue(webhooks.client(services.database.url))
