"""What a page shows when it has nothing, not yet, or something to say."""

from typing import Any

import reflex as rx
from reflex_components_core.core.banner import has_too_many_connection_errors

from billing_app.components.numbers import Tone, Words


def notice(
    *, tone: Tone, title: Words, words: Words, actions: list[rx.Component] | None = None
) -> rx.Component:
    """Something the reader should know now; `tone` is "", "good", "warning" or "bad"."""
    return rx.el.div(
        _tone_icon(tone),
        rx.el.div(
            rx.el.p(title, class_name="notice-title"),
            rx.el.p(words, class_name="notice-words"),
            class_name="notice-text",
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
    """Takes a notice away once it was read."""
    return rx.el.button(
        rx.icon("x", aria_hidden="true"),
        type="button",
        class_name="icon-button",
        on_click=on_press,
        custom_attrs={"aria-label": "Dismiss"},
    )


def empty(
    *, icon: str, title: Words, words: Words, action: rx.Component | None = None
) -> rx.Component:
    """Nothing is here, and what would bring something."""
    return rx.el.div(
        rx.icon(icon, aria_hidden="true"),
        rx.el.p(title, class_name="empty-title"),
        rx.el.p(words, class_name="empty-words"),
        rx.fragment() if action is None else rx.el.div(action, class_name="empty-action"),
        class_name="empty",
    )


def out_of_date(*, is_broken: rx.Var[bool], read_at: rx.Var[str]) -> rx.Component:
    """Above what was read before, while nothing newer can be read."""
    return rx.cond(
        is_broken,
        notice(
            tone="warning",
            title=f"Not up to date: this is how it stood on {read_at} UTC",
            words="The server can't read anything newer right now."
            " This page tries again every few seconds.",
        ),
    )


def connection_lost() -> rx.Component:
    """Says on any page that the server can't be reached; goes away when it can."""
    return rx.cond(
        has_too_many_connection_errors,
        rx.el.div(
            rx.icon("cloud-off", aria_hidden="true"),
            "No connection to the server. Trying again.",
            class_name="connection-lost",
            role="status",
        ),
    )


def bone(height_px: int, *, width: str = "100%") -> rx.Component:
    """A grey shape where something will be."""
    return rx.el.div(class_name="bone", style={"height": f"{height_px}px", "width": width})


def page_bones() -> rx.Component:
    """The shape of a page while its first numbers are on their way."""
    return rx.el.div(
        rx.el.div(bone(28, width="180px"), class_name="page-head"),
        rx.el.div(bone(232), bone(232), class_name="columns"),
        bone(320),
        bone(240),
        rx.el.span("Loading", class_name="visually-hidden", role="status"),
        class_name="main-inner",
        custom_attrs={"aria-busy": "true"},
    )
