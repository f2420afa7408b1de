"""What asks before something is done: a dialog with a form, its fields, and the yes."""

from typing import Any, Final, Literal

import reflex as rx

from billing_app.components.controls import Handler
from billing_app.components.feedback import notice
from billing_app.components.numbers import Words

FieldKind = Literal["text", "number", "date", "datetime-local", "email"]

# Radix gives the focus back to its own trigger alone; these dialogs are opened by the server. One
# that a menu opened belongs to the menu's button, whether the menu goes before the dialog comes or
# after. Where the button is gone, the page has the focus.
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
    *body: rx.Component, title: Words, words: Words, is_open: rx.Var[bool], on_close: Handler
) -> rx.Component:
    """Over the page, until it is closed; Escape closes it."""
    return rx.dialog.root(
        rx.dialog.content(
            rx.dialog.title(title, class_name="dialog-title"),
            rx.dialog.description(words, class_name="dialog-words"),
            *body,
            class_name="dialog",
            custom_attrs=GIVE_FOCUS_BACK,
        ),
        open=is_open,
        on_open_change=lambda _: on_close,
    )


def problem_in(said: Any) -> rx.Component:
    """Why it was refused, inside the dialog; `said` is what a StaffPage says."""
    return rx.cond(said.is_bad, notice(tone="bad", title=said.words, words=""))


def field(
    label: Words,
    name: str,
    *,
    kind: FieldKind = "text",
    hint: Words = "",
    value: Words | None = None,
    is_required: bool = True,
    **attributes: Any,
) -> rx.Component:
    """A labelled field of a dialog's form; `value` is what stands there first."""
    identity = f"field-{name}"
    first = {} if value is None else {"default_value": value}
    return _labelled(
        label,
        identity,
        hint,
        rx.el.input(
            id=identity,
            name=name,
            type=kind,
            required=is_required,
            auto_complete="off",
            class_name="input",
            custom_attrs=_described(identity, hint),
            **first,
            **attributes,
        ),
    )


def choice_field(
    label: Words,
    name: str,
    options: list[rx.Component],
    *,
    hint: Words = "",
    value: Words | None = None,
    **attributes: Any,
) -> rx.Component:
    """A labelled choice of a dialog's form."""
    identity = f"field-{name}"
    first = {} if value is None else {"default_value": value}
    return _labelled(
        label,
        identity,
        hint,
        rx.el.select(
            *options,
            id=identity,
            name=name,
            class_name="select",
            custom_attrs=_described(identity, hint),
            **first,
            **attributes,
        ),
    )


def reason_field(
    hint: Words = "The customer sees it in their history.",
    *,
    value: Words | None = None,
    **attributes: Any,
) -> rx.Component:
    """Why: every change of the staff says it. `value` is what stands there first."""
    first = {} if value is None else {"default_value": value}
    return _labelled(
        "Reason",
        "field-reason",
        hint,
        rx.el.textarea(
            id="field-reason",
            name="reason",
            required=True,
            max_length=500,
            rows="2",
            class_name="input area",
            custom_attrs=_described("field-reason", hint),
            **first,
            **attributes,
        ),
    )


def dialog_foot(*buttons: rx.Component) -> rx.Component:
    return rx.el.div(*buttons, class_name="dialog-foot")


def _labelled(label: Words, identity: str, hint: Words, control: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=identity, class_name="field-label"),
        control,
        rx.el.p(hint, id=f"{identity}-hint", class_name="field-hint")
        if _is_said(hint)
        else rx.fragment(),
        class_name="field",
    )


def _described(identity: str, hint: Words) -> dict[str, str]:
    return {"aria-describedby": f"{identity}-hint"} if _is_said(hint) else {}


def _is_said(words: Words) -> bool:
    return isinstance(words, rx.Var) or bool(words)
