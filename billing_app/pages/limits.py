"""When executions run out: the spending limit and the automatic top-up, with their dialogs."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.controls import press_button
from billing_app.components.dialogs import choice_field, dialog, dialog_foot, field
from billing_app.components.feedback import notice
from billing_app.components.numbers import badge, meter
from billing_app.states.actions import YES
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.limit import LIMIT, TOP_UP
from billing_app.states.limit import LimitState as Limits
from billing_app.states.views import OfferItem


def limits() -> rx.Component:
    """What goes on by itself after the last execution, and for how much at most."""
    return rx.fragment(
        card(
            rx.el.ul(_limit(), rx.cond(State.top_up.is_sold, _top_up()), class_name="orders"),
            title="When executions run out",
            note="Nothing is spent by itself beyond what you allow here",
            flush=True,
        ),
        _dialogs(),
    )


def _limit() -> rx.Component:
    limit = State.limit
    return rx.el.li(
        rx.el.div(
            rx.el.h3("Spending limit", class_name="offer-name"),
            rx.el.p(limit.words, class_name="order-words"),
            rx.cond(limit.used != "", rx.el.p(limit.used, class_name="offer-note number")),
            rx.cond(
                limit.has_meter,
                rx.el.div(
                    meter(
                        percent=limit.used_percent,
                        tone="",
                        label="Part of the spending limit that is used",
                        value=limit.used,
                        thin=True,
                    ),
                    class_name="order-meter",
                ),
            ),
        ),
        rx.cond(
            limit.may_change & State.account.may_manage,
            _open("Set limit", LIMIT, "Set the spending limit"),
        ),
        class_name="order",
    )


def _top_up() -> rx.Component:
    order = State.top_up
    return rx.el.li(
        rx.el.div(
            rx.el.h3(
                "Automatic top-up",
                rx.cond(order.is_on & (order.stopped == ""), badge("On", "good")),
                rx.cond(order.stopped != "", badge("Stopped", "bad")),
                class_name="offer-name order-head",
            ),
            rx.el.p(order.words, class_name="order-words"),
            rx.cond(order.spent != "", rx.el.p(order.spent, class_name="offer-note number")),
            rx.cond(order.stopped != "", rx.el.p(order.stopped, class_name="order-stopped")),
        ),
        rx.cond(
            State.account.may_manage & State.can_pay,
            rx.el.div(
                _open(order.action, TOP_UP, "Set the automatic top-up"),
                rx.cond(
                    order.is_on,
                    press_button(
                        "Switch off",
                        name=TOP_UP,
                        pending=Limits.pending,
                        on_press=Limits.switch_off,
                        label="Switch the automatic top-up off",
                    ),
                ),
                class_name="controls",
            ),
        ),
        class_name="order",
    )


def _open(words: rx.Var[str] | str, kind: str, label: str) -> rx.Component:
    return rx.el.button(
        words,
        type="button",
        class_name="button",
        on_click=Limits.ask(kind),
        custom_attrs={"aria-label": label},
    )


def _dialogs() -> rx.Component:
    limit, order = State.limit, State.top_up
    return rx.fragment(
        dialog(
            rx.el.form(
                field(
                    f"At most, in {limit.currency} a period",
                    "limit",
                    value=limit.value,
                    is_required=False,
                    hint="Empty: only the plan's own limit holds. 0: runs stop with the plan.",
                    input_mode="decimal",
                ),
                _problem(),
                _foot("Set limit"),
                on_submit=Limits.set_limit,
                class_name="dialog-form",
            ),
            title="Spending limit",
            words="For executions beyond your plan, in each period. It holds at once; runs that"
            " have begun are finished.",
            is_open=Limits.is_open & (Limits.kind == LIMIT),
            on_close=Limits.close,
        ),
        dialog(
            rx.el.form(
                choice_field(
                    "What is bought",
                    "offer",
                    [rx.foreach(State.packs, _pack)],
                    value=order.offer_code,
                ),
                rx.el.div(
                    field(
                        "When fewer are left than",
                        "threshold",
                        value=order.threshold,
                        input_mode="numeric",
                    ),
                    field(
                        f"At most, in {order.currency} a month",
                        "cap",
                        value=order.cap,
                        input_mode="decimal",
                    ),
                    class_name="fields",
                ),
                _problem(),
                _foot("Switch on"),
                on_submit=Limits.switch_on,
                class_name="dialog-form",
            ),
            title="Automatic top-up",
            words="The card on file is charged by itself, never for more than you allow here in a"
            " calendar month.",
            is_open=Limits.is_open & (Limits.kind == TOP_UP),
            on_close=Limits.close,
        ),
    )


def _pack(pack: ObjectVar[OfferItem]) -> rx.Component:
    return rx.el.option(f"{pack.name}: {pack.executions}, {pack.price}", value=pack.code)


def _problem() -> rx.Component:
    problem = Limits.problem
    return rx.cond(
        problem.title != "",
        rx.el.div(notice(tone="bad", title=problem.title, words=problem.words), role="alert"),
    )


def _foot(yes: str) -> rx.Component:
    return dialog_foot(
        rx.el.button("Cancel", type="button", class_name="button", on_click=Limits.close),
        rx.el.button(
            rx.cond(
                Limits.pending == YES,
                rx.el.span(class_name="spinner", aria_hidden="true"),
            ),
            yes,
            type="submit",
            class_name="button strong",
            disabled=Limits.pending != "",
        ),
    )
