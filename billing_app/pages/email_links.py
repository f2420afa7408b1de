"""The page that a link in a mail opens to confirm a new e-mail address."""

import reflex as rx

from billing_app import routes
from billing_app.components.controls import native_form
from billing_app.components.feedback import notice
from billing_app.pages.auth_pages import auth_card
from billing_app.states.auth_forms import AuthFormState as State


def confirm_email() -> rx.Component:
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
                rx.el.input(type="hidden", name="link", value=State.link, read_only=True),
                rx.el.button("Confirm", type="submit", class_name="button primary"),
                action=routes.EMAIL_CONFIRMATIONS,
                method="post",
                class_name="auth-form",
            ),
        ),
        title="Confirm your email address",
        text=rx.cond(State.link_email != "", f"Use {State.link_email} from now on.", ""),
        foot=rx.link("Go to your details", href=routes.DETAILS, class_name="text-link"),
    )
