"""The bell in the header, and the panel with the newest alerts."""

from typing import Literal

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.controls import Handler
from billing_app.components.numbers import badge
from billing_app.states.alert_views import AlertItem
from billing_app.states.bell import BellState as State


def bell(on_account: Handler, *, align: Literal["start", "end"]) -> rx.Component:
    """`on_account`: what shows another account, which an alert may be about. `align`: the edge that
    the panel has in common with the bell."""
    return rx.cond(
        State.is_shown,
        rx.popover.root(
            rx.popover.trigger(
                rx.el.button(
                    rx.icon("bell", aria_hidden="true"),
                    rx.cond(
                        State.count != "",
                        rx.el.span(State.count, class_name="bell-count", aria_hidden="true"),
                    ),
                    type="button",
                    class_name="icon-button bell",
                    custom_attrs={"aria-label": State.label},
                )
            ),
            rx.popover.content(
                _head(),
                rx.cond(
                    State.items.length() > 0,
                    rx.el.ul(
                        rx.foreach(State.items, lambda item: _item(item, on_account)),
                        class_name="bell-list",
                    ),
                    rx.el.p("Nothing to report.", class_name="bell-empty"),
                ),
                rx.el.p(
                    rx.popover.close(
                        rx.link("All alerts", href=routes.ALERTS_PAGE, class_name="text-link")
                    ),
                    class_name="bell-foot",
                ),
                class_name="bell-panel",
                align=align,
                side_offset=6,
                custom_attrs={"aria-label": "Alerts"},
            ),
        ),
    )


def bell_news() -> rx.Component:
    """Says to screen readers that alerts have arrived; once in each page."""
    return rx.el.div(
        State.news,
        class_name="visually-hidden",
        custom_attrs={"aria-live": "polite", "aria-atomic": "true"},
    )


def mark_all_button(look: str = "button small quiet") -> rx.Component:
    return rx.cond(
        State.count != "",
        rx.el.button(
            "Mark all as read", type="button", class_name=look, on_click=State.mark_all_read
        ),
    )


def _head() -> rx.Component:
    return rx.el.div(
        rx.el.h2("Alerts", class_name="card-title"), mark_all_button(), class_name="bell-head"
    )


def _item(item: ObjectVar[AlertItem], on_account: Handler) -> rx.Component:
    return rx.el.li(
        rx.popover.close(
            rx.el.button(
                rx.el.span(
                    item.title,
                    rx.cond(item.is_unread, badge("New", "accent")),
                    class_name="bell-title",
                ),
                rx.el.span(item.text, class_name="bell-text"),
                rx.el.span(
                    item.at,
                    " UTC",
                    rx.cond(item.account != "", f" · {item.account}", ""),
                    rx.el.span(item.link, class_name="text-link"),
                    class_name="bell-note",
                ),
                type="button",
                class_name="bell-item",
                on_click=[State.open_alert(item.id), on_account],
            )
        ),
        key=item.id,
    )
