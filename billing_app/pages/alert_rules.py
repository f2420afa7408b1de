"""Rules of alerts and their dialog, for a state that inherits from RulesPage."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.dialogs import dialog, dialog_foot, field
from billing_app.components.feedback import dismiss_button, empty, notice
from billing_app.components.numbers import Text
from billing_app.states.alert_rules import KIND_CHOICES
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
    state: Any, *, may_change: rx.Var[bool], note: Text, actions: list[rx.Component]
) -> rx.Component:
    """`actions`: beside the button that adds a rule."""
    return rx.fragment(
        card(
            rx.cond(
                state.rules.length() > 0,
                rx.el.ul(
                    rx.foreach(state.rules, lambda item: _rule(state, item, may_change)),
                    class_name="spending",
                ),
                empty(
                    icon="bell-off", title="No alerts", text="Nobody is told before things happen."
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
                        on_click=state.ask_rule(""),
                    ),
                ),
            ],
            flush=True,
        ),
        _dialog(state),
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
                _button("Edit", item, state.ask_rule(item.key)),
                _button("Switch off", item, state.remove_rule(item.key)),
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


def _dialog(state: Any) -> rx.Component:
    form, problem = state.form, state.rule_problem
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
            rx.cond(
                problem.title != "",
                rx.el.div(notice(tone="bad", title=problem.title, text=problem.text), role="alert"),
            ),
            dialog_foot(
                rx.el.button(
                    "Cancel", type="button", class_name="button", on_click=state.close_rule
                ),
                rx.el.button("Save", type="submit", class_name="button strong"),
            ),
            on_submit=state.save_rule,
            class_name="dialog-form",
        ),
        title=rx.cond(is_new, "Add an alert", "Edit alert"),
        text="It is raised once each time its condition begins to hold.",
        is_open=state.is_asking,
        on_close=state.close_rule,
    )
