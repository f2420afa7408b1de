"""Text that is there to be copied: IDs, keys, code."""

import reflex as rx

from billing_app.states.key_form import KeyFormState as Form


def copy_button(text: rx.Var[str] | str, name: str, label: str) -> rx.Component:
    """Copies the text with one press, and says so; `name` is the button's own."""
    is_copied = Form.copied == name
    return rx.el.button(
        rx.cond(
            is_copied, rx.icon("check", aria_hidden="true"), rx.icon("copy", aria_hidden="true")
        ),
        rx.cond(is_copied, "Copied", "Copy"),
        type="button",
        class_name="button small copy",
        on_click=[rx.set_clipboard(text), Form.note_copied(name)],
        custom_attrs={"aria-label": rx.cond(is_copied, f"Copied {label}", f"Copy {label}")},
    )


def copied_line(text: rx.Var[str] | str, name: str, label: str) -> rx.Component:
    """An ID or a key on a line of its own, with its button."""
    return rx.el.div(
        rx.el.code(text, class_name="secret wrapped", id=name),
        copy_button(text, name, label),
        class_name="copy-line",
    )


def code_block(code: rx.Var[str], name: str, label: str) -> rx.Component:
    """Code that can be scrolled, with its button."""
    return rx.el.div(
        rx.el.div(
            rx.el.span(label, class_name="field-label"),
            copy_button(code, name, label),
            class_name="code-head",
        ),
        rx.el.pre(
            code,
            class_name="source code",
            id=name,
            tab_index=0,
            role="region",
            custom_attrs={"aria-label": label},
        ),
        class_name="code-block",
    )
