"""Buttons, fields, selects, pagers, and forms and links that the browser handles itself."""

from collections.abc import Sequence
from typing import Any, Literal

import reflex as rx
from reflex.vars import NumberVar

from billing_app.components.numbers import Text

# Reflex types a handler by its arguments; no single type fits all of them.
Handler = Any
FieldKind = Literal["email", "password", "text"]


def press_button(
    text: Text,
    *,
    name: Text,
    pending: rx.Var[str],
    on_press: Handler,
    look: Text = "",
    label: Text | None = None,
) -> rx.Component:
    """Starts something slow: inactive while anything is `pending`, with a spinner if it is this
    button. It keeps the focus, so that a dialog can return it. `look`: "strong", "danger",
    "quiet", "small"; `label`: for screen readers."""
    is_mine = pending == name
    attributes: dict[str, Any] = {
        "aria-busy": rx.cond(is_mine, "true", "false"),
        "aria-disabled": rx.cond(pending != "", "true", "false"),
    }
    if label is not None:
        attributes["aria-label"] = label
    return rx.el.button(
        rx.cond(is_mine, rx.el.span(class_name="spinner", aria_hidden="true"), rx.fragment()),
        text,
        type="button",
        class_name=f"button {look}",
        on_click=on_press,
        custom_attrs=attributes,
    )


def segments(
    label: str,
    choices: Sequence[tuple[str, str]],
    *,
    chosen: rx.Var[str],
    on_choose: Handler,
) -> rx.Component:
    """One of a few choices, given as (value, text)."""
    return rx.el.div(
        *[
            rx.el.button(
                text,
                type="button",
                class_name="segment",
                on_click=on_choose(value),
                custom_attrs={"aria-pressed": rx.cond(chosen == value, "true", "false")},
            )
            for value, text in choices
        ],
        class_name="segments",
        role="group",
        custom_attrs={"aria-label": label},
    )


def select(
    label: str,
    *,
    options: rx.Component | list[rx.Component],
    value: rx.Var[str],
    on_change: Handler,
) -> rx.Component:
    """The browser's own select with a name for screen readers."""
    return rx.el.select(
        *(options if isinstance(options, list) else [options]),
        value=value,
        on_change=on_change,
        class_name="select",
        custom_attrs={"aria-label": label},
    )


def date_range(
    *,
    first: rx.Var[str],
    last: rx.Var[str],
    latest: rx.Var[str],
    on_first: Handler,
    on_last: Handler,
) -> rx.Component:
    """Two days as the browser's date fields (YYYY-MM-DD, UTC days)."""
    return rx.el.div(
        _day("From", value=first, latest=latest, on_change=on_first),
        _day("to", value=last, latest=latest, on_change=on_last),
        class_name="controls",
    )


def _day(
    label: str, *, value: rx.Var[str], latest: rx.Var[str], on_change: Handler
) -> rx.Component:
    return rx.el.label(
        label,
        rx.el.input(type="date", value=value, max=latest, on_change=on_change, class_name="input"),
        class_name="field-inline",
    )


def pager(
    page_number: NumberVar[int],
    *,
    has_older: rx.Var[bool],
    on_newer: Handler,
    on_older: Handler,
    back_label: Text = "Newer",
    forward_label: Text = "Older",
) -> rx.Component:
    """Pages through a list on the server; hidden while there is only one page."""
    has_newer = page_number > 1
    return rx.cond(
        has_older | has_newer,
        rx.el.nav(
            rx.el.span(f"Page {page_number}", class_name="number"),
            rx.el.div(
                _page_button(back_label, enabled=has_newer, on_click=on_newer),
                _page_button(forward_label, enabled=has_older, on_click=on_older),
                class_name="pager-buttons",
            ),
            class_name="pager",
            custom_attrs={"aria-label": "Pages"},
        ),
    )


def _page_button(text: Text, *, enabled: rx.Var[bool], on_click: Handler) -> rx.Component:
    return rx.el.button(
        text, type="button", class_name="button small", disabled=~enabled, on_click=on_click
    )


def text_field(
    *, name: str, label: str, kind: FieldKind, autocomplete: str, hint: str = "", **attributes: Any
) -> rx.Component:
    """A labelled field of a form that the browser posts itself."""
    hint_id = f"{name}-hint"
    described = {"aria-describedby": hint_id} if hint else {}
    return rx.el.div(
        rx.el.label(label, html_for=name, class_name="field-label"),
        rx.el.input(
            id=name,
            name=name,
            type=kind,
            auto_complete=autocomplete,
            required=True,
            class_name="input",
            custom_attrs=described,
            **attributes,
        ),
        rx.el.p(hint, id=hint_id, class_name="field-hint") if hint else rx.fragment(),
        class_name="field",
    )


class NativeForm(rx.el.Div):
    """A form that the browser posts itself, which `rx.form` always prevents."""

    tag = "form"

    action: rx.Var[str]
    method: rx.Var[str]


class NativeLink(rx.el.Div):
    """A link that the browser follows itself; Reflex's own treats local paths as pages."""

    tag = "a"

    href: rx.Var[str]
    download: rx.Var[bool]


native_form = NativeForm.create
native_link = NativeLink.create
