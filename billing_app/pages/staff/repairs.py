"""The dialogs of an account's page: the form of a repair, its review, and its confirmation."""

from itertools import groupby
from typing import Any

import reflex as rx
from reflex.vars import ObjectVar, StringVar

from billing_app.billing.staff.access.viewing import VIEW_MINUTES
from billing_app.billing.staff.repairs.fields import Control, Input, required_of
from billing_app.billing.staff.repairs.registry import REPAIRS
from billing_app.billing.staff.repairs.repair import ACCOUNT, Repair
from billing_app.components.dialogs import (
    FieldKind,
    choice_field,
    dialog,
    dialog_foot,
    field,
    problem_in,
    reason_field,
)
from billing_app.pages.staff.action_dialog import SHOWN, action_dialog, form_foot
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.repair_form import DIRECTION
from billing_app.states.staff.repairs import END_PORTAL, SIGN_OUT, VIEW
from billing_app.states.views import FilterOption

NUMBERS = frozenset({Control.NUMBER, Control.CHANGE})
NARROW = NUMBERS | {Control.LAST_DAY, Control.MOMENT}
KINDS: dict[Control, FieldKind] = {Control.LAST_DAY: "date", Control.MOMENT: "datetime-local"}
# A dialog that opens takes the focus by itself, once it has noted what opened it.
IS_BACK = State.given.contains("reason")


def repair_dialogs() -> rx.Component:
    """One dialog for all repairs, one for viewing as customer, one for signing out."""
    return rx.fragment(_repair(), _view(), _sign_out(), _end_portal())


def _repair() -> rx.Component:
    return dialog(
        rx.cond(State.consequence.length() > 0, _consequence(), _form()),
        title=State.title,
        text=rx.cond(State.target_name != "", State.target_name, State.explanation),
        is_open=State.is_repair,
        on_close=State.close,
    )


def _form() -> rx.Component:
    return rx.form(
        problem_in(State.notice),
        rx.match(State.dialog, *[(each.name, _fields(each)) for each in REPAIRS], rx.fragment()),
        reason_field(value=State.given["reason"], auto_focus=IS_BACK & _needs_only_reason()),
        form_foot("Review", State.close),
        on_submit=State.review,
        class_name="dialog-form",
    )


def _needs_only_reason() -> rx.Var[bool]:
    names = [repair.name for repair in REPAIRS if not repair.inputs]
    return rx.Var.create(names).contains(State.dialog)


def _fields(repair: Repair[Any]) -> rx.Component:
    """Consecutive numbers, days and moments share a row."""
    if repair.target is not ACCOUNT and repair.target_input is None:
        return rx.el.input(
            type="hidden", name=repair.target.noun, value=State.target, read_only=True
        )
    required = required_of(repair.form) | {repair.target.noun}
    rows, first = list[rx.Component](), next(iter(repair.inputs), "")
    for is_narrow, group in groupby(repair.inputs.items(), lambda each: each[1].control in NARROW):
        controls = [
            control
            for name, each in group
            for control in _controls(
                name, each, is_required=name in required, is_first=name == first
            )
        ]
        rows += (
            [rx.el.div(*controls, class_name="fields")] if is_narrow and controls[1:] else controls
        )
    return rx.fragment(*rows)


def _controls(name: str, each: Input, *, is_required: bool, is_first: bool) -> list[rx.Component]:
    focus = {"auto_focus": IS_BACK} if is_first else {}
    match each.control:
        case Control.CHANGE:
            return [
                _choice("Direction", DIRECTION, each, **focus),
                _field(name, each, is_required=is_required),
            ]
        case Control.CHOICE:
            control = _choice(each.label, name, each, **focus)
        case _:
            control = _field(name, each, is_required=is_required, **focus)
    if not each.absent:
        return [control]
    absent = rx.el.p(each.absent, class_name="field-hint")
    return [rx.cond(State.absent.contains(name), absent, control)]


def _field(name: str, each: Input, **attributes: Any) -> rx.Component:
    numeric = {"input_mode": "numeric"} if each.control in NUMBERS else {}
    return field(
        each.label,
        name,
        kind=KINDS.get(each.control, "text"),
        hint=each.hint,
        value=State.given[name],
        **numeric,
        **attributes,
    )


def _choice(label: str, name: str, each: Input, **attributes: Any) -> rx.Component:
    lists = {
        "plans": State.plan_choices,
        "offers": State.offers,
        "subscriptions": State.subscription_choices,
        "invoices": State.invoice_choices,
    }
    options: list[rx.Component]
    if each.choices:
        options = [rx.el.option(text, value=value) for value, text in each.choices]
    elif each.source in lists:
        options = [rx.foreach(lists[each.source], lambda row: rx.el.option(row[1], value=row[0]))]
    else:
        options = [rx.foreach(State.workflows, _workflow_option)]
    return choice_field(label, name, options, value=State.given[name], **attributes)


def _workflow_option(option: ObjectVar[FilterOption]) -> rx.Component:
    return rx.el.option(option.label, value=option.value)


def _consequence() -> rx.Component:
    return rx.el.div(
        problem_in(State.notice),
        rx.el.ul(
            rx.foreach(State.consequence, _line),
            class_name="consequence",
            id="consequence",
        ),
        dialog_foot(
            rx.el.button("Back", type="button", class_name="button", on_click=State.back),
            rx.el.button(
                State.title,
                type="button",
                auto_focus=True,
                class_name=rx.cond(State.is_harsh, "button danger", "button strong"),
                on_click=State.carry_out,
            ),
        ),
        class_name="dialog-form",
    )


def _line(text: StringVar[str]) -> rx.Component:
    return rx.el.li(text)


def _view() -> rx.Component:
    return action_dialog(
        State,
        VIEW,
        title=f"View as {State.head.name}",
        text=f"Shows their pages as they see them, read-only, for {VIEW_MINUTES} minutes. Their"
        " support activity will show it.",
        confirm="View as customer",
        hint=SHOWN,
        on_submit=State.view_as_customer,
    )


def _sign_out() -> rx.Component:
    return action_dialog(
        State,
        SIGN_OUT,
        title=f"Sign {State.target_name} out everywhere",
        text="Ends all their sessions. They must sign in again.",
        confirm="Sign out everywhere",
        on_submit=State.sign_out,
        is_danger=True,
    )


def _end_portal() -> rx.Component:
    return action_dialog(
        State,
        END_PORTAL,
        title=f"End the portal sessions of {State.target_name}",
        text="Ends all sessions that portal links opened for this person on this account. A new"
        " link opens the pages again.",
        confirm="End sessions",
        on_submit=State.sign_out,
        is_danger=True,
    )
