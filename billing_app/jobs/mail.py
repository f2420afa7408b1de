"""Mail as durable workflows: what a person is to be told is sent, also when the server was away.

A link is made in the step that mails it and is no result of it, so that no table but its own
knows of it, and there only its hash.
"""

import uuid
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from dbos import DBOS, EnqueueOptions

from billing_app.billing import new_passwords
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

log = structlog.get_logger(__name__)


@DBOS.step(
    retries_allowed=True,
    max_attempts=MAX_ATTEMPTS,
    interval_seconds=FIRST_RETRY_SECONDS,
    backoff_rate=BACKOFF,
)
async def send_password_link(email: str) -> None:
    services = get_services()
    await new_passwords.mail_link(
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
    await new_passwords.mail_change(
        services.database,
        _mailer(),
        user_id=user_id,
        site=services.settings.public_url,
        changed_at=changed_at,
    )


@DBOS.workflow(name=PASSWORD_LINK)
async def mail_password_link(email: str) -> None:
    """Mail a link for a new password, if anybody has the address."""
    await send_password_link(email)


@DBOS.workflow(name=PASSWORD_CHANGED)
async def mail_password_changed(user_id: str, changed_at: datetime) -> None:
    """Tell somebody that their password was changed."""
    await send_password_changed(user_id, changed_at)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(QUEUE, worker_concurrency=PARALLEL, polling_interval_sec=POLLING_SECONDS)


async def ask_for_link(database_url: str, email: str) -> None:
    """Have a link mailed soon. Takes as long for an address that nobody has.

    Raises sqlalchemy's OperationalError and ProgrammingError when nothing will be sent.
    """
    await _enqueue(database_url, PASSWORD_LINK, email)


async def tell_of_change(database_url: str, user_id: str, changed_at: datetime) -> None:
    """Have a person told. What was changed stands, also when this can't be had."""
    try:
        await _enqueue(database_url, PASSWORD_CHANGED, user_id, changed_at)
    except Exception as error:
        log.warning("mail_not_enqueued", user_id=user_id, error=type(error).__name__)


async def _enqueue(database_url: str, workflow: str, *args: Any) -> None:
    options: EnqueueOptions = {
        "queue_name": QUEUE,
        "workflow_name": workflow,
        "workflow_id": f"mail-{uuid.uuid4()}",
    }
    await webhooks.client(database_url).enqueue_async(options, *args)


def _mailer() -> Mailer:
    """Raises RuntimeError in a worker that was started without mail."""
    mailer = get_services().mailer
    if mailer is None:
        raise RuntimeError("SMTP_HOST is not set for this worker.")
    return mailer
