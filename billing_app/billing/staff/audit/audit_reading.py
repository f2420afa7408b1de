"""Reading the audit log."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy import select as select_rows
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting
from billing_app.billing.staff.access.permissions import UNDOABLE, Action, require
from billing_app.billing.usage.service import Days
from billing_app.db.engine import Database
from billing_app.db.enums import AuditRole
from billing_app.db.tables import AuditEntry

ENTRY: Final = "aud_"


class EntrySort(StrEnum):
    """By time, or by action."""

    AT = "at"
    ACTION = "action"


_AT: Final = Key(col(AuditEntry.at), INSTANT)
SORTING: Final = Sorting(
    {
        EntrySort.AT: _AT,
        EntrySort.ACTION: Key(col(AuditEntry.action), TEXT),
    },
    ties=(_AT, Key(col(AuditEntry.id), NUMBER)),
    usual=By(EntrySort.AT, descending=True),
)


@dataclass(frozen=True, slots=True)
class EntryQuery:
    """Filters of entries; None does not filter."""

    actor_id: str | None = None
    action: str | None = None
    account_id: str | None = None
    days: Days | None = None


class EntryNotFoundError(NotFoundError):
    code = "audit_entry_not_found"
    title = "Audit entry not found"


@dataclass(frozen=True, slots=True)
class EntryView:
    """What somebody did and why; `before` and `after` are the figures that changed.

    `own_account`: the actor held the account, or was a member of its organization. `undone_by` is
    the entry that undid it. `can_undo`: it has an undo and was not undone; whether the figures
    still allow it, only trying shows.
    """

    id: str
    at: datetime
    actor_id: str
    actor_name: str
    role: AuditRole
    action: str
    account_id: str | None
    own_account: bool
    subject: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    undoes: str | None
    undone_by: str | None
    can_undo: bool


async def list_entries(
    database: Database,
    actor: Actor,
    where: EntryQuery | None = None,
    *,
    by: By[EntrySort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[EntryView]:
    """Newest first by default. Raises ForbiddenError, InvalidInputError."""
    require(actor, Action.READ)
    span = SORTING.span(by, limit=limit, cursor=cursor)
    query = _selected(where or EntryQuery())
    async with database.reading() as session:
        rows, following = await span.fetch(session, query)
        views = await views_of(session, [row[0] for row in rows])
    return Page(views, following)


def _selected(where: EntryQuery) -> Select[Any]:
    query: Select[Any] = select_rows(AuditEntry)
    if where.actor_id is not None:
        query = query.where(col(AuditEntry.actor_id) == where.actor_id)
    if where.action is not None:
        query = query.where(col(AuditEntry.action) == where.action)
    if where.account_id is not None:
        number = ids.decode_account(where.account_id)
        query = query.where(col(AuditEntry.account_id) == (-1 if number is None else number))
    if where.days is not None:
        at = col(AuditEntry.at)
        query = query.where(at >= where.days.since, at < where.days.until)
    return query


async def views_of(session: AsyncSession, entries: list[AuditEntry]) -> list[EntryView]:
    """With what undid them."""
    numbers = [entry.id for entry in entries]
    query = select(AuditEntry.undoes, AuditEntry.id).where(col(AuditEntry.undoes).in_(numbers))
    undone = dict((await session.exec(query)).all())
    return [view_of(entry, undone.get(entry.id)) for entry in entries]


def view_of(entry: AuditEntry, undone_by: int | None = None) -> EntryView:
    account_id = entry.account_id
    return EntryView(
        id=encode_entry(entry.id),
        at=entry.at,
        actor_id=entry.actor_id,
        actor_name=entry.actor_name,
        role=AuditRole(entry.role),
        action=entry.action,
        account_id=ids.encode_account(account_id) if account_id is not None else None,
        own_account=entry.own_account,
        subject=entry.subject,
        reason=entry.reason,
        before=entry.before,
        after=entry.after,
        undoes=encode_entry(entry.undoes) if entry.undoes is not None else None,
        undone_by=encode_entry(undone_by) if undone_by is not None else None,
        can_undo=entry.action in UNDOABLE and undone_by is None,
    )


def encode_entry(number: int | None) -> str:
    return f"{ENTRY}{number or 0:x}"


def decode_entry(text: str) -> int | None:
    """None for what is not an entry's id."""
    digits = text.removeprefix(ENTRY)
    if not text.startswith(ENTRY) or not digits.isalnum() or len(digits) > 15:
        return None
    try:
        return int(digits, 16)
    except ValueError:
        return None
