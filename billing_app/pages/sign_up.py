"""The sign-up page: an account on the public organization, with a trial."""

import reflex as rx

from billing_app import routes
from billing_app.billing.identity.password_hashing import MIN_LENGTH
from billing_app.components.controls import text_field
from billing_app.pages.auth_pages import auth_page


def sign_up() -> rx.Component:
    """Posts to the API, which starts the trial and sets the cookie."""
    return auth_page(
        text_field(name="name", label="Name", kind="text", autocomplete="name", max_length=255),
        text_field(name="email", label="Email", kind="email", autocomplete="username"),
        text_field(
            name="password",
            label="Password",
            kind="password",
            autocomplete="new-password",
            hint=f"At least {MIN_LENGTH} characters; a few unrelated words are best",
            min_length=MIN_LENGTH,
        ),
        title="Start a trial",
        text="Your trial starts right away. No card needed.",
        action=routes.USER_CREATE,
        submit="Create account",
        foot=rx.fragment(
            "Already have an account? ",
            rx.link("Sign in", href=routes.SIGN_IN, class_name="text-link"),
        ),
    )
