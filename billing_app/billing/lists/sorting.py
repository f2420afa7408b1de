"""Lists in a chosen sort order, page by page.

A list sorts by the members of its own enum, never by a column name from outside. A cursor is the
position of a page's last row: its sort value, then what makes it unique. Each row is listed once,
whatever is added meanwhile; a cursor of another sort order is refused.
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
TEXT: Final[Any] = Annotated[str, msgspec.Meta(max_length=1_000)]
YES_NO: Final[Any] = bool

Sort = TypeVar("Sort", bound=StrEnum)
Item = TypeVar("Item")
Row = TypeVar("Row")
Position = tuple[Any, ...]


class Order(StrEnum):
    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True, slots=True)
class By(Generic[Sort]):
    """The sort order of a list."""

    sort: Sort
    descending: bool = False

    @classmethod
    def of(cls, sort: Sort, order: Order) -> "By[Sort]":
        return cls(sort, order is Order.DESCENDING)


@dataclass(frozen=True, slots=True)
class Key:
    """A sort key. `of` is an SQL expression that is never null or, for a list in memory, a
    function of its items; `kind` is the type of its values in a cursor."""

    of: Any
    kind: Any


@dataclass(frozen=True, slots=True)
class Span:
    """A page of a list in one order: up to `limit` rows after the position `after`."""

    sort: str
    descending: bool
    keys: tuple[Key, ...]
    limit: int
    after: Position | None

    async def fetch(self, session: AsyncSession, query: Any) -> tuple[list[Any], str | None]:
        """The rows of a select, each followed by its position, and the next cursor."""
        columns = [key.of for key in self.keys]
        if self.after is not None:
            position = tuple_(*columns)
            query = query.where(position < self.after if self.descending else position > self.after)
        query = query.add_columns(*columns).limit(self.limit + 1)
        query = query.order_by(
            *[each.desc() if self.descending else each.asc() for each in columns]
        )
        rows = await rows_of(session, query)
        return self.split(rows, lambda row: tuple(row[-len(columns) :]))

    def cut(self, items: Iterable[Item]) -> Page[Item]:
        """A page of a list in memory."""

        def position(item: Item) -> Position:
            return tuple(key.of(item) for key in self.keys)

        rows = sorted(items, key=position, reverse=self.descending)
        after = self.after
        if after is not None:
            rows = [
                row
                for row in rows
                if (position(row) < after if self.descending else position(row) > after)
            ]
        return Page(*self.split(rows, position))

    def split(
        self, rows: list[Row], position: Callable[[Row], Position]
    ) -> tuple[list[Row], str | None]:
        """The page's rows, given up to one row more than its limit, and the next cursor."""
        shown = rows[: self.limit]
        if len(rows) <= self.limit:
            return shown, None
        return shown, encode_cursor((self.sort, self.descending, *position(shown[-1])))


@dataclass(frozen=True, slots=True)
class Sorting(Generic[Sort]):
    """All sort orders of a list: a key for each, the `ties` that make every row unique, and the
    `usual` order, which is the default. A tie that is also the sort key is used once."""

    keys: Mapping[Sort, Key]
    ties: tuple[Key, ...]
    usual: By[Sort]

    def span(self, by: By[Sort] | None, *, limit: int, cursor: str | None = None) -> Span:
        """The page after the cursor. Raises InvalidInputError."""
        by = by or self.usual
        first = self.keys[by.sort]
        keys = (first, *(tie for tie in self.ties if tie is not first))
        after = None
        if cursor is not None:
            kinds: Any = (str, bool, *(key.kind for key in keys))
            position = decode_cursor(cursor, tuple[kinds])
            if position[:2] != (str(by.sort), by.descending):
                raise invalid_cursor()
            after = position[2:]
        return Span(str(by.sort), by.descending, keys, check_limit(limit), after)


async def rows_of(session: AsyncSession, query: Any) -> list[Any]:
    """The rows of a select, by SQLAlchemy or of several entities by SQLModel."""
    assert isinstance(query, Select)
    return list((await session.exec(query)).all())  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownArgumentType, reportUnknownMemberType, reportUnknownVariableType]
