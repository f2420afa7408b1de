"""A dialog of the console that asks for a reason and does one thing."""

from typing import Any, Final

import reflex as rx

from billing_app.components.controls import Handler
from billing_app.components.dialogs import dialog, dialog_foot, problem_in, reason_field
from billing_app.components.numbers import Text

NOT_SHOWN: Final = "Recorded in the audit log."
SHOWN: Final = "Visible to the customer."


def action_dialog(
    state: Any,
    name: str,
    *fields: rx.Component,
    title: Text,
    text: Text,
    on_submit: Handler,
    confirm: str = "",
    hint: str = NOT_SHOWN,
    is_danger: bool = False,
) -> rx.Component:
    """Open while `state.dialog` is `name`; the title also confirms, unless `confirm` does."""
    return dialog(
        rx.form(
            problem_in(state.notice),
            *fields,
            reason_field(hint),
            form_foot(confirm or title, state.close, is_danger=is_danger),
            on_submit=on_submit,
            class_name="dialog-form",
        ),
        title=title,
        text=text,
        is_open=state.dialog == name,
        on_close=state.close,
    )


def form_foot(confirm: Text, on_cancel: Handler, *, is_danger: bool = False) -> rx.Component:
    look = "button danger" if is_danger else "button strong"
    return dialog_foot(
        rx.el.button("Cancel", type="button", class_name="button", on_click=on_cancel),
        rx.el.button(confirm, type="submit", class_name=look),
    )
