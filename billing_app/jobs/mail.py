"""Mail as durable workflows: what a person is to be told is sent, also when the server was away.

A link is made in the step that mails it and is no result of it, so that no table but its own
knows of it, and there only its hash.
"""

import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Concatenate, Final, ParamSpec

import structlog
from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts import invitation_links
from billing_app.billing.alerts import mails as alert_mails
from billing_app.billing.identity import email_changes, email_links, password_resets
from billing_app.billing.mail import Mailer
from billing_app.billing.notices import sending
from billing_app.billing.subscriptions import debit_mails
from billing_app.billing.subscriptions.installation import may_write
from billing_app.billing.webhooks_out import recipients
from billing_app.composition import Services, get_services
from billing_app.jobs import webhooks
from billing_app.jobs.enqueueing import enqueue, enqueue_if_possible

QUEUE: Final = "mail"
PASSWORD_LINK: Final = "mail_password_link"  # noqa: S105 - a workflow's name
PASSWORD_CHANGED: Final = "mail_password_changed"  # noqa: S105
EMAIL_LINK: Final = "mail_email_link"
EMAIL_CHANGED: Final = "mail_email_changed"
BANK_DECISION: Final = "mail_bank_decision"
ALERT: Final = "mail_alert"
INVITATION: Final = "mail_invitation"
NOTICE: Final = "mail_notice"
ENDPOINT_DISABLED: Final = "mail_endpoint_disabled"
# At once, and after half a minute again and again, so that a server that is away holds nothing up.
ATTEMPTS_AT_ONCE: Final = 4
FIRST_RETRY_SECONDS: Final = 2.0
BACKOFF: Final = 3.0
PAUSES_SECONDS: Final = (60.0, 120.0, 300.0)
LONGEST_PAUSE_SECONDS: Final = 600.0
GIVE_UP_SECONDS: Final = 3 * 24 * 3600.0
ROUND: Final = "-again-"
PARALLEL: Final = 32
POLLING_SECONDS: Final = 0.5


log = structlog.get_logger(__name__)

P = ParamSpec("P")
Send = Callable[Concatenate[Services, Mailer, P], Coroutine[Any, Any, None]]


def mail_workflow(
    name: str, *, is_sent_later: bool = True
) -> Callable[[Send[P]], Callable[P, Coroutine[Any, Any, None]]]:
    """A workflow that sends one mail, and tries again for three days while that fails. Without
    `is_sent_later` for half a minute: a sweep queues it again, or the person does."""

    def decorate(send: Send[P]) -> Callable[P, Coroutine[Any, Any, None]]:
        @DBOS.step(
            name=send.__name__,
            retries_allowed=True,
            max_attempts=ATTEMPTS_AT_ONCE,
            interval_seconds=FIRST_RETRY_SECONDS,
            backoff_rate=BACKOFF,
        )
        async def step(*args: P.args, **kwargs: P.kwargs) -> None:
            await send(get_services(), _mailer(), *args, **kwargs)

        @DBOS.workflow(name=name)
        async def workflow(*args: P.args, **kwargs: P.kwargs) -> None:
            _mailer()
            try:
                await step(*args, **kwargs)
            except Exception:
                if not is_sent_later or not await _queue_again(name, *args):
                    raise

        return workflow

    return decorate


async def _queue_again(workflow: str, *args: Any) -> bool:
    """Once the server may be back; False after three days. A round follows the one before, and has
    its id with a number."""
    first, _, rounds = (DBOS.workflow_id or "").partition(ROUND)
    number = int(rounds or 0) + 1
    pause = pause_seconds(number)
    if pause is None:
        return False
    options = _options(workflow)
    options["workflow_id"] = f"{first}{ROUND}{number}"
    options["delay_seconds"] = pause
    await DBOS.enqueue_workflow_with_options_async(options, *args)
    log.warning("mail_waits", workflow=workflow, round=number, seconds=pause)
    return True


def pause_seconds(number: int) -> float | None:
    """Before a round, from 1; None: no more."""
    later = number - len(PAUSES_SECONDS)
    if later <= 0:
        return PAUSES_SECONDS[number - 1]
    if sum(PAUSES_SECONDS) + later * LONGEST_PAUSE_SECONDS > GIVE_UP_SECONDS:
        return None
    return LONGEST_PAUSE_SECONDS


@mail_workflow(PASSWORD_LINK, is_sent_later=False)
async def send_password_link(services: Services, mailer: Mailer, email: str) -> None:
    """A link for a new password, if anybody has the address."""
    site, now = services.settings.public_url, datetime.now(UTC)
    await password_resets.mail_link(services.database, mailer, email=email, site=site, now=now)


@mail_workflow(PASSWORD_CHANGED)
async def send_password_changed(
    services: Services, mailer: Mailer, user_id: str, changed_at: datetime
) -> None:
    """That somebody's password was changed."""
    site = services.settings.public_url
    await password_resets.mail_change(
        services.database, mailer, user_id=user_id, site=site, changed_at=changed_at
    )


@mail_workflow(EMAIL_LINK)
async def send_email_link(services: Services, mailer: Mailer, change_id: str) -> None:
    """A link that confirms a new e-mail address."""
    site, now = services.settings.public_url, datetime.now(UTC)
    await email_links.mail_link(services.database, mailer, change_id=change_id, site=site, now=now)


@mail_workflow(INVITATION)
async def send_invitation(services: Services, mailer: Mailer, invitation_id: str) -> None:
    """A link that joins an organization."""
    site, now = services.settings.public_url, datetime.now(UTC)
    await invitation_links.mail_invitation(
        services.database, mailer, invitation_id=invitation_id, site=site, now=now
    )


@mail_workflow(EMAIL_CHANGED)
async def send_email_changed(
    services: Services, mailer: Mailer, old_email: str, changed_at: datetime
) -> None:
    """To somebody's old address: that it was changed."""
    site = services.settings.public_url
    await email_changes.mail_change(mailer, email=old_email, site=site, changed_at=changed_at)


@mail_workflow(BANK_DECISION)
async def send_bank_decision(
    services: Services, mailer: Mailer, account_id: int, invoice_id: str
) -> None:
    """What a bank decided on a debit."""
    site, now = services.settings.public_url, datetime.now(UTC)
    await debit_mails.mail_decision(
        services.database,
        mailer,
        account_id=account_id,
        invoice_id=invoice_id,
        site=site,
        now=now,
    )


@mail_workflow(ALERT, is_sent_later=False)
async def send_alert(
    services: Services, mailer: Mailer, account_id: int, number: int, user_id: str
) -> None:
    """An alert, to one person."""
    site, now = services.settings.public_url, datetime.now(UTC)
    await alert_mails.mail_alert(
        services.database,
        mailer,
        account_id=account_id,
        number=number,
        user_id=user_id,
        site=site,
        now=now,
    )


@mail_workflow(NOTICE, is_sent_later=False)
async def send_notice(
    services: Services, mailer: Mailer, account_id: int, key: str, user_id: str
) -> None:
    """What happened to an account, to one person."""
    site, now = services.settings.public_url, datetime.now(UTC)
    await sending.mail_notice(
        services.database,
        mailer,
        account_id=account_id,
        key=key,
        user_id=user_id,
        site=site,
        now=now,
    )


@mail_workflow(ENDPOINT_DISABLED)
async def send_endpoint_disabled(
    services: Services, mailer: Mailer, endpoint_id: str, email: str
) -> None:
    """That a webhook endpoint was switched off."""
    site = services.settings.public_url
    await recipients.mail_disabled(
        services.database, mailer, endpoint_id=endpoint_id, email=email, site=site
    )


@DBOS.step()
async def queue_bank_decisions(now: datetime) -> int:
    services, mail_queue = get_services(), get_mail_queue()
    # A copied database would mail the customers of its original once more.
    if mail_queue is None or not await may_write(services.provider, BANK_DECISION):
        return 0
    return await debit_mails.queue_decisions(services.database, mail_queue, now)


@DBOS.workflow()
async def mail_bank_decisions(scheduled_at: datetime, _context: Any) -> None:
    """Now and then: mail about what banks decided since the last time."""
    await queue_bank_decisions(scheduled_at)


def register_queue() -> None:
    """To be called once DBOS is launched."""
    DBOS.register_queue(QUEUE, worker_concurrency=PARALLEL, polling_interval_sec=POLLING_SECONDS)


class DbosMailQueue:
    """Implements billing's MailQueue, DecisionQueue, AlertQueue, NoticeQueue and
    EndpointMailQueue: a job for each mail, in the caller's transaction."""

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

    async def welcome(self, session: AsyncSession, change_id: str) -> None:
        await self._try_to_enqueue(session, EMAIL_LINK, change_id)

    async def invitation(self, session: AsyncSession, invitation_id: str) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        await self._enqueue(session, INVITATION, invitation_id)

    async def email_changed(
        self, session: AsyncSession, old_email: str, changed_at: datetime
    ) -> None:
        await self._try_to_enqueue(session, EMAIL_CHANGED, old_email, changed_at)

    async def bank_decision(self, session: AsyncSession, account_id: int, invoice_id: str) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        await self._enqueue(session, BANK_DECISION, account_id, invoice_id)

    async def alert(
        self, session: AsyncSession, account_id: int, number: int, user_id: str, again: str = ""
    ) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        options = _options(ALERT)
        options["workflow_id"] = f"alert-{account_id}-{number}-{user_id}-{again}"
        await enqueue(session, self._client, options, account_id, number, user_id)

    async def notice(
        self, session: AsyncSession, account_id: int, key: str, user_id: str, again: str = ""
    ) -> None:
        """Raises sqlalchemy's ProgrammingError where no worker has ever run."""
        options = _options(NOTICE)
        options["workflow_id"] = f"notice-{account_id}-{key}-{user_id}-{again}"
        await enqueue(session, self._client, options, account_id, key, user_id)

    async def endpoint_disabled(self, session: AsyncSession, endpoint_id: str, email: str) -> None:
        await self._try_to_enqueue(session, ENDPOINT_DISABLED, endpoint_id, email)

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
