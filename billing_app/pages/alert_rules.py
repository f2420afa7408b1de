"""Rules of alerts and their dialog, for a state that inherits from RulesPage."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.dialogs import (
    cancel_button,
    dialog,
    dialog_foot,
    field,
    problem_notice,
    reason_field,
)
from billing_app.components.feedback import dismiss_button, empty, notice
from billing_app.components.numbers import Text
from billing_app.states.alert_rules import DEFAULTS, KIND_CHOICES, REMOVE, RULE
from billing_app.states.alert_views import RuleItem


def rules_result(state: Any) -> rx.Component:
    """What came of the last change."""
    done = state.rule_done
    return rx.cond(
        done.title != "",
        notice(
            tone=done.tone,
            title=done.title,
            text=done.text,
            actions=[dismiss_button(state.hide_rule_result)],
        ),
    )


def rules_card(
    state: Any,
    *,
    may_change: rx.Var[bool],
    note: Text,
    actions: list[rx.Component],
    has_reason: bool = False,
) -> rx.Component:
    """`actions`: beside the button that adds a rule. `has_reason`: changes need one."""
    return rx.fragment(
        card(
            rx.cond(
                state.rules.length() > 0,
                rx.el.ul(
                    rx.foreach(state.rules, lambda item: _rule(state, item, may_change)),
                    class_name="spending",
                ),
                empty(
                    icon="bell-off",
                    title="No alerts are set up",
                    text="Add one to hear in time when executions run low.",
                ),
            ),
            title="What to alert about",
            note=note,
            actions=[
                *actions,
                rx.cond(
                    may_change,
                    rx.el.button(
                        rx.icon("plus", aria_hidden="true"),
                        "Add alert",
                        type="button",
                        class_name="button",
                        on_click=state.ask_rule(RULE, ""),
                    ),
                ),
            ],
            flush=True,
        ),
        _dialog(state, has_reason=has_reason),
        _confirmation(
            state,
            REMOVE,
            title="Switch off this alert?",
            text="It is not raised any more. Other alerts stay on.",
            confirm="Switch off",
            on_submit=state.remove_rule,
            has_reason=has_reason,
        ),
        _confirmation(
            state,
            DEFAULTS,
            title="Use the defaults?",
            text="The alerts chosen here are dropped, and the defaults apply from now on.",
            confirm="Use the defaults",
            on_submit=state.use_defaults,
            has_reason=has_reason,
        ),
    )


def _rule(state: Any, item: ObjectVar[RuleItem], may_change: rx.Var[bool]) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.h3(item.name, class_name="offer-name"),
            rx.el.p(item.when, class_name="spending-text"),
        ),
        rx.cond(
            may_change,
            rx.el.div(
                _button("Edit", item, state.ask_rule(RULE, item.key)),
                _button("Switch off", item, state.ask_rule(REMOVE, item.key)),
                class_name="controls",
            ),
        ),
        key=item.key,
        class_name="spending-item rule",
    )


def _button(text: str, item: ObjectVar[RuleItem], on_click: Any) -> rx.Component:
    return rx.el.button(
        text,
        type="button",
        class_name="button small",
        on_click=on_click,
        custom_attrs={"aria-label": f"{text}: {item.when}"},
    )


def _dialog(state: Any, *, has_reason: bool) -> rx.Component:
    form = state.form
    is_new = form.key == ""
    return dialog(
        rx.el.form(
            rx.el.div(
                rx.el.label("Alert about", html_for="field-kind", class_name="field-label"),
                rx.el.select(
                    *[rx.el.option(name, value=kind) for kind, name in KIND_CHOICES],
                    id="field-kind",
                    name="kind",
                    value=form.kind,
                    on_change=state.choose_kind,
                    disabled=~is_new,
                    class_name="select",
                ),
                class_name="field",
            ),
            rx.cond(
                form.label != "",
                rx.el.div(
                    rx.fragment(
                        field(
                            form.label,
                            "value",
                            value=form.value,
                            input_mode="decimal",
                            max_length=20,
                        ),
                        key=form.kind,
                    ),
                    rx.cond(
                        form.has_currency,
                        field("Currency", "currency", value=form.currency, max_length=3),
                    ),
                    class_name="fields",
                ),
                rx.el.p("There is nothing more to choose.", class_name="field-hint"),
            ),
            reason_field("Recorded in the audit log.") if has_reason else rx.fragment(),
            _foot(state, "Save"),
            on_submit=state.save_rule,
            class_name="dialog-form",
        ),
        title=rx.cond(is_new, "Add an alert", "Edit alert"),
        text="It is raised once each time its condition begins to hold.",
        is_open=state.dialog == RULE,
        on_close=state.close_rule,
    )


def _confirmation(
    state: Any,
    name: str,
    *,
    title: str,
    text: str,
    confirm: str,
    on_submit: Any,
    has_reason: bool,
) -> rx.Component:
    return dialog(
        rx.el.form(
            reason_field("Recorded in the audit log.") if has_reason else rx.fragment(),
            _foot(state, confirm),
            on_submit=on_submit,
            class_name="dialog-form",
        ),
        title=title,
        text=text,
        is_open=state.dialog == name,
        on_close=state.close_rule,
    )


def _foot(state: Any, confirm: str) -> rx.Component:
    """What was wrong with the last try, and the buttons."""
    return rx.fragment(
        problem_notice(state.rule_problem),
        dialog_foot(
            cancel_button(state.close_rule),
            rx.el.button(confirm, type="submit", class_name="button strong"),
        ),
    )
