"""What support did on an account, for the plans page."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.controls import pager
from billing_app.components.numbers import badge
from billing_app.states.support import SupportState as State
from billing_app.states.views import SupportStep


def support() -> rx.Component:
    """Shown once there is something to list."""
    return rx.cond(
        State.steps.length() > 0,
        card(
            rx.el.ol(rx.foreach(State.steps, _step), class_name="steps"),
            pager(
                State.steps_page,
                has_older=State.has_older_steps,
                on_newer=State.show_newer_steps,
                on_older=State.show_older_steps,
            ),
            title="Support activity",
            note="What our support team did on this account, and why",
            flush=True,
        ),
    )


def _step(step: ObjectVar[SupportStep]) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.span(step.title, class_name="step-title"),
            rx.cond(step.is_undone, badge("Undone")),
            class_name="balance-plan",
        ),
        rx.el.p(step.reason, class_name="step-reason"),
        rx.el.span(step.at, class_name="step-at"),
        key=step.step_id,
        class_name="step",
    )
