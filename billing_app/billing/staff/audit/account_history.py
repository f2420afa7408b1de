"""What staff did to an account, as its holder reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page, check_limit, invalid_cursor
from billing_app.billing.staff.access.permissions import REPAIRS, Action, require
from billing_app.billing.staff.audit.audit_reading import EntryView, decode_entry, encode_entry
from billing_app.db.engine import Database
from billing_app.db.enums import When
from billing_app.db.tables import AuditEntry

Figures = dict[str, Any]

BY: Final = "Support"
PLAIN_WORDS: Final[dict[str, str]] = {
    Action.BLOCK: "Account blocked",
    Action.UNBLOCK: "Account unblocked",
    Action.UNDO: "An earlier step taken back",
    Action.VIEW_AS_CUSTOMER: "Your pages were looked at, without changing anything",
    Action.SIGN_OUT: "Somebody was signed out of all browsers",
}
SHOWN: Final = frozenset({*REPAIRS, *PLAIN_WORDS})


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One thing that was done: `what` in words, `reason` as staff gave it, never who by name."""

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
    """Newest first, for whoever may read the account. Raises AccountNotFoundError,
    InvalidInputError."""
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
        what=words_of(entry) if original is None else taken_back(original),
        reason=entry.reason,
        by=BY,
        is_undone=entry.id in undone,
    )


async def read_taken_back(
    database: Database, actor: Actor, entries: Sequence[EntryView]
) -> dict[str, str]:
    """What those of the entries that undo another one took back, in words, by the id of what was
    undone; one query for all. Raises ForbiddenError."""
    require(actor, Action.READ)
    numbers = [decode_entry(entry.undoes) for entry in entries if entry.undoes is not None]
    if not numbers:
        return {}
    async with database.reading() as session:
        originals = await _named_by(session, col(AuditEntry.id), numbers)
    return {encode_entry(original.id): taken_back(original) for original in originals}


def taken_back(original: AuditEntry) -> str:
    return f"Taken back: {words_of(original)}"


def words_of(entry: AuditEntry) -> str:
    """What was done, for people outside the house."""
    write = WORDS.get(entry.action)
    return write(entry.before, entry.after) if write else PLAIN_WORDS[entry.action]


def _grant_words(_: Figures, after: Figures) -> str:
    end = f", valid through {_last_day(after['ends_at'])}" if after["ends_at"] else ""
    return f"{_counted(after['executions'], 'execution')} granted{end}"


def _adjustment_words(_: Figures, after: Figures) -> str:
    return f"Used executions corrected by {after['executions']:+,}"


def _move_words(before: Figures, after: Figures) -> str:
    when = "at once" if after["when"] == When.NOW else "when the period ends"
    return f"Moved from {before['offer']} to {after['offer']} {when}"


def _refund_words(_: Figures, after: Figures) -> str:
    words = f"{_counted(after['executions'], 'execution')} given back"
    if after["events"] == 1:
        return words
    workflow = f" of {after['workflow']}" if after.get("workflow") else ""
    return f"{words} for {after['events']:,} runs{workflow}"


def _trial_words(before: Figures, after: Figures) -> str:
    more = after["executions"] - before["executions"]
    by = f" by {_counted(more, 'execution')}" if more else ""
    is_longer = after["ends_at"] != before["ends_at"]
    end = f", valid through {_last_day(after['ends_at'])}" if is_longer else ""
    return f"Trial extended{by}{end}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _last_day(moment: str) -> str:
    """Of what ends at a moment: the end of a day is the day that counts last."""
    last = datetime.fromisoformat(moment) - timedelta(microseconds=1)
    return last.date().isoformat()


WORDS: Final[dict[str, Callable[[Figures, Figures], str]]] = {
    Action.GRANT: _grant_words,
    Action.REFUND: _refund_words,
    Action.ADJUST: _adjustment_words,
    Action.EXTEND_TRIAL: _trial_words,
    Action.MOVE_OFFER: _move_words,
    Action.PAUSE: lambda _, after: f"{after['name']} paused",
    Action.RESUME: lambda _, after: f"{after['name']} resumed",
}
