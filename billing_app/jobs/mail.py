"""Mail as durable workflows: what a person is to be told is sent, also when the server was away.

A link is made in the step that mails it and is no result of it, so that no table but its own
knows of it, and there only its hash.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, Final

from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.identity import email_changes, email_links, password_resets
from billing_app.billing.mail import Mailer
from billing_app.composition import get_services
from billing_app.jobs import webhooks
from billing_app.jobs.enqueueing import enqueue, enqueue_if_possible

QUEUE: Final = "mail"
PASSWORD_LINK: Final = "mail_password_link"  # noqa: S105 - a workflow's name
PASSWORD_CHANGED: Final = "mail_password_changed"  # noqa: S105
EMAIL_LINK: Final = "mail_email_link"
EMAIL_CHANGED: Final = "mail_email_changed"
MAX_ATTEMPTS: Final = 7
FIRST_RETRY_SECONDS: Final = 2.0
BACKOFF: Final = 3.0
PARALLEL: Final = 32
POLLING_SECONDS: Final = 0.5


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


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def send_email_link(change_id: str) -> None:
    services = get_services()
    await email_links.mail_link(
        services.database,
        _mailer(),
        change_id=change_id,
        site=services.settings.public_url,
        now=datetime.now(UTC),
    )


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def send_email_changed(old_email: str, changed_at: datetime) -> None:
    site = get_services().settings.public_url
    await email_changes.mail_change(_mailer(), email=old_email, site=site, changed_at=changed_at)


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


@DBOS.workflow(name=EMAIL_LINK)
async def mail_email_link(change_id: str) -> None:
    """Mail a link that confirms a new e-mail address."""
    _mailer()
    await send_email_link(change_id)


@DBOS.workflow(name=EMAIL_CHANGED)
async def mail_email_changed(old_email: str, changed_at: datetime) -> None:
    """Tell somebody's old address that it was changed."""
    _mailer()
    await send_email_changed(old_email, changed_at)


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
        await self._try_to_enqueue(session, PASSWORD_CHANGED, user_id, changed_at)

    async def email_link(self, session: AsyncSession, change_id: str) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        await self._enqueue(session, EMAIL_LINK, change_id)

    async def email_changed(
        self, session: AsyncSession, old_email: str, changed_at: datetime
    ) -> None:
        await self._try_to_enqueue(session, EMAIL_CHANGED, old_email, changed_at)

    async def _enqueue(self, session: AsyncSession, workflow: str, *args: Any) -> None:
        await enqueue(session, self._client, _options(workflow), *args)

    async def _try_to_enqueue(self, session: AsyncSession, workflow: str, *args: Any) -> None:
        await enqueue_if_possible(session, self._client, _options(workflow), *args)


def _options(workflow: str) -> EnqueueOptions:
    return {
        "queue_name": QUEUE,
        "workflow_name": workflow,
        "workflow_id": f"mail-{uuid.uuid4()}",
    }


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
