"""A long table that the server pages: search box, filters, heads that sort, and a pager."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import reflex as rx
from reflex.vars import ArrayVar, NumberVar

from billing_app.components.cards import card
from billing_app.components.controls import Handler, pager, select
from billing_app.components.numbers import Words
from billing_app.components.tables import head_words

SEARCH_DELAY_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Column:
    """A head; `sorts` are the orders it switches between, first the one a first press takes."""

    name: str
    sorts: tuple[str, ...] = ()
    is_right: bool = False
    is_wide_only: bool = False

    @property
    def classes(self) -> str:
        return " ".join(["right"] * self.is_right + ["wide-only"] * self.is_wide_only)


@dataclass(frozen=True, slots=True)
class Paging:
    """Where in the list the reader is, as Listing of a state keeps it."""

    page_number: NumberVar
    has_older: rx.Var[bool]
    is_busy: rx.Var[bool]
    on_newer: Handler
    on_older: Handler
    sort: rx.Var[str] | None = None
    on_sort: Handler = None


def paging_of(state: Any) -> Paging:
    """The parts of a state that inherits from Listing."""
    return Paging(
        page_number=state.page_number,
        has_older=state.has_older,
        is_busy=state.is_busy,
        on_newer=state.show_newer,
        on_older=state.show_older,
        sort=state.sort,
        on_sort=state.sort_by,
    )


def listing(
    label: str,
    columns: Sequence[Column],
    *,
    rows: ArrayVar[Any],
    row: Callable[[Any], rx.Component],
    paging: Paging,
    when_empty: rx.Component,
    tools: Sequence[rx.Component] = (),
) -> rx.Component:
    """A card with the tools above the table and the pager below it."""
    return card(
        rx.el.div(*tools, class_name="listing-tools") if tools else rx.fragment(),
        rx.el.div(
            rx.cond(
                rows.length() > 0,
                _table(label, columns, rows, row, paging),
                when_empty,
            ),
            class_name=rx.cond(paging.is_busy, "listing busy", "listing"),
            custom_attrs={"aria-busy": rx.cond(paging.is_busy, "true", "false")},
        ),
        rx.cond(
            paging.has_older | (paging.page_number > 1),
            pager(
                f"Page {paging.page_number}",
                has_newer=paging.page_number > 1,
                has_older=paging.has_older,
                on_newer=paging.on_newer,
                on_older=paging.on_older,
                words_back="Back",
                words_on="Next",
            ),
        ),
        flush=True,
    )


def search_box(label: str, hint: str, *, value: Words, on_search: Handler) -> rx.Component:
    """Searches while one types."""
    return rx.el.label(
        rx.icon("search", aria_hidden="true"),
        rx.debounce_input(
            rx.el.input(
                type="search",
                value=value,
                on_change=on_search,
                placeholder=hint,
                auto_complete="off",
                spell_check=False,
                class_name="input",
                custom_attrs={"aria-label": label},
            ),
            debounce_timeout=SEARCH_DELAY_MS,
        ),
        class_name="search-box",
    )


def filter_select(
    state: Any, name: str, label: str, choices: Sequence[tuple[str, str]], everything: str
) -> rx.Component:
    """One filter of a Listing; choices are (value, words)."""
    chosen = rx.cond(state.filters.contains(name), state.filters[name], everything)
    return select(
        label,
        options=[rx.el.option(words, value=value) for value, words in choices],
        value=chosen.to(str),
        on_change=lambda value: state.filter_by(name, value),
    )


def _table(
    label: str,
    columns: Sequence[Column],
    rows: ArrayVar[Any],
    row: Callable[[Any], rx.Component],
    paging: Paging,
) -> rx.Component:
    return rx.el.div(
        rx.el.table(
            rx.el.thead(rx.el.tr(*[_head(column, paging) for column in columns])),
            rx.el.tbody(rx.foreach(rows, row)),
            class_name="table dense",
            custom_attrs={"aria-label": label},
        ),
        class_name="table-scroll",
        tab_index=0,
        role="region",
        custom_attrs={"aria-label": label},
    )


def _head(column: Column, paging: Paging) -> rx.Component:
    if not column.sorts or paging.sort is None:
        return rx.el.th(head_words(column.name), class_name=column.classes, scope="col")
    first, other = column.sorts[0], column.sorts[-1]
    is_first, is_other = paging.sort == first, paging.sort == other
    mark = rx.cond(is_first, "arrow-down", rx.cond(is_other, "arrow-up", "arrow-up-down"))
    return rx.el.th(
        rx.el.button(
            column.name,
            rx.match(
                mark,
                ("arrow-down", rx.icon("arrow-down", aria_hidden="true")),
                ("arrow-up", rx.icon("arrow-up", aria_hidden="true")),
                rx.icon("arrow-up-down", aria_hidden="true"),
            ),
            type="button",
            class_name="sort-button",
            on_click=paging.on_sort(rx.cond(is_first, other, first)),
        ),
        class_name=column.classes,
        scope="col",
        custom_attrs={
            "aria-sort": rx.cond(is_first, "descending", rx.cond(is_other, "ascending", "none"))
        },
    )
