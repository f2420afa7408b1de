"""A long table that the server pages, sorts and searches."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.paging import Page as PageOf
from billing_app.states.session import SessionState

ROWS = 50
ALL = "all"
MAX_SEARCH_LENGTH = 200

if TYPE_CHECKING:
    from billing_app.states.staff.page import StaffPage

    class Page(StaffPage, SessionState): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


class Listing(Page, mixin=True):
    """Where in the list the reader is. A page's state inherits from this before StaffPage.

    `sorts` are the orders that the service knows; every other value a client sends is refused by
    taking the first one.
    """

    sorts: ClassVar[tuple[str, ...]] = ("",)

    search: rx.Field[str] = rx.field("")
    sort: rx.Field[str] = rx.field("")
    filters: rx.Field[dict[str, str]] = rx.field(default_factory=dict)
    page_number: rx.Field[int] = rx.field(1)
    has_older: rx.Field[bool] = rx.field(False)
    is_busy: rx.Field[bool] = rx.field(False)
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None

    @rx.event
    async def search_for(self, words: str) -> AsyncGenerator[EventSpec | None]:
        """Only rows that have these words."""
        self.search = words[:MAX_SEARCH_LENGTH]
        async for event in self._from_the_start():
            yield event

    @rx.event
    async def sort_by(self, sort: str) -> AsyncGenerator[EventSpec | None]:
        """In another order."""
        self.sort = sort if sort in self.sorts else self.sorts[0]
        async for event in self._from_the_start():
            yield event

    @rx.event
    async def filter_by(self, name: str, value: str) -> AsyncGenerator[EventSpec | None]:
        """Only rows whose `name` is this; ALL takes the filter away."""
        rest = {other: chosen for other, chosen in self.filters.items() if other != name}
        self.filters = rest if value == ALL else {**rest, name[:64]: value[:MAX_SEARCH_LENGTH]}
        async for event in self._from_the_start():
            yield event

    @rx.event
    async def show_older(self) -> AsyncGenerator[EventSpec | None]:
        """The next page."""
        if self._next_cursor is not None:
            self._cursors = (*self._cursors, self._next_cursor)
            async for event in self._busily():
                yield event

    @rx.event
    async def show_newer(self) -> AsyncGenerator[EventSpec | None]:
        """The page before."""
        self._cursors = self._cursors[:-1]
        async for event in self._busily():
            yield event

    def _start_over(self) -> None:
        self._cursors = ()

    @property
    def _cursor(self) -> str | None:
        return self._cursors[-1] if self._cursors else None

    def _show_page(self, page: PageOf[Any]) -> None:
        """Where the page that was read stands in the list."""
        self._next_cursor = page.next_cursor
        self._show(page_number=len(self._cursors) + 1, has_older=page.next_cursor is not None)

    async def _from_the_start(self) -> AsyncGenerator[EventSpec | None]:
        self._start_over()
        async for event in self._busily():
            yield event

    async def _busily(self) -> AsyncGenerator[EventSpec | None]:
        self.is_busy = True
        yield None
        leave = await self._refresh()
        self.is_busy = False
        yield leave
