"""The page for an unknown address."""

import reflex as rx

from billing_app import routes
from billing_app.pages.auth_pages import auth_card


def not_found() -> rx.Component:
    """Links back to the dashboard."""
    return auth_card(
        rx.el.p(
            rx.link("Go to the dashboard", href=routes.DASHBOARD, class_name="button primary"),
            class_name="auth-form",
        ),
        title="Page not found",
        text="The address may be outdated or mistyped.",
    )
