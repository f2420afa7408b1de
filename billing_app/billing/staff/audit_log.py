"""Reading the audit log: what staff did, newest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.errors import NotFoundError
from billing_app.billing.paging import DEFAULT_LIMIT, Page, check_limit, invalid_cursor
from billing_app.billing.staff.permissions import UNDOABLE, Action, require
from billing_app.db.engine import Database
from billing_app.db.tables import AuditEntry
from billing_app.db.words import StaffRole

ENTRY: Final = "aud_"


class EntryNotFoundError(NotFoundError):
    code = "audit_entry_not_found"
    title = "No such entry of the audit log"


@dataclass(frozen=True, slots=True)
class EntryView:
    """What somebody did and why; `before` and `after` are the figures that it changed.

    `undone_by` is the entry that undid it. `can_undo`: it is of a kind that can be, and was not;
    whether its figures still allow it is found out by trying.
    """

    id: str
    at: datetime
    actor_id: str
    actor_name: str
    role: StaffRole
    action: str
    account_id: str | None
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
    *,
    by: str | None = None,
    action: str | None = None,
    account_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[EntryView]:
    """Newest first; `by` is an actor's id. Raises ForbiddenError, InvalidInputError."""
    require(actor, Action.READ)
    check_limit(limit)
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(limit + 1)
    if by is not None:
        query = query.where(AuditEntry.actor_id == by)
    if action is not None:
        query = query.where(AuditEntry.action == action)
    if account_id is not None:
        number = ids.decode_account(account_id)
        query = query.where(AuditEntry.account_id == (-1 if number is None else number))
    if cursor is not None:
        before = decode_entry(cursor)
        if before is None:
            raise invalid_cursor()
        query = query.where(col(AuditEntry.id) < before)
    async with database.reading() as session:
        rows = list((await session.exec(query)).all())
        views = await views_of(session, rows[:limit])
    return Page(views, views[-1].id if len(rows) > limit else None)


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
        role=StaffRole(entry.role),
        action=entry.action,
        account_id=ids.encode_account(account_id) if account_id is not None else None,
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
    """None when this is no entry's id."""
    digits = text.removeprefix(ENTRY)
    if not text.startswith(ENTRY) or not digits.isalnum() or len(digits) > 15:
        return None
    try:
        return int(digits, 16)
    except ValueError:
        return None
