"""Confirmation dialogs and the fields of their forms."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import reflex as rx

from billing_app.components.controls import Handler, press_button
from billing_app.components.feedback import notice
from billing_app.components.numbers import Text

FieldKind = Literal["text", "number", "date", "datetime-local", "email", "password"]

# Radix returns the focus only to its own trigger, but the server opens these dialogs. After a
# dialog opened from a menu, the focus returns to the menu's button, whichever closes first; if the
# button is gone, to the page.
REMEMBER_OPENER: Final = """() => {
    const focused = document.activeElement;
    const menu = focused.closest('[role=menu]');
    if (menu) window.dialogOpener = document.getElementById(menu.getAttribute('aria-labelledby'));
    else if (focused !== document.body) window.dialogOpener = focused;
}"""
FOCUS_OPENER: Final = """() => {
    const opener = window.dialogOpener;
    window.dialogOpener = null;
    const canFocus = opener?.isConnected && !opener.disabled;
    (canFocus ? opener : document.getElementById('content'))?.focus();
}"""
LEAVE_TO_DIALOG: Final = """(event) => {
    if (!document.querySelector('[role=dialog]')) return;
    event.preventDefault();
    const button = event.currentTarget.getAttribute('aria-labelledby');
    window.dialogOpener = document.getElementById(button);
}"""
GIVE_FOCUS_BACK: Final = {
    "onOpenAutoFocus": rx.Var(REMEMBER_OPENER),
    "onCloseAutoFocus": rx.Var(FOCUS_OPENER),
}
MENU_OF_DIALOGS: Final = {"onCloseAutoFocus": rx.Var(LEAVE_TO_DIALOG)}


def dialog(
    *body: rx.Component, title: Text, text: Text, is_open: rx.Var[bool], on_close: Handler
) -> rx.Component:
    """A modal dialog; Escape closes it."""
    return rx.dialog.root(
        rx.dialog.content(
            rx.dialog.title(title, class_name="dialog-title"),
            rx.dialog.description(text, class_name="dialog-text"),
            *body,
            class_name="dialog",
            custom_attrs=GIVE_FOCUS_BACK,
        ),
        open=is_open,
        on_open_change=lambda _: on_close,
    )


def problem_in(result: Any) -> rx.Component:
    """Why the action was refused, inside the dialog; `result` is the result of a StaffPage."""
    return rx.cond(result.is_bad, notice(tone="bad", title=result.text, text=""))


def problem_notice(problem: Any) -> rx.Component:
    """Why an action was refused, inside its dialog; `problem` is a Message."""
    return rx.cond(
        problem.title != "",
        rx.el.div(notice(tone="bad", title=problem.title, text=problem.text), role="alert"),
    )


def cancel_button(on_press: Handler) -> rx.Component:
    return rx.el.button("Cancel", type="button", class_name="button", on_click=on_press)


def confirmation_dialog(
    form: Any,
    *,
    name: str,
    title: Text,
    text: Text,
    confirm: str,
    on_confirm: Handler,
    is_open: rx.Var[bool],
    look: str = "strong",
) -> rx.Component:
    """Asks before something is done; `form` is an ActionMixin's state, `name` its action, `confirm`
    the button."""
    return dialog(
        problem_notice(form.problem),
        dialog_foot(
            cancel_button(form.close),
            press_button(confirm, name=name, pending=form.pending, on_press=on_confirm, look=look),
        ),
        title=title,
        text=text,
        is_open=is_open,
        on_close=form.close,
    )


def field(
    label: Text,
    name: str,
    *,
    kind: FieldKind = "text",
    hint: Text = "",
    value: Text | None = None,
    is_required: bool = True,
    **attributes: Any,
) -> rx.Component:
    """A labelled field of a dialog's form; `value` is its first value."""
    control = partial(
        rx.el.input, type=kind, required=is_required, auto_complete="off", class_name="input"
    )
    return _labelled(control, label, name, hint=hint, value=value, **attributes)


def choice_field(
    label: Text,
    name: str,
    options: list[rx.Component],
    *,
    hint: Text = "",
    value: Text | None = None,
    **attributes: Any,
) -> rx.Component:
    """A labelled select of a dialog's form."""
    control = partial(rx.el.select, *options, class_name="select")
    return _labelled(control, label, name, hint=hint, value=value, **attributes)


def reason_field(
    hint: Text = "Visible to the customer.",
    *,
    value: Text | None = None,
    **attributes: Any,
) -> rx.Component:
    """The reason, which every change by staff requires."""
    control = partial(
        rx.el.textarea, required=True, max_length=500, rows="2", class_name="input area"
    )
    return _labelled(control, "Reason", "reason", hint=hint, value=value, **attributes)


def dialog_foot(*buttons: rx.Component) -> rx.Component:
    return rx.el.div(*buttons, class_name="dialog-foot")


def _labelled(
    control: Callable[..., rx.Component],
    label: Text,
    name: str,
    *,
    hint: Text,
    value: Text | None,
    **attributes: Any,
) -> rx.Component:
    identity = f"field-{name}"
    has_hint = isinstance(hint, rx.Var) or bool(hint)
    if value is not None:
        attributes["default_value"] = value
    if has_hint:
        attributes["custom_attrs"] = {"aria-describedby": f"{identity}-hint"}
    return rx.el.div(
        rx.el.label(label, html_for=identity, class_name="field-label"),
        control(id=identity, name=name, **attributes),
        rx.el.p(hint, id=f"{identity}-hint", class_name="field-hint")
        if has_hint
        else rx.fragment(),
        class_name="field",
    )
