"""Tables that the server pages, sorts and filters, and the open page of each."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.errors import EventRemovedError, InvalidInputError
from billing_app.billing.lists.paging import Page as PageOf
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.customers.customers import CustomerPage
from billing_app.billing.usage.service import MAX_DAYS, Days
from billing_app.states import formatting
from billing_app.states.session import SessionState

ROWS: Final = 50
ALL: Final = ""
FIRST_DAY, LAST_DAY = "from", "to"
YES, NO = "yes", "no"
MAX_FILTER_LENGTH: Final = 200
MAX_FILTERS: Final = 40

Item = TypeVar("Item")
Word = TypeVar("Word", bound=StrEnum)

if TYPE_CHECKING:
    from billing_app.states.staff.page import StaffPage

    class Page(StaffPage, SessionState): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


@dataclass(frozen=True, slots=True)
class Table:
    """The default order of a table; the first click on one of `rising` sorts ascending, on other
    columns descending."""

    usual: By[Any]
    rising: frozenset[StrEnum] = frozenset()

    @property
    def sorts(self) -> set[str]:
        kind: Any = type(self.usual.sort)
        return {sort.value for sort in kind}


@dataclass(frozen=True, slots=True)
class Place:
    """The reader's position in a table. `problem`: why it cannot be read; `examined`: rows searched
    for a page that is not full; `is_filtered`: some rows may be hidden."""

    sort: str = ""
    descending: bool = False
    page_number: int = 1
    has_older: bool = False
    problem: str = ""
    examined: str = ""
    is_filtered: bool = False


class Listing(Page, mixin=True):
    """A page's state inherits from this before StaffPage, and says in `tables` what it has.

    What a browser sends is taken only when it is a table's name and an order of its service.
    """

    tables: ClassVar[dict[str, Table]] = {}

    places: rx.Field[dict[str, Place]] = rx.field(default_factory=dict)
    filters: rx.Field[dict[str, str]] = rx.field(default_factory=dict)
    is_busy: rx.Field[bool] = rx.field(False)
    _cursors: dict[str, tuple[str, ...]] = {}
    _next_cursors: dict[str, str | None] = {}

    @rx.event
    async def sort_by(self, table: str, sort: str) -> AsyncGenerator[EventSpec | None]:
        """Sort by a column; a second click reverses the order."""
        known = self.tables.get(table)
        if known is None or sort not in known.sorts:
            return
        place = self._place(table)
        falls = not place.descending if place.sort == sort else sort not in known.rising
        self._put(table, replace(place, sort=sort, descending=falls))
        async for event in self._from_the_start(table):
            yield event

    @rx.event
    async def filter_by(
        self, table: str, name: str, value: str
    ) -> AsyncGenerator[EventSpec | None]:
        """Show only rows with this value; ALL clears the filter."""
        key = filter_key(table, name)[:MAX_FILTER_LENGTH]
        rest = {other: chosen for other, chosen in self.filters.items() if other != key}
        if table not in self.tables or len(rest) >= MAX_FILTERS:
            return
        self.filters = rest if value == ALL else {**rest, key: value[:MAX_FILTER_LENGTH]}
        async for event in self._from_the_start(table):
            yield event

    @rx.event
    async def clear_filters(self, table: str) -> AsyncGenerator[EventSpec | None]:
        """Clear all filters."""
        if table in self.tables:
            self.filters = {
                key: value for key, value in self.filters.items() if not _is_of(key, table)
            }
            async for event in self._from_the_start(table):
                yield event

    @rx.event
    async def show_older(self, table: str) -> AsyncGenerator[EventSpec | None]:
        """The next page."""
        following = self._next_cursors.get(table)
        if following is not None:
            self._cursors = {**self._cursors, table: (*self._cursors.get(table, ()), following)}
            async for event in self._busily():
                yield event

    @rx.event
    async def show_newer(self, table: str) -> AsyncGenerator[EventSpec | None]:
        """The page before."""
        if self._cursors.get(table):
            self._cursors = {**self._cursors, table: self._cursors[table][:-1]}
            async for event in self._busily():
                yield event

    def _start_over(self) -> None:
        """The first page of every table."""
        self._cursors = {}

    async def _list(self, table: str, read: Callable[..., Awaitable[PageOf[Item]]]) -> list[Item]:
        """The rows of the open page; none, with the reason, when the choice is invalid."""
        place, cursors = self._place(table), self._cursors.get(table, ())
        by = By(type(self.tables[table].usual.sort)(place.sort), place.descending)
        try:
            page = await read(by=by, limit=ROWS, cursor=cursors[-1] if cursors else None)
        except (InvalidInputError, EventRemovedError) as error:
            self._cursors = {**self._cursors, table: ()}
            self._put(
                table,
                Place(
                    place.sort,
                    place.descending,
                    problem=error.detail,
                    is_filtered=self._is_filtered(table),
                ),
            )
            return []
        self._next_cursors = {**self._next_cursors, table: page.next_cursor}
        examined = _examined(page)
        self._put(
            table,
            Place(
                place.sort,
                place.descending,
                page_number=len(cursors) + 1,
                has_older=page.next_cursor is not None,
                examined=formatting.number(examined) if examined else "",
                is_filtered=self._is_filtered(table),
            ),
        )
        return page.items

    def _is_filtered(self, table: str) -> bool:
        return any(_is_of(key, table) for key in self.filters)

    def _text(self, table: str, name: str) -> str | None:
        """The value of a filter, None when it is not set."""
        return self.filters.get(filter_key(table, name), "").strip() or None

    def _word(self, table: str, name: str, kind: type[Word]) -> Word | None:
        text = self._text(table, name)
        return kind(text) if text in set(kind) else None

    def _yes(self, table: str, name: str) -> bool | None:
        return {YES: True, NO: False}.get(self._text(table, name) or "")

    def _days(self, table: str) -> Days | None:
        """The chosen days, open at either end. Raises InvalidInputError."""
        first, last = (self._day(table, name) for name in (FIRST_DAY, LAST_DAY))
        if first is None and last is None:
            return None
        last = last or max(datetime.now(UTC).date(), first or date.min)
        try:
            return Days(first or last - timedelta(days=MAX_DAYS - 1), last)
        except OverflowError:
            raise InvalidInputError("The date is out of range.", field=LAST_DAY) from None

    def _day(self, table: str, name: str) -> date | None:
        text = self._text(table, name)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            raise InvalidInputError("Enter a date as YYYY-MM-DD.", field=name) from None

    def _place(self, table: str) -> Place:
        usual = self.tables[table].usual
        return self.places.get(table) or Place(usual.sort.value, usual.descending)

    def _put(self, table: str, place: Place) -> None:
        if self.places.get(table) != place:
            self.places = {**self.places, table: place}

    async def _from_the_start(self, table: str) -> AsyncGenerator[EventSpec | None]:
        self._cursors = {**self._cursors, table: ()}
        async for event in self._busily():
            yield event

    async def _busily(self) -> AsyncGenerator[EventSpec | None]:
        self.is_busy = True
        yield None
        leave = await self._refresh()
        self.is_busy = False
        yield leave


def _examined(page: PageOf[Any]) -> int:
    return page.examined if isinstance(page, CustomerPage) else 0


def _is_of(key: str, table: str) -> bool:
    return key.startswith(filter_key(table, ""))


def filter_key(table: str, name: str) -> str:
    """The key of a table's filter among all filters of its page."""
    return f"{table} {name}"
