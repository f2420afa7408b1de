"""The shared layout of sign-in, sign-up, password and not-found pages."""

import reflex as rx

from billing_app.components.controls import native_form
from billing_app.components.feedback import notice
from billing_app.components.numbers import Text
from billing_app.pages.frame import brand, colour_mode_button
from billing_app.states.auth_forms import AuthFormState


def auth_page(
    *fields: rx.Component,
    title: str,
    text: Text | rx.Component,
    action: str,
    submit: str,
    foot: rx.Component,
) -> rx.Component:
    """A form that the browser posts itself, so that it works without scripts."""
    return auth_card(
        rx.cond(AuthFormState.error != "", notice(tone="bad", title=AuthFormState.error, text="")),
        rx.cond(
            AuthFormState.success_title != "",
            notice(tone="good", title=AuthFormState.success_title, text=AuthFormState.success_text),
        ),
        native_form(
            *fields,
            rx.el.button(submit, type="submit", class_name="button primary"),
            action=action,
            method="post",
            class_name="auth-form",
        ),
        title=title,
        text=text,
        foot=foot,
    )


def auth_card(
    *body: rx.Component,
    title: Text,
    text: Text | rx.Component,
    foot: rx.Component | None = None,
) -> rx.Component:
    """One card in the middle of the screen."""
    return rx.el.main(
        rx.el.div(colour_mode_button(), class_name="auth-corner"),
        rx.el.div(
            brand(),
            rx.el.div(
                rx.el.h1(title, class_name="auth-title"),
                rx.el.p(text, class_name="auth-text"),
                *body,
                class_name="auth-card",
            ),
            rx.fragment() if foot is None else rx.el.p(foot, class_name="auth-foot"),
            class_name="auth-inner",
        ),
        class_name="auth",
    )
