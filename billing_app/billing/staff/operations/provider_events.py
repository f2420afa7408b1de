"""Events from the payment provider, as staff see them, and the replay of dead ones."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, not_
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, TEXT, By, Key, Sorting
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.billing.staff.operations.jobs import BackgroundJobs
from billing_app.billing.staff.operations.provider_links import ProviderLinks
from billing_app.billing.subscriptions.dead_letters import reopen
from billing_app.billing.usage.service import Days
from billing_app.db.engine import Database
from billing_app.db.enums import WebhookState
from billing_app.db.tables import ProviderCustomer, WebhookEvent

LAST_LETTER: Final = "\U0010ffff"


class EventSort(StrEnum):
    RECEIVED = "received"
    TYPE = "type"


_RECEIVED: Final = Key(col(WebhookEvent.received_at), INSTANT)
SORTING: Final = Sorting(
    {
        EventSort.RECEIVED: _RECEIVED,
        EventSort.TYPE: Key(col(WebhookEvent.type), TEXT),
    },
    ties=(_RECEIVED, Key(col(WebhookEvent.id), TEXT)),
    usual=By(EventSort.RECEIVED, descending=True),
)


class ReceivedEventNotFoundError(NotFoundError):
    code = "event_not_found"
    title = "Event not found"


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Filters of events; None does not filter. `type` is the beginning of one, such as `invoice.`;
    `account_id` means those of the account's customer; `days` are those on which they were
    received; `ignored` ones have a type that nothing handles."""

    state: WebhookState | None = None
    type: str | None = None
    account_id: str | None = None
    days: Days | None = None
    ignored: bool | None = None


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event without its payload. `problem` is why it failed last."""

    id: str
    type: str
    object_id: str
    customer_id: str
    account_id: str | None
    state: WebhookState
    attempts: int
    replays: int
    problem: str
    occurred_at: datetime
    received_at: datetime
    finished_at: datetime | None
    provider_url: str

    @property
    def is_ignored(self) -> bool:
        """Stored but not processed, since nothing handles its type."""
        return self.state is WebhookState.PROCESSED and self.finished_at is None


@dataclass(frozen=True, slots=True)
class EventDetail:
    """`payload` is the event as it was sent and signed."""

    event: ReceivedEvent
    payload: dict[str, Any]


async def list_received(
    database: Database,
    links: ProviderLinks,
    actor: Actor,
    where: EventQuery | None = None,
    *,
    by: By[EventSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[ReceivedEvent]:
    """Newest first by default. Raises ForbiddenError, AccountNotFoundError, InvalidInputError."""
    require(actor, Action.READ)
    where = where or EventQuery()
    span = SORTING.span(by, limit=limit, cursor=cursor)
    query = _selected(where)
    async with database.reading() as session:
        if where.account_id is not None:
            customer_id = await _customer_id(session, actor, where.account_id)
            if customer_id is None:
                return Page([], None)
            query = query.where(col(WebhookEvent.customer_id) == customer_id)
        rows, following = await span.fetch(session, query)
    return Page([_view(links, row[0], row[1]) for row in rows], following)


async def read_received(
    database: Database, links: ProviderLinks, actor: Actor, event_id: str
) -> EventDetail:
    """Raises ForbiddenError, ReceivedEventNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        row = await _find(session, event_id)
        number = await _account_of(session, row)
    return EventDetail(_view(links, row, number), row.payload)


async def replay_event(
    database: Database,
    jobs: BackgroundJobs,
    actor: Actor,
    event_id: str,
    *,
    reason: str,
    now: datetime,
) -> str:
    """Process a dead event again, by a job whose id is returned. Audited.

    Raises ForbiddenError, ReceivedEventNotFoundError, EventNotDeadError, JobsUnavailableError,
    InvalidInputError.
    """
    staff, reason = require(actor, Action.REPLAY_EVENT), clean_reason(reason)
    async with database.transaction() as session:
        row = await _find(session, event_id, lock=True)
        before = {"state": row.state, "problem": row.problem, "replays": row.replays}
        reopen(row)
        session.add(row)
        job_id = await jobs.process_event(session, row.id, row.customer_id, replay=row.replays)
        audit_record = AuditRecord(
            Action.REPLAY_EVENT,
            reason,
            account_id=await _account_of(session, row),
            subject=row.id,
            before=before,
            after={"state": row.state, "replays": row.replays, "job_id": job_id},
        )
        await record(session, staff, audit_record, now)
    return job_id


async def events_ahead(database: Database, actor: Actor, event_id: str) -> int:
    """How many events of the same customer are not processed yet: a replay waits for those that
    are being tried. Raises ForbiddenError, ReceivedEventNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        row = await _find(session, event_id)
        if not row.customer_id:
            return 0
        query = select(func.count()).select_from(WebhookEvent)
        query = query.where(
            col(WebhookEvent.customer_id) == row.customer_id,
            col(WebhookEvent.id) != row.id,
            col(WebhookEvent.state).in_((WebhookState.RECEIVED, WebhookState.FAILED)),
        )
        return (await session.exec(query)).one()


async def count_dead(database: Database, actor: Actor, account_id: str) -> int:
    """Dead letters of an account: what they say is not applied. Raises ForbiddenError,
    AccountNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        customer_id = await _customer_id(session, actor, account_id)
        if customer_id is None:
            return 0
        query = select(func.count()).select_from(WebhookEvent)
        query = query.where(
            col(WebhookEvent.customer_id) == customer_id,
            col(WebhookEvent.state) == WebhookState.DEAD,
        )
        return (await session.exec(query)).one()


def _selected(where: EventQuery) -> Any:
    """Events with the numbers of their accounts."""
    query = select(WebhookEvent, ProviderCustomer.account_id).join(
        ProviderCustomer,
        col(ProviderCustomer.customer_id) == col(WebhookEvent.customer_id),
        isouter=True,
    )
    if where.state is not None:
        query = query.where(col(WebhookEvent.state) == where.state)
    if where.ignored is not None:
        is_ignored = and_(
            col(WebhookEvent.state) == WebhookState.PROCESSED,
            col(WebhookEvent.finished_at).is_(None),
        )
        query = query.where(is_ignored if where.ignored else not_(is_ignored))
    if where.type is not None:
        query = query.where(*events_of_type(where.type))
    if where.days is not None:
        received = col(WebhookEvent.received_at)
        query = query.where(received >= where.days.since, received < where.days.until)
    return query


def events_of_type(beginning: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Events whose type begins with it; an index finds them."""
    kind = col(WebhookEvent.type)
    return kind >= beginning, kind < beginning + LAST_LETTER


async def _find(session: AsyncSession, event_id: str, *, lock: bool = False) -> WebhookEvent:
    row = None
    if "\0" not in event_id:
        row = await session.get(WebhookEvent, event_id, with_for_update=lock)
    if row is None:
        raise ReceivedEventNotFoundError
    return row


async def _customer_id(session: AsyncSession, actor: Actor, account_id: str) -> str | None:
    account = await authorize_reading(session, actor, account_id)
    customer = await session.get(ProviderCustomer, account.id)
    return customer.customer_id if customer else None


async def _account_of(session: AsyncSession, row: WebhookEvent) -> int | None:
    query = select(ProviderCustomer.account_id)
    query = query.where(ProviderCustomer.customer_id == row.customer_id)
    return (await session.exec(query)).first()


def _view(links: ProviderLinks, row: WebhookEvent, number: int | None) -> ReceivedEvent:
    return ReceivedEvent(
        id=row.id,
        type=row.type,
        object_id=row.object_id,
        customer_id=row.customer_id,
        account_id=ids.encode_account(number) if number is not None else None,
        state=WebhookState(row.state),
        attempts=row.attempts,
        replays=row.replays,
        problem=row.problem or "",
        occurred_at=row.occurred_at,
        received_at=row.received_at,
        finished_at=row.finished_at,
        provider_url=links.event(row.id),
    )
