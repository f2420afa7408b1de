"""Password pages: ask for a reset link, follow it, or change the current password."""

import reflex as rx

from billing_app import routes
from billing_app.billing.identity.password_hashing import MIN_LENGTH
from billing_app.components.controls import text_field
from billing_app.pages.auth_pages import auth_page
from billing_app.states.auth_forms import AuthFormState


def forgot_password() -> rx.Component:
    """Asks for the address to email a reset link to."""
    return auth_page(
        text_field(name="email", label="Email", kind="email", autocomplete="username"),
        title="Forgot your password?",
        text="We will email you a link to choose a new one.",
        action=routes.PASSWORD_RESETS,
        submit="Email me a link",
        foot=rx.fragment(
            "Remembered it? ", rx.link("Sign in", href=routes.SIGN_IN, class_name="text-link")
        ),
    )


def reset_password() -> rx.Component:
    """The page that the emailed link opens."""
    return auth_page(
        rx.el.input(type="hidden", name="link", value=AuthFormState.link, read_only=True),
        _new_password(),
        title="Choose a new password",
        text=rx.fragment(
            rx.cond(AuthFormState.link_email != "", f"For {AuthFormState.link_email}. ", ""),
            "You will be signed in here and signed out in every other browser.",
        ),
        action=routes.PASSWORD_RESET,
        submit="Set password",
        foot=rx.fragment(
            "Link expired? ",
            rx.link("Ask for a new one", href=routes.FORGOT_PASSWORD, class_name="text-link"),
        ),
    )


def change_password() -> rx.Component:
    """For people who are signed in and know their current password."""
    return auth_page(
        _username(),
        text_field(
            name="current",
            label="Current password",
            kind="password",
            autocomplete="current-password",
        ),
        _new_password(),
        title="Change your password",
        text="You will be signed out in every other browser.",
        action=routes.PASSWORD_CHANGE,
        submit="Change password",
        foot=rx.link("Back to the dashboard", href=routes.DASHBOARD, class_name="text-link"),
    )


def _username() -> rx.Component:
    """Hidden; password managers store a password under a name."""
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
        hint=f"At least {MIN_LENGTH} characters; a few unrelated words are best",
        min_length=MIN_LENGTH,
    )
