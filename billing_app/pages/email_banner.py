"""Asks people to confirm their e-mail address, quietly: everything works meanwhile."""

import reflex as rx

from billing_app.components.controls import press_button
from billing_app.states.email_banner import SEND_AGAIN
from billing_app.states.email_banner import EmailBannerState as State
from billing_app.states.session import SessionState


def email_banner() -> rx.Component:
    """Gone once the address is confirmed."""
    asked = f"Open the link that we emailed to {SessionState.unconfirmed_email}."
    return rx.cond(
        SessionState.unconfirmed_email != "",
        rx.el.div(
            rx.icon("mail", aria_hidden="true"),
            rx.el.div(
                rx.el.p("Confirm your email address", class_name="notice-title"),
                rx.el.p(_news(asked), class_name="notice-text", aria_live="polite"),
                class_name="notice-body",
            ),
            rx.el.div(
                press_button(
                    "Send again",
                    name=SEND_AGAIN,
                    pending=State.pending,
                    on_press=State.send_again,
                    look="small",
                ),
                class_name="notice-actions",
            ),
            class_name="notice",
            role="region",
            aria_label="Email address",
        ),
    )


def _news(asked: str) -> rx.Var[str]:
    """What came of pressing the button, or else what to do."""
    done, problem = State.done, State.problem
    failed = f"{problem.title}. {problem.text}"
    return rx.cond(
        problem.title != "",
        failed,
        rx.cond(done.title != "", f"{done.title}. {done.text}", asked),
    )
