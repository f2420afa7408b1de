"""The spending limit and the automatic top-up, with their dialogs."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.controls import Handler, press_button
from billing_app.components.dialogs import choice_field, dialog, dialog_foot, field, problem_notice
from billing_app.components.numbers import badge, meter
from billing_app.states.actions import YES
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.spending_limits import LIMIT, TOP_UP
from billing_app.states.spending_limits import SpendingLimitState as Limits
from billing_app.states.views import OfferItem


def spending_limits() -> rx.Component:
    """What happens when executions run out, and how much it may cost."""
    return rx.fragment(
        rx.el.div(
            card(
                rx.el.ul(_limit(), rx.cond(State.top_up.is_sold, _top_up()), class_name="spending"),
                title="When executions run out",
                note="Nothing extra is charged beyond what you allow here",
                flush=True,
            ),
            id="spending",
        ),
        _dialogs(),
    )


def _limit() -> rx.Component:
    limit = State.limit
    return rx.el.li(
        rx.el.div(
            rx.el.h3("Spending limit", class_name="offer-name"),
            rx.el.p(limit.text, class_name="spending-text"),
            rx.cond(limit.used != "", rx.el.p(limit.used, class_name="offer-note number")),
            rx.cond(
                limit.has_meter,
                rx.el.div(
                    meter(
                        percent=limit.used_percent,
                        tone="",
                        label="Spending limit used",
                        value=limit.used,
                        thin=True,
                    ),
                    class_name="spending-meter",
                ),
            ),
        ),
        rx.cond(
            limit.may_change & State.account.may_manage,
            _open(
                "Set limit",
                Limits.ask(LIMIT, limit.value, limit.currency),
                "Set the spending limit",
            ),
        ),
        class_name="spending-item",
    )


def _confirmation(url: Any) -> rx.Component:
    return rx.el.p(
        "Your bank asks you to confirm the last purchase. Nothing was charged yet, and nothing"
        " else is bought until you do. ",
        rx.el.a("Confirm with your bank", href=url),
        class_name="spending-stopped",
    )


def _top_up() -> rx.Component:
    top_up = State.top_up
    return rx.el.li(
        rx.el.div(
            rx.el.h3(
                "Automatic top-up",
                rx.cond(top_up.is_on & (top_up.stopped == ""), badge("On", "good")),
                rx.cond(top_up.stopped != "", badge("Stopped", "bad")),
                class_name="offer-name spending-head",
            ),
            rx.el.p(top_up.text, class_name="spending-text"),
            rx.cond(top_up.spent != "", rx.el.p(top_up.spent, class_name="offer-note number")),
            rx.cond(top_up.stopped != "", rx.el.p(top_up.stopped, class_name="spending-stopped")),
            rx.cond(top_up.payment_url != "", _confirmation(top_up.payment_url)),
        ),
        rx.cond(
            State.account.may_manage & State.can_pay,
            rx.el.div(
                _open(
                    top_up.action,
                    Limits.ask(TOP_UP, top_up.cap, top_up.currency),
                    "Set the automatic top-up",
                ),
                rx.cond(
                    top_up.is_on,
                    press_button(
                        "Turn off",
                        name=TOP_UP,
                        pending=Limits.pending,
                        on_press=Limits.switch_off,
                        label="Turn off the automatic top-up",
                    ),
                ),
                class_name="controls",
            ),
        ),
        class_name="spending-item",
    )


def _open(text: rx.Var[str] | str, on_click: Handler, label: str) -> rx.Component:
    return rx.el.button(
        text,
        type="button",
        class_name="button",
        on_click=on_click,
        custom_attrs={"aria-label": label},
    )


def _dialogs() -> rx.Component:
    limit, top_up = State.limit, State.top_up
    return rx.fragment(
        dialog(
            rx.el.form(
                field(
                    f"Limit per period, in {limit.currency}",
                    "limit",
                    value=limit.value,
                    is_required=False,
                    hint="Leave empty to use the plan's own limit. Enter 0 to stop when the plan"
                    " is used up.",
                    input_mode="decimal",
                    on_change=Limits.type_amount,
                ),
                problem_notice(Limits.problem),
                _foot(),
                on_submit=Limits.set_limit,
                class_name="dialog-form",
            ),
            title="Spending limit",
            text="Limits what you pay for executions beyond your plan in each period. It applies"
            " right away; executions already running will finish.",
            is_open=Limits.is_open & (Limits.kind == LIMIT),
            on_close=Limits.close,
        ),
        dialog(
            rx.el.form(
                choice_field(
                    "Pack to buy",
                    "offer",
                    [rx.foreach(State.packs, _pack)],
                    value=top_up.offer_code,
                ),
                rx.el.div(
                    field(
                        "Buy when fewer are left than",
                        "threshold",
                        value=top_up.threshold,
                        input_mode="numeric",
                    ),
                    field(
                        f"Limit per month, in {top_up.currency}",
                        "cap",
                        value=top_up.cap,
                        input_mode="decimal",
                        on_change=Limits.type_amount,
                    ),
                    class_name="fields",
                ),
                problem_notice(Limits.problem),
                _foot(),
                on_submit=Limits.switch_on,
                class_name="dialog-form",
            ),
            title="Automatic top-up",
            text="The card on file is charged automatically, but never more than your limit per"
            " calendar month.",
            is_open=Limits.is_open & (Limits.kind == TOP_UP),
            on_close=Limits.close,
        ),
    )


def _pack(pack: ObjectVar[OfferItem]) -> rx.Component:
    return rx.el.option(f"{pack.name}: {pack.executions}, {pack.price}", value=pack.code)


def _foot() -> rx.Component:
    return dialog_foot(
        rx.el.button("Cancel", type="button", class_name="button", on_click=Limits.close),
        rx.el.button(
            rx.cond(
                Limits.pending == YES,
                rx.el.span(class_name="spinner", aria_hidden="true"),
            ),
            Limits.confirm_label,
            type="submit",
            class_name="button strong",
            disabled=Limits.pending != "",
        ),
    )
