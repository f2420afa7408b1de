"""The page that the unsubscribe link of a mail opens."""

import reflex as rx

from billing_app import routes
from billing_app.components.controls import native_form
from billing_app.components.feedback import notice
from billing_app.pages.auth_pages import auth_card
from billing_app.states.auth_forms import AuthFormState as State


def unsubscribe() -> rx.Component:
    """One button: opening the link changes nothing."""
    return auth_card(
        rx.cond(State.error != "", notice(tone="bad", title=State.error, text="")),
        rx.cond(
            State.success_title != "",
            notice(tone="good", title=State.success_title, text=State.success_text),
        ),
        rx.cond(
            State.link_email != "",
            native_form(
                rx.el.input(type="hidden", name="sent_from", value="page", read_only=True),
                rx.el.button("Unsubscribe", type="submit", class_name="button primary"),
                action=f"{routes.UNSUBSCRIBE}/{State.link}",
                method="post",
                class_name="auth-form",
            ),
        ),
        title="Unsubscribe",
        text=rx.cond(
            State.link_email != "",
            f"Stop all alerts and account emails to {State.link_email}? Emails about your sign-in"
            " still come, and alerts stay in the app.",
            "",
        ),
        foot=rx.link(
            "Choose which emails you get", href=routes.ALERTS_PAGE, class_name="text-link"
        ),
    )
