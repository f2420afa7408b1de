"""One attempt to deliver a webhook, what follows from its result, and endpoints that fail."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, Protocol

from sqlmodel import col, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.webhooks_out.dispatch import DeliveryQueue
from billing_app.billing.webhooks_out.recipients import recipients_of
from billing_app.billing.webhooks_out.secrets import signing_secrets
from billing_app.db.engine import Database
from billing_app.db.enums import DeliveryStatus, EndpointStatus
from billing_app.db.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint

# Before the second attempt, the third and so on: three days in all.
DELAYS_SECONDS: Final = (
    *(5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 28_800),
    *(43_200, 43_200, 43_200, 43_200),
)
# A delay is longer by up to this share, so that those of one failure come back apart.
JITTER: Final = 0.1
DISABLED_AFTER: Final = timedelta(days=5)
MAX_ANSWER_CHARACTERS: Final = 2_000
MAX_ERROR_CHARACTERS: Final = 255
SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Message:
    """What to send; each of `secrets` signs it. `round` and `attempts`: those of the delivery
    before this attempt."""

    delivery_id: str
    round: int
    attempts: int
    endpoint_id: str
    url: str
    secrets: list[str]
    message_id: str
    body: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Of an endpoint. `status` None: there was none, because of `error`. `text`: the beginning."""

    status: int | None
    text: str
    error: str
    duration_ms: int

    @property
    def is_success(self) -> bool:
        return self.status is not None and self.status in SUCCESS


class EndpointMailQueue(Protocol):
    """Queues mail in the transaction of `session`."""

    async def endpoint_disabled(self, session: AsyncSession, endpoint_id: str, email: str) -> None:
        """That an endpoint was switched off. The change stands even when sending fails."""
        ...


async def next_message(
    database: Database, delivery_id: str, *, round_: int, attempts: int, now: datetime
) -> Message | None:
    """What to send; None: nothing any more, because this attempt was made, or it is sent once more
    in another round; or not while the endpoint is paused."""
    async with database.transaction() as session:
        row = await session.get(WebhookDelivery, delivery_id, with_for_update=True)
        if row is None or row.status != DeliveryStatus.PENDING:
            return None
        if (row.round, row.attempts) != (round_, attempts):
            return None
        endpoint = await session.get_one(WebhookEndpoint, row.endpoint_id)
        if endpoint.status != EndpointStatus.ENABLED:
            _park(session, row, endpoint)
            return None
        return Message(
            delivery_id=row.id,
            round=row.round,
            attempts=row.attempts,
            endpoint_id=endpoint.id,
            url=endpoint.url,
            secrets=signing_secrets(endpoint, now),
            message_id=row.message_id,
            body=row.body,
        )


async def record(
    database: Database,
    message: Message,
    answer: Answer,
    *,
    queue: DeliveryQueue,
    mail: EndpointMailQueue | None,
    jitter: float,
    now: datetime,
) -> None:
    """Keep the answer in the log, and queue the next attempt when one follows. `jitter`: from 0 to
    1. An endpoint that has failed for DISABLED_AFTER, or says that it is gone, is switched off."""
    async with database.transaction() as session:
        endpoint = await session.get(WebhookEndpoint, message.endpoint_id, with_for_update=True)
        row = await session.get(WebhookDelivery, message.delivery_id, with_for_update=True)
        if endpoint is None or row is None:
            return
        row.attempts += 1
        row.response_status = answer.status
        session.add(row)
        session.add(_attempt(row, answer, now))
        if answer.is_success:
            endpoint.failing_since = None
            session.add(endpoint)
            _end(row, DeliveryStatus.DELIVERED)
            row.delivered_at = row.delivered_at or now
        else:
            endpoint.failing_since = endpoint.failing_since or now
            session.add(endpoint)
            await _retry(session, row, message, queue, jitter, now)
            if is_to_be_disabled(endpoint, answer, now):
                await _disable(session, endpoint, mail, now)


async def park(database: Database, delivery_id: str, *, round_: int, attempts: int) -> None:
    """Let an attempt wait until deliveries are queued again."""
    async with database.transaction() as session:
        row = await session.get(WebhookDelivery, delivery_id, with_for_update=True)
        if row is None or row.status != DeliveryStatus.PENDING:
            return
        if (row.round, row.attempts) == (round_, attempts):
            _wait(row)
            session.add(row)


def delay_seconds(attempts: int, jitter: float) -> float | None:
    """Until the next attempt, after so many of a round; None: there is none."""
    if attempts > len(DELAYS_SECONDS):
        return None
    return DELAYS_SECONDS[attempts - 1] * (1 + JITTER * jitter)


def is_to_be_disabled(endpoint: WebhookEndpoint, answer: Answer, now: datetime) -> bool:
    """410 is how a receiver says that it wants no more (standardwebhooks.com)."""
    is_gone = answer.status == HTTPStatus.GONE
    since = endpoint.failing_since
    return is_gone or (since is not None and now - since >= DISABLED_AFTER)


async def _retry(
    session: AsyncSession,
    row: WebhookDelivery,
    message: Message,
    queue: DeliveryQueue,
    jitter: float,
    now: datetime,
) -> None:
    """Unless it was sent once more meanwhile, which has attempts of its own."""
    if row.round != message.round or row.status != DeliveryStatus.PENDING:
        return
    delay = delay_seconds(row.attempts - row.attempts_before, jitter)
    if delay is None:
        _end(row, DeliveryStatus.FAILED)
        return
    row.next_attempt_at = now + timedelta(seconds=delay)
    await queue.attempt(session, row, delay_seconds=delay)


def _end(row: WebhookDelivery, status: DeliveryStatus) -> None:
    row.status, row.next_attempt_at, row.is_queued = status, None, True


def _park(session: AsyncSession, row: WebhookDelivery, endpoint: WebhookEndpoint) -> None:
    """Until the endpoint is resumed, in a round of its own; one that was disabled lets go of its
    deliveries."""
    if endpoint.status == EndpointStatus.DISABLED:
        _end(row, DeliveryStatus.FAILED)
    else:
        _wait(row)
    session.add(row)


def _wait(row: WebhookDelivery) -> None:
    """The job of this round has ended: the next one is of another."""
    row.is_queued, row.next_attempt_at, row.round = False, None, row.round + 1


async def _disable(
    session: AsyncSession,
    endpoint: WebhookEndpoint,
    mail: EndpointMailQueue | None,
    now: datetime,
) -> None:
    if endpoint.status == EndpointStatus.DISABLED:
        return
    endpoint.status, endpoint.disabled_at = EndpointStatus.DISABLED, now
    endpoint.updated_at = now
    session.add(endpoint)
    await session.flush()
    pending = update(WebhookDelivery).where(col(WebhookDelivery.endpoint_id) == endpoint.id)
    pending = pending.where(col(WebhookDelivery.status) == DeliveryStatus.PENDING)
    await session.exec(
        pending.values(status=DeliveryStatus.FAILED, next_attempt_at=None, is_queued=True)
    )
    if mail is not None:
        for email in await recipients_of(session, endpoint):
            await mail.endpoint_disabled(session, endpoint.id, email)


def _attempt(row: WebhookDelivery, answer: Answer, now: datetime) -> WebhookAttempt:
    return WebhookAttempt(
        delivery_id=row.id,
        number=row.attempts,
        attempted_at=now - timedelta(milliseconds=answer.duration_ms),
        duration_ms=answer.duration_ms,
        response_status=answer.status,
        answer=answer.text[:MAX_ANSWER_CHARACTERS].replace("\0", "\ufffd"),
        error=answer.error[:MAX_ERROR_CHARACTERS],
    )
