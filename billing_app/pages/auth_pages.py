"""What the pages for signing in and up, and for a new password, share."""

import reflex as rx

from billing_app.components.controls import native_form
from billing_app.components.feedback import notice
from billing_app.pages.frame import brand, colour_mode_button
from billing_app.states.auth_forms import AuthFormState


def door(
    *fields: rx.Component,
    title: str,
    words: str | rx.Component,
    action: str,
    submit: str,
    foot: rx.Component,
) -> rx.Component:
    """A card with one form that the browser posts itself, so that it works without scripts."""
    return rx.el.main(
        rx.el.div(colour_mode_button(), class_name="door-corner"),
        rx.el.div(
            brand(),
            rx.el.div(
                rx.el.h1(title, class_name="door-title"),
                rx.el.p(words, class_name="door-words"),
                rx.cond(
                    AuthFormState.message != "",
                    notice(tone="bad", title=AuthFormState.message, words=""),
                ),
                rx.cond(
                    AuthFormState.said != "",
                    notice(tone="good", title=AuthFormState.said, words=AuthFormState.said_words),
                ),
                native_form(
                    *fields,
                    rx.el.button(submit, type="submit", class_name="button primary"),
                    action=action,
                    method="post",
                    class_name="door-form",
                ),
                class_name="door-card",
            ),
            rx.el.p(foot, class_name="door-foot"),
            class_name="door-inner",
        ),
        class_name="door",
    )
