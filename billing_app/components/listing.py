"""A table paged by the server: search box, filters, sortable headers and a pager."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import reflex as rx
from reflex.vars import ArrayVar

from billing_app.components.cards import card
from billing_app.components.controls import Handler, pager, select
from billing_app.components.feedback import empty, notice
from billing_app.components.tables import cell, head_label

SEARCH_DELAY_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `sort` is its sort key, None if it can't be sorted by. `is_lead`: on a phone it
    comes first, and includes the columns before it."""

    name: str
    sort: StrEnum | None = None
    is_right: bool = False
    is_wide_only: bool = False
    is_lead: bool = False

    @property
    def classes(self) -> str:
        flags = {"right": self.is_right, "wide-only": self.is_wide_only, "lead": self.is_lead}
        return " ".join(name for name, is_set in flags.items() if is_set)


@dataclass(frozen=True, slots=True)
class Paging:
    """A table of a state that inherits from Listing."""

    state: Any
    table: str

    @property
    def place(self) -> Any:
        return self.state.places[self.table]

    def on_sort(self, sort: StrEnum) -> Handler:
        return self.state.sort_by(self.table, sort.value)

    def chosen(self, name: str) -> rx.Var[str]:
        """The value of a filter, "" if not set."""
        key = f"{self.table} {name}"
        filters = self.state.filters
        return rx.cond(filters.contains(key), filters[key], "").to(str)

    def on_filter(self, name: str) -> Handler:
        return lambda value: self.state.filter_by(self.table, name, value)


def listing(
    label: str,
    columns: Sequence[Column],
    *,
    rows: ArrayVar[Any],
    row: Callable[[Any], rx.Component],
    paging: Paging,
    when_empty: rx.Component,
    when_filtered: rx.Component | None = None,
    tools: Sequence[rx.Component] = (),
    **head: Any,
) -> rx.Component:
    """A card with tools above the table and a pager below; `head` is the card's."""
    nothing = rx.cond(
        paging.place.is_filtered, when_filtered or _nothing_matches(paging), when_empty
    )
    place = paging.place
    return card(
        _tools(tools, paging) if tools else rx.fragment(),
        rx.cond(
            place.problem,
            notice(tone="warning", title="Invalid filter", text=place.problem.to(str)),
        ),
        rx.el.div(
            rx.cond(
                rows.length() > 0,
                _table(label, columns, rows, row, paging),
                rx.cond(place.examined, _nothing_yet(paging), nothing),
            ),
            class_name=rx.cond(paging.state.is_busy, "listing busy", "listing"),
            custom_attrs={"aria-busy": rx.cond(paging.state.is_busy, "true", "false")},
        ),
        pager(
            place.page_number,
            has_older=place.has_older,
            on_newer=paging.state.show_newer(paging.table),
            on_older=paging.state.show_older(paging.table),
            back_label="Back",
            forward_label=rx.cond(place.examined, "Keep searching", "Next"),
        ),
        flush=True,
        **head,
    )


def clear_button(paging: Paging) -> rx.Component:
    """Removes all filters of the table."""
    return rx.el.button(
        "Clear filters",
        type="button",
        class_name="button quiet",
        on_click=paging.state.clear_filters(paging.table),
    )


def _tools(tools: Sequence[rx.Component], paging: Paging) -> rx.Component:
    return rx.el.div(
        *tools, rx.cond(paging.place.is_filtered, clear_button(paging)), class_name="listing-tools"
    )


def _nothing_matches(paging: Paging) -> rx.Component:
    return empty(
        icon="search-x",
        title="No matches",
        text="Remove a filter or change your search.",
        action=clear_button(paging),
    )


def lead_cell(content: rx.Var[str] | rx.Component, at: rx.Var[str], classes: str) -> rx.Component:
    """The cell of the lead column; on a phone it also shows the time."""
    time = rx.el.span(at, class_name="at")
    return cell(rx.fragment(content, time), f"{classes} lead")


def _nothing_yet(paging: Paging) -> rx.Component:
    """An empty page with more to search."""
    return empty(
        icon="search",
        title=f"No match in {paging.place.examined} accounts so far",
        text="Keep searching to check the rest.",
    )


def search_box(
    paging: Paging, name: str, label: str, hint: str, *, is_small: bool = False
) -> rx.Component:
    """A text filter, applied while typing."""
    return rx.el.label(
        rx.icon("search", aria_hidden="true"),
        rx.debounce_input(
            rx.el.input(
                type="search",
                value=paging.chosen(name),
                on_change=paging.on_filter(name),
                placeholder=hint,
                auto_complete="off",
                spell_check=False,
                class_name="input",
                custom_attrs={"aria-label": label},
            ),
            debounce_timeout=SEARCH_DELAY_MS,
        ),
        class_name="search-box small" if is_small else "search-box",
    )


def filter_select(
    paging: Paging, name: str, label: str, choices: Sequence[tuple[str, str]]
) -> rx.Component:
    """One of a few values; choices are (value, text), with "" for all."""
    return select(
        label,
        options=[rx.el.option(text, value=value) for value, text in choices],
        value=paging.chosen(name),
        on_change=paging.on_filter(name),
    )


def filter_days(paging: Paging, first: str, last: str) -> rx.Component:
    """Between two UTC days, inclusive; either may be empty."""
    return rx.el.div(
        *[
            rx.el.label(
                label,
                rx.el.input(
                    type="date",
                    value=paging.chosen(name),
                    on_change=paging.on_filter(name),
                    class_name="input",
                ),
                class_name="field-inline",
            )
            for label, name in (("From", first), ("to", last))
        ],
        class_name="controls filter-days",
        role="group",
        custom_attrs={"aria-label": "UTC days"},
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
    """A header; pressing it sorts by its column, pressing again reverses the order."""
    sort, place = column.sort, paging.place
    if sort is None:
        return rx.el.th(head_label(column.name), class_name=column.classes, scope="col")
    is_sorted = place.sort == sort.value
    direction = rx.cond(is_sorted, rx.cond(place.descending, "descending", "ascending"), "none")
    return rx.el.th(
        rx.el.button(
            column.name,
            rx.match(
                direction,
                ("descending", rx.icon("arrow-down", aria_hidden="true")),
                ("ascending", rx.icon("arrow-up", aria_hidden="true")),
                rx.icon("arrow-up-down", aria_hidden="true"),
            ),
            type="button",
            class_name="sort-button",
            on_click=paging.on_sort(sort),
        ),
        class_name=column.classes,
        scope="col",
        custom_attrs={"aria-sort": direction},
    )
