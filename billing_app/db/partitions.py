"""The ledger's partitions: one for each month (UTC), by the events' numbers.

`execution_events_earlier` has no lower bound and `execution_events_later` no upper one, so that
every event has a place, whatever the clock says. Months between them are attached ahead of time.
"""

import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, LiteralString, TypeVar

import psycopg
import structlog
from psycopg import sql

T = TypeVar("T")

EVENTS: Final = "execution_events"
EARLIER: Final = "execution_events_earlier"
LATER: Final = "execution_events_later"
REMOVED: Final = "execution_events_removed"
AHEAD_MONTHS: Final = 3
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
# While `later` changes its bounds, it refuses events on the other side of the new ones.
CLOSING_MARGIN: Final = timedelta(days=7)
# Decisions wait behind these locks; they give up after a second.
LOCK_TIMEOUT: Final = "100ms"
MAX_ATTEMPTS: Final = 60
PAUSE_SECONDS: Final = 0.5
ANALYZE_ONLY_SINCE: Final = 180_000
# The latter two are Citus' (db/distribution.py); without it they are names like any other.
TRANSACTION_SETTINGS: Final = f"""
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
SET LOCAL citus.enable_unsafe_triggers = on;
SET LOCAL citus.multi_shard_modify_mode = sequential
"""
# Any number that no other advisory lock of this database has.
ADVISORY_LOCK: Final = 7_035_001
BOUND: Final = sql.Identifier("ck_execution_events_bound")
BOUNDS: Final = re.compile(r"FROM \((?:MINVALUE|'(-?\d+)')\) TO \((?:MAXVALUE|'(-?\d+)')\)")
PARTITIONS: Final = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'execution_events'::regclass
"""
REMOVED_TABLES: Final = """
SELECT relname FROM pg_class
WHERE starts_with(relname, 'execution_events_removed_') AND relkind = 'r' AND NOT relispartition
  AND pg_table_is_visible(oid)
"""

Connection = psycopg.Connection[tuple[Any, ...]]
log = structlog.get_logger(__name__)


class PartitionsInUseError(Exception):
    """Something used the ledger all the time, such as a backup, or another process changes its
    partitions. Nothing was changed."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """Events with numbers from `first` (None: from the lowest) to before `until` (None: all)."""

    name: str
    first: int | None
    until: int | None


@dataclass(frozen=True, slots=True)
class Split:
    """How `later` becomes months. It moves to begin at `later_from`; when it has events of before
    that, it is closed at `closed_at` and stays as the partition of all months until then, and a
    new one begins at `later_from`."""

    closed_at: int | None
    months: list[int]
    later_from: int


def number_of(at: datetime) -> int:
    """The lowest event number at this moment."""
    return (at - EPOCH) // MICROSECOND


def start_of_month(at: datetime, months: int = 0) -> datetime:
    """The start (UTC) of the month that is this many months after the one of `at`."""
    count = at.astimezone(UTC).year * 12 + at.astimezone(UTC).month - 1 + months
    return datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)


def name_of(first: int) -> str:
    return f"{EVENTS}_{EPOCH + first * MICROSECOND:%Y_%m}"


def attach_ahead(url: str, now: datetime) -> list[str]:
    """Attach partitions for the next AHEAD_MONTHS months; returns the names of new ones.

    Counting waits for it for LOCK_TIMEOUT at most, and does not need it: until a month has its own
    partition, its events are in `later`. Raises PartitionsInUseError.
    """
    with alone(url) as connection:
        later = read_partitions(connection)[-1]
        assert later.first is not None
        assert later.until is None
        query = sql.SQL("SELECT min(number), max(number) FROM {}").format(sql.Identifier(LATER))
        lowest, highest = connection.execute(query).fetchall()[0]
        split = split_later(later.first, now, lowest, highest)
        if split is None:
            return []
        _bound_later(connection, split)
        patiently(connection, lambda: _split(connection, later.first or 0, split))
        names = [name_of(first) for first in split.months]
        log.info("partitions_attached", partitions=names)
        return names


def analyze(url: str) -> None:
    """Count what the planner knows of the whole ledger: autovacuum does it for partitions only."""
    with psycopg.connect(url, autocommit=True) as connection:
        has_only = connection.info.server_version >= ANALYZE_ONLY_SINCE
        connection.execute(
            "ANALYZE ONLY execution_events" if has_only else "ANALYZE execution_events"
        )


def oldest_month(url: str) -> Partition | None:
    """The one after `earlier`, unless that is `later`."""
    with psycopg.connect(url) as connection:
        oldest = read_partitions(connection)[1]
    return None if oldest.name == LATER else oldest


def remove_month(url: str, month: Partition) -> None:
    """Carry the sums of the oldest month, and of what is in `earlier`, forward, and detach both.

    In one transaction: the ledger plus the sums is the same at every moment. The tables that are
    left are dropped by `drop_removed`. Raises PartitionsInUseError.
    """
    with alone(url) as connection, connection.transaction():
        earlier, oldest = read_partitions(connection)[:2]
        assert oldest == month
        patiently(connection, lambda: _carry(connection, month))
        patiently(connection, lambda: _detach(connection, earlier, month))


def drop_removed(url: str) -> None:
    """Drop the tables of months that were removed. Nobody reads them. Raises
    PartitionsInUseError."""
    with alone(url) as connection:
        for (name,) in connection.execute(REMOVED_TABLES).fetchall():
            execute(connection, "DROP TABLE {name}", name=sql.Identifier(name))


def split_later(first: int, now: datetime, lowest: int | None, highest: int | None) -> Split | None:
    """`first` is where `later` begins; `lowest` and `highest` are the numbers of its events.

    None: enough months are attached.
    """
    ahead = number_of(start_of_month(now, AHEAD_MONTHS + 1))
    if first >= ahead:
        return None
    is_ahead = first > number_of(now + CLOSING_MARGIN)
    if is_ahead and (lowest is None or lowest >= ahead):
        return Split(None, _months(first, ahead), ahead)
    newest = max(EPOCH + (highest or 0) * MICROSECOND, now + CLOSING_MARGIN)
    closed_at = number_of(start_of_month(newest, 1))
    later_from = max(closed_at, ahead)
    return Split(closed_at, _months(closed_at, later_from), later_from)


def read_partitions(connection: Connection) -> list[Partition]:
    """All of the ledger's, in the order of their events."""
    partitions: list[Partition] = []
    for name, bounds in connection.execute(PARTITIONS).fetchall():
        found = BOUNDS.search(bounds)
        assert found is not None
        first, until = (int(each) if each else None for each in found.groups())
        partitions.append(Partition(name, first, until))
    return sorted(partitions, key=lambda each: (each.first is not None, each.first or 0))


def create_partition(
    connection: Connection, name: str, first: int | None, until: int | None
) -> None:
    """In the caller's transaction, which has locked the ledger."""
    execute(
        connection,
        "CREATE TABLE {name} PARTITION OF {events} FOR VALUES FROM ({first}) TO ({until})",
        name=sql.Identifier(name),
        first=_literal(first, "MINVALUE"),
        until=_literal(until, "MAXVALUE"),
    )
    execute(
        connection,
        "CREATE TRIGGER {trigger} BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
        trigger=sql.Identifier(f"{name}_append_only"),
        name=sql.Identifier(name),
    )


def lock_events(connection: Connection) -> None:
    """Let nobody read or write the ledger until the caller's transaction ends."""
    execute(connection, "LOCK TABLE ONLY {events} IN ACCESS EXCLUSIVE MODE")


@contextmanager
def alone(url: str) -> Generator[Connection]:
    """A connection that commits each statement. Raises PartitionsInUseError while another process
    changes partitions."""
    with psycopg.connect(url) as guard, psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT pg_try_advisory_xact_lock(%s)"
        if not guard.execute(query, [ADVISORY_LOCK]).fetchall()[0][0]:
            raise PartitionsInUseError
        yield connection


def patiently(connection: Connection, work: Callable[[], T]) -> T:
    """Do it in a transaction (a savepoint, within one), again while a lock is not to be had.

    Raises PartitionsInUseError.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(TRANSACTION_SETTINGS)
                return work()
        except psycopg.errors.LockNotAvailable:
            time.sleep(PAUSE_SECONDS)
    raise PartitionsInUseError


def execute(connection: Connection, statement: LiteralString, **parts: sql.Composable) -> None:
    connection.execute(sql.SQL(statement).format(events=sql.Identifier(EVENTS), **parts))


def _carry(connection: Connection, month: Partition) -> None:
    """Into these two tables nothing is written from here on; they can still be read."""
    connection.execute("SET LOCAL lock_timeout = '5s'")
    for name in (EARLIER, month.name):
        execute(connection, "LOCK TABLE {name} IN SHARE MODE", name=sql.Identifier(name))
    execute(
        connection,
        "INSERT INTO carried_forward (account_id, before, plan_sequence, executions, events)"
        " SELECT account_id, {until}, plan_sequence, sum(executions), count(*) FROM ("
        "   SELECT account_id, plan_sequence, executions FROM {earlier} UNION ALL"
        "   SELECT account_id, plan_sequence, executions FROM {month}"
        " ) AS event GROUP BY account_id, plan_sequence",
        until=sql.Literal(month.until),
        earlier=sql.Identifier(EARLIER),
        month=sql.Identifier(month.name),
    )


def _detach(connection: Connection, earlier: Partition, month: Partition) -> None:
    lock_events(connection)
    for partition in (earlier, month):
        name = partition.name.removeprefix(f"{EVENTS}_")
        execute(
            connection,
            "ALTER TABLE {events} DETACH PARTITION {name}",
            name=sql.Identifier(partition.name),
        )
        execute(
            connection,
            "ALTER TABLE {name} RENAME TO {removed}",
            name=sql.Identifier(partition.name),
            removed=sql.Identifier(f"{REMOVED}_{name}_{month.until}"),
        )
    create_partition(connection, EARLIER, None, month.until)


def _months(first: int, until: int) -> list[int]:
    months: list[int] = []
    while first < until:
        months.append(first)
        first = number_of(start_of_month(EPOCH + first * MICROSECOND, 1))
    return months


def _bound_later(connection: Connection, split: Split) -> None:
    """Without a constraint that says what the new bounds say, attaching reads all events."""
    later = sql.Identifier(LATER)
    if split.closed_at is None:
        allowed = sql.SQL("number >= {}").format(sql.Literal(split.later_from))
    else:
        allowed = sql.SQL("number < {}").format(sql.Literal(split.closed_at))

    def add() -> None:
        _drop_bound(connection, LATER)
        execute(
            connection,
            "ALTER TABLE {later} ADD CONSTRAINT {bound} CHECK ({allowed}) NOT VALID",
            later=later,
            bound=BOUND,
            allowed=allowed,
        )

    def validate() -> None:
        execute(
            connection, "ALTER TABLE {later} VALIDATE CONSTRAINT {bound}", later=later, bound=BOUND
        )

    patiently(connection, add)
    try:
        patiently(connection, validate)
    except BaseException:
        patiently(connection, lambda: _drop_bound(connection, LATER))
        raise


def _split(connection: Connection, first: int, split: Split) -> None:
    lock_events(connection)
    execute(
        connection, "ALTER TABLE {events} DETACH PARTITION {later}", later=sql.Identifier(LATER)
    )
    for start, until in pairwise([*split.months, split.later_from]):
        create_partition(connection, name_of(start), start, until)
    if split.closed_at is None:
        _attach(connection, LATER, split.later_from, None)
        return
    closed = name_of(first)
    execute(
        connection,
        "ALTER TABLE {later} RENAME TO {closed}",
        later=sql.Identifier(LATER),
        closed=sql.Identifier(closed),
    )
    _attach(connection, closed, first, split.closed_at)
    create_partition(connection, LATER, split.later_from, None)


def _attach(connection: Connection, name: str, first: int, until: int | None) -> None:
    execute(
        connection,
        "ALTER TABLE {events} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({until})",
        name=sql.Identifier(name),
        first=_literal(first, "MINVALUE"),
        until=_literal(until, "MAXVALUE"),
    )
    _drop_bound(connection, name)


def _drop_bound(connection: Connection, name: str) -> None:
    execute(
        connection,
        "ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {bound}",
        name=sql.Identifier(name),
        bound=BOUND,
    )


def _literal(number: int | None, without: LiteralString) -> sql.Composable:
    return sql.SQL(without) if number is None else sql.Literal(str(number))
