"""What an account that never counted an execution sees on its dashboard, and what comes after."""

import reflex as rx

from billing_app import routes
from billing_app.components.cards import card
from billing_app.components.controls import native_link, press_button
from billing_app.components.feedback import notice
from billing_app.pages.copying import code_block, copied_line
from billing_app.states.actions import YES
from billing_app.states.billing_dashboard import BillingDashboardState as State
from billing_app.states.key_form import FIRST
from billing_app.states.key_form import KeyFormState as Form


def first_steps() -> rx.Component:
    """Three steps to a first run; the live dashboard takes their place."""
    has_key = (Form.kind == FIRST) & (Form.of_account == State.account.account_id)
    return card(
        rx.el.ol(
            _step("1", "Create an API key", _key_step(has_key)),
            _step(
                "2",
                "Count a run",
                rx.el.p(
                    "Your service asks before each run. This counts one execution:",
                    class_name="soft",
                ),
                code_block(
                    rx.cond(has_key, Form.code.curl, State.first_run.curl),
                    "first-curl",
                    "In a terminal",
                ),
                rx.el.details(
                    rx.el.summary("In Python", class_name="text-link"),
                    code_block(
                        rx.cond(has_key, Form.code.python, State.first_run.python),
                        "first-python",
                        "In Python",
                    ),
                ),
            ),
            _step(
                "3",
                rx.el.span(
                    rx.el.span(class_name="spinner", aria_hidden="true"),
                    "Waiting for your first run…",
                    class_name="waiting",
                    role="status",
                ),
                rx.el.p("It appears here as soon as it is counted.", class_name="soft"),
            ),
            class_name="first-steps",
        ),
        title="Count your first execution",
        note="It takes about three minutes",
        actions=[native_link("API reference", href=routes.API_DOCS, class_name="text-link")],
    )


def next_steps() -> rx.Component:
    """After the first run, until the page is left."""
    return rx.cond(
        State.was_waiting,
        notice(
            tone="good",
            title="Your first execution was counted",
            text="Next: be told before executions run out, and see what plans there are.",
            actions=[
                rx.link("Set an alert", href=routes.ALERTS_PAGE, class_name="button strong"),
                rx.link("See plans", href=routes.OVERVIEW, class_name="button"),
            ],
        ),
    )


def _key_step(has_key: rx.Var[bool]) -> rx.Component:
    return rx.cond(
        has_key,
        rx.fragment(
            copied_line(Form.secret, "first-key", "the key"),
            rx.el.p(
                "Copy it now: you won't see it again. It is part of the code below.",
                class_name="soft",
            ),
        ),
        rx.cond(
            State.account.may_manage,
            rx.fragment(
                rx.cond(
                    Form.done.title != "",
                    notice(tone=Form.done.tone, title=Form.done.title, text=Form.done.text),
                ),
                rx.el.div(
                    press_button(
                        "Create a key",
                        name=YES,
                        pending=Form.pending,
                        on_press=Form.create_first,
                        look="strong",
                    ),
                    rx.link("All keys", href=routes.KEYS, class_name="text-link"),
                    class_name="first-step-actions",
                ),
            ),
            rx.el.p(
                rx.cond(
                    State.managers != "",
                    f"Ask {State.managers} for an API key of this account.",
                    "Ask an owner or billing admin for an API key of this account.",
                ),
                class_name="soft",
            ),
        ),
    )


def _step(number: str, title: rx.Component | str, *body: rx.Component) -> rx.Component:
    return rx.el.li(
        rx.el.span(number, class_name="first-step-number", aria_hidden="true"),
        rx.el.div(
            rx.el.h3(title, class_name="first-step-title"), *body, class_name="first-step-body"
        ),
        class_name="first-step",
    )
