"""Usage: by day from the daily rows, and events of the ledger page by page."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.executions.kept_events import require_kept
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page, check_limit, invalid_cursor
from billing_app.billing.lists.sorting import By
from billing_app.billing.usage.filters import ALL_USAGE, EventFilter, UsageFilter, start_of
from billing_app.db.engine import Database
from billing_app.db.enums import EventKind
from billing_app.db.partitions import start_of_month

MAX_DAYS: Final = 3660
LAST_YEAR: Final = 9000
PACE_DAYS: Final = 7
EXPORT_ROWS: Final = 2000


class GroupBy(StrEnum):
    DAY = "day"
    WORKFLOW = "workflow"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Days:
    """UTC days, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise InvalidInputError("The first day must not be after the last day.", field="from")
        if (self.last - self.first).days >= MAX_DAYS:
            raise InvalidInputError(f"A range can have at most {MAX_DAYS:,} days.", field="from")
        if self.last.year > LAST_YEAR:
            raise InvalidInputError("The day is out of range.", field="to")

    @property
    def since(self) -> datetime:
        return start_of(self.first)

    @property
    def until(self) -> datetime:
        """The moment after the last day."""
        return start_of(self.last) + timedelta(days=1)


# A year has hundreds: as a dataclass each takes ten times as long to make.
class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """Executions used and refunded, and requests denied by reason, of one group."""

    group: str
    used: int
    refunded: int
    denied: dict[str, int]

    @property
    def net(self) -> int:
        return self.used - self.refunded


@dataclass(frozen=True, slots=True)
class DailyRow:
    """One UTC day of one group (a workflow, a user, or "" for all)."""

    day: date
    group: str
    used: int
    refunded: int
    denied: int


class LedgerSort(StrEnum):
    """Only by the ledger's primary key: an account may have millions of events."""

    AT = "at"


@dataclass(frozen=True, slots=True)
class EventView:
    """One event of the ledger; `executions` is negative for a refund."""

    id: str
    kind: EventKind
    executions: int
    workflow: str
    user_id: str
    idempotency_key: str
    plan_ids: list[str]
    remaining_after: int
    refers_to: str | None
    reason: str
    occurred_at: datetime
    number: int = field(repr=False)


GROUP_COLUMNS: Final = {
    GroupBy.DAY: "day",
    GroupBy.WORKFLOW: "workflow",
    GroupBy.USER: "user_id",
}


# Event numbers are microseconds since 1970.
REFUNDS_OF_USE: Final = text("""
    SELECT coalesce(-sum(executions), 0)::bigint FROM execution_events
    WHERE account_id = :account AND number > :since AND refers_to >= :since
      AND kind = 'refund'""")


def usage_statement(group_by: GroupBy, account: str, first: str, last: str) -> str:
    """SQL with these placeholders: group, None, used, refunded; and group, reason, denied, 0."""
    column = GROUP_COLUMNS[group_by]
    return f"""
        SELECT {column}::text, NULL, sum(used)::bigint, sum(refunded)::bigint FROM daily_usage
        WHERE account_id = {account} AND day BETWEEN {first} AND {last} GROUP BY {column}
        UNION ALL
        SELECT {column}::text, reason, sum(denied)::bigint, 0 FROM daily_denials
        WHERE account_id = {account} AND day BETWEEN {first} AND {last}
        GROUP BY {column}, reason"""  # noqa: S608


async def read_usage(
    database: Database, actor: Actor, account_id: str, *, days: Days, group_by: GroupBy
) -> list[UsageRow]:
    """Sums over the days by group, in the group's order. Raises AccountNotFoundError."""
    statement = text(usage_statement(group_by, ":account", ":first", ":last"))
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        values = {"account": account.id, "first": days.first, "last": days.last}
        rows = await _all(session, statement, values)
    return usage_rows(rows)


def usage_rows(rows: Iterable[Sequence[Any]]) -> list[UsageRow]:
    """Of what `usage_statement` returns."""
    usage: dict[str, tuple[int, int]] = {}
    denials: dict[str, dict[str, int]] = {}
    for group, reason, count, refunded in rows:
        if reason is None:
            usage[group] = (count, refunded)
        else:
            denials.setdefault(group, {})[reason] = count
    groups = sorted(usage.keys() | denials.keys())
    return [UsageRow(group, *usage.get(group, (0, 0)), denials.get(group, {})) for group in groups]


async def read_daily(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    days: Days,
    group_by: GroupBy,
    where: UsageFilter = ALL_USAGE,
) -> list[DailyRow]:
    """A row for each day (and workflow, or user) with any usage, by day, then group.

    Raises AccountNotFoundError.
    """
    column = "''" if group_by is GroupBy.DAY else GROUP_COLUMNS[group_by]
    conditions = " AND ".join(
        ["account_id = :account AND day BETWEEN :first AND :last"]
        + [f"{name} = :{name}" for name in where.values]
    )
    statement = text(f"""
        SELECT day, grp, sum(used)::bigint, sum(refunded)::bigint, sum(denied)::bigint FROM (
            SELECT day, {column} AS grp, used, refunded, 0 AS denied FROM daily_usage
            WHERE {conditions}
            UNION ALL
            SELECT day, {column} AS grp, 0, 0, denied FROM daily_denials
            WHERE {conditions}
        ) AS counted GROUP BY day, grp ORDER BY day, grp""")  # noqa: S608
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        values = {"account": account.id, "first": days.first, "last": days.last, **where.values}
        return [DailyRow(*row) for row in await _all(session, statement, values)]


async def read_refunds_of_use(
    database: Database, actor: Actor, account_id: str, *, since: datetime
) -> int:
    """Executions refunded of what was used since then; refunds of earlier use are left out.

    Raises AccountNotFoundError.
    """
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        values = {"account": account.id, "since": (since - EPOCH) // MICROSECOND}
        return (await (await session.connection()).execute(REFUNDS_OF_USE, values)).scalar_one()


def used_per_day(rows: list[DailyRow], *, refunded: int, today: date) -> float:
    """The mean since the first use among the rows, less what was `refunded` of that use."""
    used_rows = [row for row in rows if row.used]
    net = sum(row.used for row in used_rows) - refunded
    if net <= 0:
        return 0.0
    return net / ((today - min(row.day for row in used_rows)).days + 1)


async def list_events(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    where: EventFilter | None = None,
    by: By[LedgerSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    now: datetime | None = None,
) -> Page[EventView]:
    """Events by time, newest first by default; without a first day, all that are kept.

    With `now`, the first page is looked for in recent months first. Raises AccountNotFoundError,
    InvalidInputError, and EventRemovedError for a first day of which events were removed.
    """
    check_limit(limit)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        if where is not None and where.since is not None:
            await require_kept(session, account.id, where.since)
        after = _number_of(cursor, account.id) if cursor is not None else None
        events = await _read_events(
            session,
            account.id,
            where or EventFilter(),
            after=after,
            now=now,
            descending=by is None or by.descending,
            limit=limit + 1,
        )
    page = events[:limit]
    return Page(items=page, next_cursor=page[-1].id if len(events) > limit else None)


async def list_workflows(
    database: Database, actor: Actor, account_id: str, *, days: Days
) -> list[str]:
    """The workflows used in these days, most used first; "" for events without one."""
    rows = await read_usage(database, actor, account_id, days=days, group_by=GroupBy.WORKFLOW)
    return [row.group for row in sorted(rows, key=lambda row: -row.net)]


async def export_events(
    database: Database, actor: Actor, account_id: str, where: EventFilter
) -> AsyncIterator[list[EventView]]:
    """All events, newest first, EXPORT_ROWS at a time; each block is authorized.

    Raises EventRemovedError, as `list_events` does; before the first block only.
    """
    before: int | None = None
    while True:
        async with database.reading() as session:
            account = await authorize_reading(session, actor, account_id)
            if before is None and where.since is not None:
                await require_kept(session, account.id, where.since)
            block = await _read_events(
                session, account.id, where, after=before, descending=True, limit=EXPORT_ROWS
            )
        yield block
        if len(block) < EXPORT_ROWS:
            return
        before = block[-1].number


async def _read_events(
    session: AsyncSession,
    account_id: int,
    where: EventFilter,
    *,
    after: int | None,
    descending: bool,
    limit: int,
    now: datetime | None = None,
) -> list[EventView]:
    """The events after number `after`, in the order of the ledger's primary key."""
    beyond = [] if after is None else [("<" if descending else ">", after)]
    recent = _recent(where, after, now) if descending else None
    read = partial(_read_block, session, account_id, where)
    if recent is None:
        return await read(bounds=beyond, descending=descending, limit=limit)
    events = await read(bounds=[*beyond, (">=", recent)], descending=True, limit=limit)
    if (left := limit - len(events)) > 0:
        events += await read(bounds=[("<", recent)], descending=True, limit=left)
    return events


def _recent(where: EventFilter, after: int | None, now: datetime | None) -> int | None:
    """The start of the month before the newest event that is looked for. What is not older is in
    few partitions; planning to read all of them takes longer than reading (measured over two
    years: 2.8 ms instead of 0.5)."""
    if where.since is not None:
        return None
    newest = [EPOCH + after * MICROSECOND] if after is not None else []
    newest += [at for at in (where.until, now) if at is not None]
    return first_number(start_of_month(min(newest), -1)) if newest else None


async def _read_block(
    session: AsyncSession,
    account_id: int,
    where: EventFilter,
    *,
    bounds: Sequence[tuple[str, int]],
    descending: bool,
    limit: int,
) -> list[EventView]:
    conditions = ["account_id = :account"]
    values: dict[str, Any] = {"account": account_id, "limit": limit}
    order = "DESC" if descending else "ASC"
    for place, (comparison, number) in enumerate(bounds):
        conditions.append(f"number {comparison} :bound_{place}")
        values[f"bound_{place}"] = number
    for name in ("kind", "workflow", "user_id"):
        value = getattr(where, name)
        if value is not None:
            conditions.append(f"{name} = :{name}")
            values[name] = value
    for name, comparison, moment in (("since", ">=", where.since), ("until", "<", where.until)):
        if moment is not None:
            conditions.append(f"number {comparison} :{name}")
            values[name] = first_number(moment)
    statement = text(f"""
        SELECT number, min(kind), sum(executions)::bigint, min(workflow), min(user_id),
               min(idempotency_key), array_agg(plan_sequence ORDER BY plan_sequence),
               min(remaining_after), min(refers_to), min(reason), min(occurred_at)
        FROM execution_events WHERE {" AND ".join(conditions)}
        GROUP BY account_id, number ORDER BY account_id {order}, number {order}
        LIMIT :limit""")  # noqa: S608
    return [_event_view(account_id, row) for row in await _all(session, statement, values)]


def _event_view(account_id: int, row: Any) -> EventView:
    kind = EventKind(row[1])
    prefix = ids.RESERVATION if kind is EventKind.COMMIT else ids.EVENT
    return EventView(
        id=ids.encode(ids.EVENT, account_id, row[0]),
        kind=kind,
        executions=row[2],
        workflow=row[3],
        user_id=row[4],
        idempotency_key=row[5],
        plan_ids=[ids.encode(ids.PLAN, account_id, sequence) for sequence in row[6]],
        remaining_after=row[7],
        refers_to=ids.encode(prefix, account_id, row[8]) if row[8] is not None else None,
        reason=row[9],
        occurred_at=row[10],
        number=row[0],
    )


def first_number(at: datetime) -> int:
    """The lowest event number at this moment; numbers are microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def _number_of(cursor: str, account_id: int) -> int:
    pair = ids.decode(ids.EVENT, cursor)
    if pair is None or pair[0] != account_id:
        raise invalid_cursor()
    return pair[1]


async def _all(session: AsyncSession, statement: Any, values: dict[str, Any]) -> list[Any]:
    connection = await session.connection()
    return list((await connection.execute(statement, values)).all())
