"""The dialog in which a viewer agrees to something, with what it means beside each way."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.controls import press_button
from billing_app.components.dialogs import dialog, dialog_foot
from billing_app.components.feedback import notice
from billing_app.db.enums import When
from billing_app.states.actions import YES
from billing_app.states.offer_dialog import PREVIEW
from billing_app.states.offer_dialog import OfferDialogState as State
from billing_app.states.offer_dialogs import CANCEL, CHANGE, SUBSCRIBE
from billing_app.states.views import AmountLine, Choice


def offer_dialog() -> rx.Component:
    """Open while something is to be agreed to, or has gone wrong."""
    has_choices = State.choices.length() > 0
    return dialog(
        rx.cond(State.deal.kind == CHANGE, _sides()),
        rx.cond(State.pending == PREVIEW, _asking()),
        rx.cond(State.choices.length() > 1, _choices(), _consequence()),
        rx.cond((State.lines.length() > 0) & (State.chosen.value == When.NOW.value), _lines()),
        rx.cond(has_choices & (State.problem.title != ""), _problem()),
        dialog_foot(_no(), _another_way(), rx.cond(has_choices, _yes())),
        title=State.deal.title,
        words=rx.cond(has_choices, State.deal.words, State.problem.words),
        is_open=State.is_open,
        on_close=State.close,
    )


def _sides() -> rx.Component:
    return rx.el.div(
        _side("Now", State.deal.before, State.deal.before.ends, "offered"),
        rx.icon("arrow-right", aria_hidden="true", class_name="sides-arrow"),
        _side("After", State.deal.after, State.chosen.ends, "offered after"),
        class_name="sides",
    )


def _side(label: str, side: Any, ends: rx.Var[str], class_name: str) -> rx.Component:
    return rx.el.dl(
        rx.el.dt(label, class_name="offered-label"),
        rx.el.dd(side.name, class_name="offered-name"),
        rx.el.dd(side.price),
        rx.el.dd(side.executions),
        rx.cond(ends != "", rx.el.dd(ends, class_name="soft")),
        class_name=class_name,
    )


def _asking() -> rx.Component:
    return rx.el.p(
        rx.el.span(class_name="spinner", aria_hidden="true"),
        "Asking Stripe for the exact amount",
        class_name="dialog-asking",
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
            rx.el.span(choice.words, class_name="choice-words"),
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
            rx.el.p(State.chosen.words, class_name="choice-words"),
            class_name="choice alone",
        ),
    )


def _lines() -> rx.Component:
    return rx.el.dl(rx.foreach(State.lines, _line), class_name="amounts")


def _line(line: ObjectVar[AmountLine]) -> rx.Component:
    return rx.el.div(rx.el.dt(line.words), rx.el.dd(line.amount), class_name="amount")


def _problem() -> rx.Component:
    portal = rx.cond(
        State.problem.url_words != "",
        press_button(
            State.problem.url_words,
            name="portal",
            pending=State.pending,
            on_press=State.open_portal,
            look="small",
        ),
    )
    return rx.el.div(
        notice(tone="bad", title=State.problem.title, words=State.problem.words, actions=[portal]),
        role="alert",
    )


def _no() -> rx.Component:
    return rx.el.button(
        rx.cond(State.deal.no != "", State.deal.no, "Close"),
        type="button",
        class_name="button",
        disabled=State.pending == YES,
        on_click=State.close,
    )


def _another_way() -> rx.Component:
    return rx.cond(
        State.deal.kind == SUBSCRIBE,
        press_button(
            "Pay another way",
            name=SUBSCRIBE,
            pending=State.pending,
            on_press=State.use_checkout,
        ),
    )


def _yes() -> rx.Component:
    return press_button(
        State.chosen.yes,
        name=YES,
        pending=State.pending,
        on_press=State.agree,
        look=rx.cond(State.deal.kind == CANCEL, "danger", "strong"),
    )
