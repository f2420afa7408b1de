"""The results of confirmed dialogs, and the buttons of a warning that executions run out."""

from typing import Any, Final

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.controls import native_link, press_button
from billing_app.components.feedback import dismiss_button, notice
from billing_app.states.balance import NEXT_PERIOD
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.session import SessionState
from billing_app.states.spending_limit_views import RAISE
from billing_app.states.views import Message

# Stripe's pages cannot open inside a frame.
OUT: Final[dict[str, Any]] = {
    "target": rx.cond(SessionState.is_embedded, "_blank", "_self"),
    "rel": "noopener",
}


def message(told: Any, *actions: rx.Component) -> rx.Component:
    """A notice; nothing while the message has no title."""
    return rx.cond(
        told.title != "",
        notice(tone=told.tone, title=told.title, text=told.text, actions=list(actions)),
    )


def result_of(state: Any, *, is_valid: rx.Var[bool] | bool = True) -> rx.Component:
    """What came of a confirmed dialog, on the account that it was confirmed for."""
    is_shown = (state.of_account == SessionState.account.account_id) & is_valid
    told = state.done
    link = native_link(told.url_label, href=told.url, class_name="button strong", custom_attrs=OUT)
    actions = (rx.cond(told.url != "", link), dismiss_button(state.dismiss_done))
    return rx.cond(is_shown, message(told, *actions))


def nothing_follows() -> rx.Component:
    """Says so, with the way to the plans."""
    return rx.el.p(
        "Nothing follows: ",
        rx.link("choose a plan", href=f"{routes.OVERVIEW}#plans", class_name="text-link"),
        class_name="balance-next",
    )


def debit_notices(debits: Any) -> rx.Component:
    """Payments that banks are asked for, and their decisions."""
    return rx.foreach(debits, _debit)


def _debit(told: ObjectVar[Message]) -> rx.Component:
    pay = native_link(told.url_label, href=told.url, class_name="button strong", custom_attrs=OUT)
    may_pay = SessionState.account.may_manage & (told.url != "")
    return message(told, rx.cond(may_pay, pay))


def warning_actions(
    action: rx.Var[str], label: rx.Var[str], *, raise_limit: rx.Component, see_plans: rx.Component
) -> list[rx.Component]:
    """Only who may pay gets buttons that spend money. `raise_limit` opens the spending limit."""
    may_manage = SessionState.account.may_manage
    start = press_button(
        label,
        name=NEXT_PERIOD,
        pending=OfferDialogState.pending,
        on_press=OfferDialogState.ask_next_period,
        look="strong",
    )
    return [
        rx.cond(may_manage & (action == NEXT_PERIOD), start),
        rx.cond(may_manage & (action == RAISE), raise_limit),
        see_plans,
    ]
