"""The page that the link of an invitation opens."""

import reflex as rx

from billing_app import routes
from billing_app.components.controls import native_form, native_link
from billing_app.components.feedback import notice
from billing_app.pages.auth_pages import auth_card
from billing_app.pages.menus import sign_out_forms
from billing_app.states.invitation import InvitationState as State


def invitation() -> rx.Component:
    """Accept or decline: opening the link changes nothing."""
    return rx.fragment(
        auth_card(
            rx.cond(State.error != "", notice(tone="bad", title=State.error, text="")),
            rx.cond(
                State.success_title != "",
                notice(tone="good", title=State.success_title, text=State.success_text),
            ),
            rx.cond(State.invited_title != "", _choice()),
            title=rx.cond(State.invited_title != "", State.invited_title, "Invitation"),
            text=State.invited_text,
            foot=rx.link("Go to your dashboard", href=routes.DASHBOARD, class_name="text-link"),
        ),
        sign_out_forms(),
    )


def _choice() -> rx.Component:
    email = State.invited_email
    return rx.cond(
        State.signed_in_as == "",
        rx.fragment(
            rx.el.p(
                "It is for ",
                rx.el.strong(email),
                ". Sign in, or create an account with this address, to accept it.",
                class_name="auth-text",
            ),
            native_link("Sign in", href=State.sign_in_url, class_name="button primary"),
            native_link("Create an account", href=State.sign_up_url, class_name="button"),
            _decline(),
        ),
        rx.cond(
            State.is_other_address,
            rx.fragment(
                notice(
                    tone="warning",
                    title=f"It is for {email}",
                    text=f"You are signed in as {State.signed_in_as}. Sign out, then open the"
                    " link in the email again.",
                ),
                rx.el.button(
                    "Sign out",
                    type="button",
                    class_name="button primary",
                    on_click=rx.call_script(
                        "document.getElementById('billing-session-delete').submit()"
                    ),
                ),
            ),
            rx.fragment(
                _post(routes.INVITATION_ACCEPT, "Accept", "button primary"),
                _decline(),
            ),
        ),
    )


def _decline() -> rx.Component:
    return _post(routes.INVITATION_DECLINE, "Decline", "button")


def _post(action: str, label: str, look: str) -> rx.Component:
    return native_form(
        rx.el.input(type="hidden", name="link", value=State.link, read_only=True),
        rx.el.button(label, type="submit", class_name=look),
        action=action,
        method="post",
        class_name="auth-form",
    )
