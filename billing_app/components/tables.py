"""Tables bound to a list, with an empty state."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import reflex as rx
from reflex.vars import ArrayVar

ACTIONS: Final = "Actions"


def table(
    label: str,
    heads: Sequence[str],
    *,
    rows: ArrayVar[Any],
    row: Callable[[Any], rx.Component],
    when_empty: rx.Component,
    right: Sequence[str] = (),
    wide_only: Sequence[str] = (),
    dense: bool = False,
) -> rx.Component:
    """A table of `rows`; columns in `right` are right-aligned, in `wide_only` hidden on phones."""
    return rx.cond(
        rows.length() > 0,
        rx.el.div(
            rx.el.table(
                rx.el.thead(
                    rx.el.tr(*[_head(name, right=right, wide_only=wide_only) for name in heads])
                ),
                rx.el.tbody(rx.foreach(rows, row)),
                class_name="table dense" if dense else "table",
                custom_attrs={"aria-label": label},
            ),
            class_name="table-scroll",
            tab_index=0,
            role="region",
            custom_attrs={"aria-label": label},
        ),
        when_empty,
    )


def _head(name: str, *, right: Sequence[str], wide_only: Sequence[str]) -> rx.Component:
    classes = ["right"] * (name in right) + ["wide-only"] * (name in wide_only)
    return rx.el.th(head_label(name), class_name=" ".join(classes), scope="col")


def head_label(name: str) -> rx.Component | str:
    """The header of a column of buttons is for screen readers only."""
    return rx.el.span(name, class_name="visually-hidden") if name == ACTIONS else name


def cell(content: rx.Var | str | rx.Component, classes: str = "") -> rx.Component:
    """A table cell; classes: right, soft, strong, wrap, clip, wide-only."""
    return rx.el.td(content, class_name=classes)


def amount_cell(amount: rx.Var[str], refunded: rx.Var[str]) -> rx.Component:
    """An invoice's amount, and below it what was refunded, if anything."""
    refund = rx.cond(refunded != "", rx.el.p(refunded, class_name="row-note"))
    return cell(rx.fragment(amount, refund), "right strong")


def id_cell(of: rx.Var[str]) -> rx.Component:
    """A long id, hidden on phones; cut at the start, since many start the same."""
    return rx.el.td(
        rx.el.code(rx.el.bdi(of), class_name="code"),
        title=of,
        class_name="soft clip-start wide-only",
    )
