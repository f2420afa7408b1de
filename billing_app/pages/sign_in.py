"""The sign-in page."""

import reflex as rx

from billing_app import routes
from billing_app.components.controls import text_field
from billing_app.pages.auth_pages import auth_page
from billing_app.states.auth_forms import AuthFormState


def sign_in() -> rx.Component:
    """Posts to the API, which sets the cookie."""
    return auth_page(
        text_field(name="email", label="Email", kind="email", autocomplete="username"),
        text_field(
            name="password", label="Password", kind="password", autocomplete="current-password"
        ),
        rx.el.input(type="hidden", name="next", value=AuthFormState.next_page, read_only=True),
        title="Sign in",
        text="See your balance, your usage and your plans.",
        action=routes.SESSION_CREATE,
        submit="Sign in",
        foot=rx.fragment(
            rx.link("Forgot your password?", href=routes.FORGOT_PASSWORD, class_name="text-link"),
            rx.el.br(),
            "New here? ",
            rx.link("Start a trial", href=routes.SIGN_UP, class_name="text-link"),
        ),
    )
