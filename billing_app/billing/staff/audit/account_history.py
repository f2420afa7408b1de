"""What staff did to an account, as the customer reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page, check_limit, invalid_cursor
from billing_app.billing.staff.access.permissions import REPAIRS, Action, require
from billing_app.billing.staff.audit.audit_reading import EntryView, decode_entry, encode_entry
from billing_app.billing.staff.repairs.registry import BY_ACTION
from billing_app.db.engine import Database
from billing_app.db.tables import AuditEntry

BY: Final = "Support"
WORDING: Final[dict[str, str]] = {
    Action.UNDO: "An earlier action was undone",
    Action.VIEW_AS_CUSTOMER: "Your pages were viewed, read-only",
    Action.SIGN_OUT: "A member was signed out everywhere",
    Action.END_PORTAL_SESSIONS: "A person's portal sessions were ended",
}
SHOWN: Final = frozenset({*REPAIRS, *WORDING})


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One step: `what` was done in words and staff's `reason`, never the name of who did it."""

    id: str
    at: datetime
    action: str
    what: str
    reason: str
    by: str
    is_undone: bool


async def read_account_history(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[HistoryItem]:
    """Newest first, for anyone who may read the account.

    Raises AccountNotFoundError, InvalidInputError.
    """
    check_limit(limit)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(AuditEntry)
            .where(AuditEntry.account_id == account.id)
            .where(col(AuditEntry.action).in_(SHOWN))
            .order_by(col(AuditEntry.id).desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            before = decode_entry(cursor)
            if before is None:
                raise invalid_cursor()
            query = query.where(col(AuditEntry.id) < before)
        rows = list((await session.exec(query)).all())
        page = rows[:limit]
        undone = await _named_by(session, col(AuditEntry.undoes), [entry.id for entry in page])
        undoing = await _named_by(session, col(AuditEntry.id), [entry.undoes for entry in page])
    by_undoing = {entry.undoes for entry in undone}
    originals = {entry.id: entry for entry in undoing}
    items = [_item(entry, originals.get(entry.undoes), by_undoing) for entry in page]
    return Page(items, items[-1].id if len(rows) > limit else None)


async def _named_by(
    session: AsyncSession, column: Any, numbers: list[int | None]
) -> list[AuditEntry]:
    wanted = [number for number in numbers if number is not None]
    return list((await session.exec(select(AuditEntry).where(column.in_(wanted)))).all())


def _item(entry: AuditEntry, original: AuditEntry | None, undone: set[int | None]) -> HistoryItem:
    return HistoryItem(
        id=encode_entry(entry.id),
        at=entry.at,
        action=entry.action,
        what=wording_of(entry, original),
        reason=entry.reason,
        by=BY,
        is_undone=entry.id in undone,
    )


def wording_of(entry: AuditEntry, original: AuditEntry | None) -> str:
    """What was done, as the customer reads it; `original`: the entry that it undoes or repeats."""
    if original is None:
        return entry_wording(entry)
    return undone_wording(original) if entry.action == Action.UNDO else redone(entry_wording(entry))


def redone(wording: str) -> str:
    return f"Done again: {wording}"


async def read_undone(
    database: Database, actor: Actor, entries: Sequence[EntryView]
) -> dict[str, str]:
    """What each undo among the entries undid, in words, by the id of the undone entry. Raises
    ForbiddenError."""
    require(actor, Action.READ)
    numbers = [
        decode_entry(entry.undoes)
        for entry in entries
        if entry.undoes is not None and entry.action == Action.UNDO
    ]
    if not numbers:
        return {}
    async with database.reading() as session:
        originals = await _named_by(session, col(AuditEntry.id), numbers)
    return {encode_entry(original.id): undone_wording(original) for original in originals}


def undone_wording(original: AuditEntry) -> str:
    return f"Undone: {entry_wording(original)}"


def entry_wording(entry: AuditEntry) -> str:
    """What was done, as the customer reads it."""
    repair = BY_ACTION.get(entry.action)
    return repair.wording(entry.before, entry.after) if repair else WORDING[entry.action]
