"""Lists in the order that a reader chose, a page at a time.

What a list is sorted by is a word of its own enum, never a column's name that somebody sent. A
cursor is the place of a page's last row: what it is sorted by, then what makes it unique. So every
row is listed once, whatever is added meanwhile; a cursor of another order is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy import Select, tuple_
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.lists.paging import (
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
    invalid_cursor,
)

NUMBER: Final[Any] = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
INSTANT: Final[Any] = Annotated[datetime, msgspec.Meta(tz=True)]
WORDS: Final[Any] = Annotated[str, msgspec.Meta(max_length=1_000)]
YES_NO: Final[Any] = bool

Sort = TypeVar("Sort", bound=StrEnum)
Item = TypeVar("Item")
Row = TypeVar("Row")
Places = tuple[Any, ...]


class Order(StrEnum):
    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True, slots=True)
class By(Generic[Sort]):
    """What a list is sorted by, and which way."""

    sort: Sort
    descending: bool = False

    @classmethod
    def of(cls, sort: Sort, order: Order) -> "By[Sort]":
        return cls(sort, order is Order.DESCENDING)


@dataclass(frozen=True, slots=True)
class Key:
    """What rows are sorted by. `of` is an SQL expression that is never null, or for a list in
    memory a function of its items; `kind` says how a cursor has its values."""

    of: Any
    kind: Any


@dataclass(frozen=True, slots=True)
class Span:
    """A page of a list in one order: up to `limit` rows that come after the place `after`."""

    sort: str
    descending: bool
    keys: tuple[Key, ...]
    limit: int
    after: Places | None

    async def fetch(self, session: AsyncSession, query: Any) -> tuple[list[Any], str | None]:
        """The rows of a select, each with its place behind its columns, and the next cursor."""
        columns = [key.of for key in self.keys]
        if self.after is not None:
            place = tuple_(*columns)
            query = query.where(place < self.after if self.descending else place > self.after)
        query = query.add_columns(*columns).limit(self.limit + 1)
        query = query.order_by(
            *[each.desc() if self.descending else each.asc() for each in columns]
        )
        rows = await rows_of(session, query)
        return self.split(rows, lambda row: tuple(row[-len(columns) :]))

    def cut(self, items: Iterable[Item]) -> Page[Item]:
        """The page of a list in memory."""

        def place(item: Item) -> Places:
            return tuple(key.of(item) for key in self.keys)

        rows = sorted(items, key=place, reverse=self.descending)
        after = self.after
        if after is not None:
            rows = [
                row
                for row in rows
                if (place(row) < after if self.descending else place(row) > after)
            ]
        return Page(*self.split(rows, place))

    def split(
        self, rows: list[Row], place: Callable[[Row], Places]
    ) -> tuple[list[Row], str | None]:
        """The page's rows of one more than its limit, and the next cursor."""
        shown = rows[: self.limit]
        if len(rows) <= self.limit:
            return shown, None
        return shown, encode_cursor((self.sort, self.descending, *place(shown[-1])))


@dataclass(frozen=True, slots=True)
class Sorting(Generic[Sort]):
    """All orders of a list: a key for each sort, the `ties` that make every row unique, and the
    order that it has unless told. A tie that is a sort's own key stands once in it."""

    keys: Mapping[Sort, Key]
    ties: tuple[Key, ...]
    usual: By[Sort]

    def span(self, by: By[Sort] | None, *, limit: int, cursor: str | None = None) -> Span:
        """The page that begins after the cursor. Raises InvalidInputError."""
        by = by or self.usual
        first = self.keys[by.sort]
        keys = (first, *(tie for tie in self.ties if tie is not first))
        after = None
        if cursor is not None:
            kinds: Any = (str, bool, *(key.kind for key in keys))
            place = decode_cursor(cursor, tuple[kinds])
            if place[:2] != (str(by.sort), by.descending):
                raise invalid_cursor()
            after = place[2:]
        return Span(str(by.sort), by.descending, keys, check_limit(limit), after)


async def rows_of(session: AsyncSession, query: Any) -> list[Any]:
    """The rows of a select by SQLAlchemy or of several things by SQLModel."""
    assert isinstance(query, Select)
    return list((await session.exec(query)).all())  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownArgumentType, reportUnknownMemberType, reportUnknownVariableType]
