"""Mail as durable workflows: what a person is to be told is sent, also when the server was away.

A link is made in the step that mails it and is no result of it, so that no table but its own
knows of it, and there only its hash.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.identity import password_resets
from billing_app.billing.mail import Mailer
from billing_app.composition import get_services
from billing_app.jobs import webhooks

QUEUE: Final = "mail"
PASSWORD_LINK: Final = "mail_password_link"  # noqa: S105 - a workflow's name
PASSWORD_CHANGED: Final = "mail_password_changed"  # noqa: S105
MAX_ATTEMPTS: Final = 7
FIRST_RETRY_SECONDS: Final = 2.0
BACKOFF: Final = 3.0
PARALLEL: Final = 32
POLLING_SECONDS: Final = 0.5
# A password is not kept waiting for word of it.
BRIEFLY: Final = text("SET LOCAL lock_timeout = '2s'")

log = structlog.get_logger(__name__)


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def send_password_link(email: str) -> None:
    services = get_services()
    await password_resets.mail_link(
        services.database,
        _mailer(),
        email=email,
        site=services.settings.public_url,
        now=datetime.now(UTC),
    )


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def send_password_changed(user_id: str, changed_at: datetime) -> None:
    services = get_services()
    await password_resets.mail_change(
        services.database,
        _mailer(),
        user_id=user_id,
        site=services.settings.public_url,
        changed_at=changed_at,
    )


@DBOS.workflow(name=PASSWORD_LINK)
async def mail_password_link(email: str) -> None:
    """Mail a link for a new password, if anybody has the address."""
    _mailer()
    await send_password_link(email)


@DBOS.workflow(name=PASSWORD_CHANGED)
async def mail_password_changed(user_id: str, changed_at: datetime) -> None:
    """Tell somebody that their password was changed."""
    _mailer()
    await send_password_changed(user_id, changed_at)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(QUEUE, worker_concurrency=PARALLEL, polling_interval_sec=POLLING_SECONDS)


class DbosMailQueue:
    """Implements billing's MailQueue: a job for each mail, in the caller's transaction."""

    def __init__(self, client: DBOSClient) -> None:
        self._client = client

    async def password_link(self, session: AsyncSession, email: str) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        await self._enqueue(session, PASSWORD_LINK, email)

    async def password_changed(
        self, session: AsyncSession, user_id: str, changed_at: datetime
    ) -> None:
        try:
            async with session.begin_nested():
                await (await session.connection()).execute(BRIEFLY)
                await self._enqueue(session, PASSWORD_CHANGED, user_id, changed_at)
        except (ProgrammingError, OperationalError) as error:
            log.warning("mail_not_enqueued", user_id=user_id, error=type(error).__name__)

    async def _enqueue(self, session: AsyncSession, workflow: str, *args: Any) -> None:
        options: EnqueueOptions = {
            "queue_name": QUEUE,
            "workflow_name": workflow,
            "workflow_id": f"mail-{uuid.uuid4()}",
        }

        def enqueue(inner: Any) -> Any:
            return self._client.enqueue_in_transaction(inner, options, *args)

        await session.run_sync(enqueue)


def get_mail_queue() -> DbosMailQueue | None:
    """This process's; None where no mail is sent."""
    services = get_services()
    return DbosMailQueue(webhooks.client(services.database.url)) if services.mailer else None


def _mailer() -> Mailer:
    """Raises RuntimeError in a worker that was started without mail: trying again won't help."""
    mailer = get_services().mailer
    if mailer is None:
        raise RuntimeError("SMTP_HOST is not set for this worker.")
    return mailer
