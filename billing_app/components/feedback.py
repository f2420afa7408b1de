"""Notices, empty states, skeletons and connection messages."""

from typing import Any

import reflex as rx
from reflex_components_core.core.banner import has_too_many_connection_errors

from billing_app.components.numbers import Text, Tone


def notice(
    *, tone: Tone, title: Text, text: Text, actions: list[rx.Component] | None = None
) -> rx.Component:
    """A message in a box; `tone` is "", "good", "warning" or "bad"."""
    return rx.el.div(
        _tone_icon(tone),
        rx.el.div(
            rx.el.p(title, class_name="notice-title"),
            rx.el.p(text, class_name="notice-text"),
            class_name="notice-body",
        ),
        rx.el.div(*actions, class_name="notice-actions") if actions else rx.fragment(),
        class_name=f"notice {tone}",
        role="status",
    )


def _tone_icon(tone: Tone) -> rx.Component:
    warning = rx.icon("triangle-alert", aria_hidden="true")
    good = rx.icon("circle-check", aria_hidden="true")
    if isinstance(tone, str):
        return good if tone == "good" else warning
    calm = rx.icon("info", aria_hidden="true")
    return rx.cond(tone == "good", good, rx.cond(tone == "", calm, warning))


def dismiss_button(on_press: Any) -> rx.Component:
    """Hides a notice."""
    return rx.el.button(
        rx.icon("x", aria_hidden="true"),
        type="button",
        class_name="icon-button",
        on_click=on_press,
        custom_attrs={"aria-label": "Dismiss"},
    )


def empty(
    *, icon: str, title: Text, text: Text, action: rx.Component | None = None
) -> rx.Component:
    """An empty state, with what would fill it."""
    return rx.el.div(
        rx.icon(icon, aria_hidden="true"),
        rx.el.p(title, class_name="empty-title"),
        rx.el.p(text, class_name="empty-text"),
        rx.fragment() if action is None else rx.el.div(action, class_name="empty-action"),
        class_name="empty",
    )


def out_of_date(*, is_broken: rx.Var[bool], read_at: rx.Var[str]) -> rx.Component:
    """Shown above old data while nothing newer can be read."""
    return rx.cond(
        is_broken,
        notice(
            tone="warning",
            title=f"Out of date: last updated {read_at} UTC",
            text="The server can't read newer data now. This page retries every few seconds.",
        ),
    )


def connection_lost() -> rx.Component:
    """Shown on every page while the server can't be reached."""
    return rx.cond(
        has_too_many_connection_errors,
        rx.el.div(
            rx.icon("cloud-off", aria_hidden="true"),
            "Connection to the server lost. Reconnecting.",
            class_name="connection-lost",
            role="status",
        ),
    )


def _block(height_px: int, *, width: str = "100%") -> rx.Component:
    """A grey placeholder."""
    return rx.el.div(class_name="skeleton", style={"height": f"{height_px}px", "width": width})


def page_skeleton() -> rx.Component:
    """The placeholder of a page until its first numbers arrive."""
    return rx.el.div(
        rx.el.div(_block(28, width="180px"), class_name="page-head"),
        rx.el.div(_block(232), _block(232), class_name="columns"),
        _block(320),
        _block(240),
        rx.el.span("Loading", class_name="visually-hidden", role="status"),
        class_name="main-inner",
        custom_attrs={"aria-busy": "true"},
    )
