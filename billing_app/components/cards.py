"""The page header, cards and columns."""

import reflex as rx
from reflex_components_core.core.banner import has_connection_errors

from billing_app.components.numbers import Text


def page_head(title: Text, note: Text, *actions: rx.Component) -> rx.Component:
    """The page's title, a note, and actions for the whole page."""
    return rx.el.header(
        rx.el.div(
            rx.el.h1(title, class_name="page-title"),
            rx.el.p(note, class_name="page-note"),
        ),
        rx.el.div(*actions, class_name="page-actions"),
        class_name="page-head",
    )


def live_indicator(*, is_broken: rx.Var[bool]) -> rx.Component:
    """Whether the numbers are updating at the moment."""
    is_waiting = is_broken | has_connection_errors
    return rx.el.span(
        rx.cond(is_waiting, "Reconnecting", "Live"),
        class_name=rx.cond(is_waiting, "live broken", "live"),
        role="status",
    )


def card(
    *body: rx.Component,
    title: Text = "",
    note: Text | None = None,
    actions: list[rx.Component] | None = None,
    flush: bool = False,
) -> rx.Component:
    """A card with a title; `flush` lets a table reach its edges."""
    head = rx.el.div(
        rx.el.div(
            rx.el.h2(title, class_name="card-title"),
            rx.fragment() if note is None else rx.el.p(note, class_name="card-note"),
        ),
        rx.el.div(*(actions or []), class_name="controls"),
        class_name="card-head",
    )
    return rx.el.section(
        head if isinstance(title, rx.Var) or title else rx.fragment(),
        rx.el.div(*body, class_name="card-body flush" if flush else "card-body"),
        class_name="card",
    )


def bare_card(*body: rx.Component) -> rx.Component:
    """A card whose content has its own spacing."""
    return rx.el.section(*body, class_name="card")


def columns(*cards: rx.Component, even: bool = False) -> rx.Component:
    """Cards side by side, if there is room."""
    return rx.el.div(*cards, class_name="columns even" if even else "columns")
