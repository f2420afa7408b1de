"""What stands where no page is."""

import reflex as rx

from billing_app import routes
from billing_app.pages.frame import brand, colour_mode_button


def not_found() -> rx.Component:
    """Says so, and leads back."""
    return rx.el.main(
        rx.el.div(colour_mode_button(), class_name="door-corner"),
        rx.el.div(
            brand(),
            rx.el.div(
                rx.el.h1("There is no such page", class_name="door-title"),
                rx.el.p("The address may be old, or mistyped.", class_name="door-words"),
                rx.el.p(
                    rx.link("To the dashboard", href=routes.DASHBOARD, class_name="button primary"),
                    class_name="door-form",
                ),
                class_name="door-card",
            ),
            class_name="door-inner",
        ),
        class_name="door",
    )
