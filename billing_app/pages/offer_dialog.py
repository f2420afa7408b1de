"""The dialog that confirms a purchase, change or cancellation."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.controls import press_button
from billing_app.components.dialogs import dialog, dialog_foot
from billing_app.components.feedback import notice
from billing_app.db.enums import When
from billing_app.pages.notices import OUT
from billing_app.states.actions import YES
from billing_app.states.offer_dialog import PREVIEW
from billing_app.states.offer_dialog import OfferDialogState as State
from billing_app.states.offer_dialogs import BUY, CANCEL, CHANGE, SUBSCRIBE
from billing_app.states.views import AmountLine, Choice


def offer_dialog() -> rx.Component:
    """Open while something is to be confirmed, or has failed."""
    has_choices = State.choices.length() > 0
    return dialog(
        rx.cond(State.dialog.kind == CHANGE, _change()),
        rx.cond(State.pending == PREVIEW, _loading()),
        rx.cond(State.choices.length() > 1, _choices(), _consequence()),
        rx.cond((State.lines.length() > 0) & (State.chosen.value == When.NOW.value), _lines()),
        rx.cond(has_choices & (State.problem.title != ""), _problem()),
        dialog_foot(_dismiss(), _checkout(), rx.cond(has_choices, _confirm(), _portal("strong"))),
        title=State.dialog.title,
        text=rx.cond(has_choices, State.dialog.text, State.problem.text),
        is_open=State.is_open,
        on_close=State.close,
    )


def _change() -> rx.Component:
    return rx.el.div(
        _side("Now", State.dialog.before, State.dialog.before.ends, "change-side"),
        rx.icon("arrow-right", aria_hidden="true", class_name="change-arrow"),
        _side("After", State.dialog.after, State.chosen.ends, "change-side after"),
        class_name="change",
    )


def _side(label: str, side: Any, ends: rx.Var[str], class_name: str) -> rx.Component:
    return rx.el.dl(
        rx.el.dt(label, class_name="change-label"),
        rx.el.dd(side.name, class_name="change-name"),
        rx.el.dd(side.price),
        rx.el.dd(side.executions),
        rx.cond(ends != "", rx.el.dd(ends, class_name="soft")),
        class_name=class_name,
    )


def _loading() -> rx.Component:
    return rx.el.p(
        rx.el.span(class_name="spinner", aria_hidden="true"),
        "Getting the exact amount from Stripe",
        class_name="dialog-loading",
        role="status",
    )


def _choices() -> rx.Component:
    return rx.el.fieldset(
        rx.el.legend("When", class_name="visually-hidden"),
        rx.foreach(State.choices, _choice),
        class_name="choices",
    )


def _choice(choice: ObjectVar[Choice]) -> rx.Component:
    is_chosen = State.chosen.value == choice.value
    return rx.el.label(
        rx.el.input(
            type="radio",
            name="when",
            value=choice.value,
            checked=is_chosen,
            on_change=State.choose_when(choice.value),
        ),
        rx.el.span(
            rx.el.span(choice.title, class_name="choice-title"),
            rx.el.span(choice.text, class_name="choice-text"),
        ),
        class_name=rx.cond(is_chosen, "choice chosen", "choice"),
        key=choice.value,
    )


def _consequence() -> rx.Component:
    return rx.cond(
        State.choices.length() == 1,
        rx.el.div(
            rx.cond(
                State.chosen.title != "", rx.el.p(State.chosen.title, class_name="choice-title")
            ),
            rx.el.p(State.chosen.text, class_name="choice-text"),
            class_name="choice alone",
        ),
    )


def _lines() -> rx.Component:
    return rx.el.dl(rx.foreach(State.lines, _line), class_name="amounts")


def _line(line: ObjectVar[AmountLine]) -> rx.Component:
    return rx.el.div(rx.el.dt(line.description), rx.el.dd(line.amount), class_name="amount")


def _problem() -> rx.Component:
    confirm = rx.cond(
        State.problem.url != "",
        rx.el.a(
            State.problem.url_label,
            href=State.problem.url,
            class_name="button small",
            custom_attrs=OUT,
        ),
    )
    return rx.el.div(
        notice(
            tone=State.problem.tone,
            title=State.problem.title,
            text=State.problem.text,
            actions=[confirm, _portal("small")],
        ),
        role="alert",
    )


def _portal(look: str) -> rx.Component:
    """Where a card is added or replaced."""
    return rx.cond(
        (State.problem.url_label != "") & (State.problem.url == ""),
        press_button(
            State.problem.url_label,
            name="portal",
            pending=State.pending,
            on_press=State.open_portal,
            look=look,
        ),
    )


def _dismiss() -> rx.Component:
    return rx.el.button(
        rx.cond(State.dialog.dismiss_label != "", State.dialog.dismiss_label, "Close"),
        type="button",
        class_name="button",
        disabled=State.pending == YES,
        on_click=State.close,
    )


def _checkout() -> rx.Component:
    return rx.cond(
        (State.dialog.kind == SUBSCRIBE) | (State.dialog.kind == BUY),
        press_button(
            "Pay another way",
            name=SUBSCRIBE,
            pending=State.pending,
            on_press=State.use_checkout,
        ),
    )


def _confirm() -> rx.Component:
    return press_button(
        State.chosen.confirm_label,
        name=YES,
        pending=State.pending,
        on_press=State.agree,
        look=rx.cond(State.dialog.kind == CANCEL, "danger", "strong"),
    )
