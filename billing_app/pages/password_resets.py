"""A new password: ask for a link, follow it, or change the one you have."""

import reflex as rx

from billing_app import routes
from billing_app.billing.identity.password_hashing import MIN_LENGTH
from billing_app.components.controls import text_field
from billing_app.pages.auth_pages import door
from billing_app.states.auth_forms import AuthFormState


def forgot_password() -> rx.Component:
    """Asks for the address that a link is mailed to."""
    return door(
        text_field(name="email", label="E-mail", kind="email", autocomplete="username"),
        title="Forgot your password?",
        words="We mail you a link to choose a new one.",
        action=routes.PASSWORD_RESETS,
        submit="Mail me a link",
        foot=rx.fragment(
            "Remembered it? ", rx.link("Sign in", href=routes.SIGN_IN, class_name="text-link")
        ),
    )


def reset_password() -> rx.Component:
    """Where the mailed link leads."""
    return door(
        rx.el.input(type="hidden", name="link", value=AuthFormState.link, read_only=True),
        _new_password(),
        title="Choose a new password",
        words=rx.fragment(
            AuthFormState.whose,
            "You are signed in with it at once, and every other browser is signed out.",
        ),
        action=routes.PASSWORD_RESET,
        submit="Set password",
        foot=rx.fragment(
            "Link too old? ",
            rx.link("Ask for another", href=routes.FORGOT_PASSWORD, class_name="text-link"),
        ),
    )


def change_password() -> rx.Component:
    """For who is signed in and knows the old one."""
    return door(
        _whose(),
        text_field(
            name="current",
            label="Current password",
            kind="password",
            autocomplete="current-password",
        ),
        _new_password(),
        title="Change your password",
        words="Every other browser is signed out.",
        action=routes.PASSWORD_CHANGE,
        submit="Change password",
        foot=rx.link("Back to the dashboard", href=routes.DASHBOARD, class_name="text-link"),
    )


def _whose() -> rx.Component:
    """For password managers, which keep a password under a name."""
    return rx.el.input(
        type="text",
        name="username",
        value=AuthFormState.viewer.email,
        auto_complete="username",
        read_only=True,
        hidden=True,
    )


def _new_password() -> rx.Component:
    return text_field(
        name="password",
        label="New password",
        kind="password",
        autocomplete="new-password",
        hint=f"At least {MIN_LENGTH} characters",
        min_length=MIN_LENGTH,
    )
