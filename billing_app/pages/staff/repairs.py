"""The dialogs of an account's page: what a repair asks, what it would change, and the yes."""

from typing import Any

import reflex as rx
from reflex.vars import StringVar

from billing_app.billing.staff.access.viewing import VIEW_MINUTES
from billing_app.components.controls import Handler
from billing_app.components.dialogs import (
    choice_field,
    dialog,
    dialog_foot,
    field,
    problem_in,
    reason_field,
)
from billing_app.db.enums import When
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.repairs import SIGN_OUT, VIEW

ONLY_WHY = ["pause", "resume", "block", "unblock"]
# A dialog that opens takes the focus by itself, after it noted who opened it.
IS_BACK = State.given.contains("reason")


def repair_dialogs() -> rx.Component:
    """One dialog for all repairs, one for viewing as customer, one for signing out."""
    return rx.fragment(_repair(), _view(), _sign_out())


def _repair() -> rx.Component:
    return dialog(
        rx.cond(State.consequence.length() > 0, _consequence(), _form()),
        title=State.title,
        words=rx.cond(State.target_name != "", State.target_name, State.explanation),
        is_open=State.is_repair,
        on_close=State.close,
    )


def _form() -> rx.Component:
    return rx.form(
        problem_in(State.said),
        rx.match(
            State.dialog,
            ("grant", _grant()),
            ("adjust", _adjust()),
            ("refund", _refund()),
            ("refund_range", _range()),
            ("extend_trial", _trial()),
            ("move", _move()),
            ("pause", _plan_of_target()),
            ("resume", _plan_of_target()),
            rx.fragment(),
        ),
        _reason(),
        _foot("Review", State.close, "Cancel"),
        on_submit=State.review,
        class_name="dialog-form",
    )


def _consequence() -> rx.Component:
    return rx.el.div(
        problem_in(State.said),
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


def _line(words: StringVar[str]) -> rx.Component:
    return rx.el.li(words)


def _grant() -> rx.Component:
    return rx.el.div(
        _number("Executions", auto_focus=IS_BACK),
        _last_day(hint="Empty: no end"),
        class_name="fields",
    )


def _adjust() -> rx.Component:
    return rx.fragment(
        choice_field(
            "Plan",
            "plan",
            [rx.foreach(State.plan_choices, lambda plan: rx.el.option(plan[1], value=plan[0]))],
            value=State.given["plan"],
            auto_focus=IS_BACK,
        ),
        rx.el.div(
            choice_field(
                "Direction",
                "direction",
                [
                    rx.el.option("Count fewer as used", value="fewer"),
                    rx.el.option("Count more as used", value="more"),
                ],
                value=State.given["direction"],
            ),
            _number("Executions"),
            class_name="fields",
        ),
    )


def _refund() -> rx.Component:
    return rx.fragment(
        field(
            "Event",
            "event",
            value=State.given["event"],
            hint="As the ledger names it: evt_…",
            auto_focus=IS_BACK,
        ),
        _number("Executions", hint="Empty: all that is not given back yet", is_required=False),
    )


def _range() -> rx.Component:
    return rx.fragment(
        choice_field(
            "Workflow",
            "workflow",
            [rx.foreach(State.workflows, _workflow_option)],
            value=State.given["workflow"],
            auto_focus=IS_BACK,
        ),
        rx.el.div(
            field("From (UTC)", "since", kind="datetime-local", value=State.given["since"]),
            field("Before (UTC)", "until", kind="datetime-local", value=State.given["until"]),
            class_name="fields",
        ),
    )


def _workflow_option(name: StringVar[str]) -> rx.Component:
    return rx.el.option(rx.cond(name == "", "Not named", name), value=name)


def _trial() -> rx.Component:
    more = _number("More executions", is_required=False, auto_focus=IS_BACK)
    return rx.cond(
        State.trial_has_end,
        rx.el.div(more, _last_day(), class_name="fields"),
        rx.fragment(more, rx.el.p("This trial has no end.", class_name="field-hint")),
    )


def _move() -> rx.Component:
    return rx.fragment(
        choice_field(
            "Offer",
            "offer",
            [rx.foreach(State.offers, lambda offer: rx.el.option(offer[1], value=offer[0]))],
            value=State.given["offer"],
            auto_focus=IS_BACK,
        ),
        choice_field(
            "When",
            "when",
            [
                rx.el.option("When the period ends", value=When.PERIOD_END.value),
                rx.el.option("Now: charges the card on file", value=When.NOW.value),
            ],
            value=State.given["when"],
        ),
    )


def _number(label: str, *, hint: str = "", **attributes: Any) -> rx.Component:
    return field(
        label,
        "executions",
        input_mode="numeric",
        hint=hint,
        value=State.given["executions"],
        **attributes,
    )


def _last_day(*, hint: str = "") -> rx.Component:
    return field(
        "Valid through",
        "ends_on",
        kind="date",
        hint=hint,
        value=State.given["ends_on"],
        is_required=False,
    )


def _reason() -> rx.Component:
    """The first field of what asks nothing else."""
    is_first = rx.Var.create(ONLY_WHY).contains(State.dialog)
    return reason_field(value=State.given["reason"], auto_focus=IS_BACK & is_first)


def _plan_of_target() -> rx.Component:
    return rx.el.input(type="hidden", name="plan", value=State.target, read_only=True)


def _view() -> rx.Component:
    return dialog(
        rx.form(
            problem_in(State.said),
            reason_field(),
            _foot("View as customer", State.close, "Cancel"),
            on_submit=State.view_as_customer,
            class_name="dialog-form",
        ),
        title=f"View as {State.head.name}",
        words=f"You see their pages as they do, read only, for {VIEW_MINUTES} minutes. They see in"
        " their history that it happened.",
        is_open=State.dialog == VIEW,
        on_close=State.close,
    )


def _sign_out() -> rx.Component:
    return dialog(
        rx.form(
            problem_in(State.said),
            reason_field("It stands in the audit log."),
            _foot("Sign out everywhere", State.close, "Cancel", is_danger=True),
            on_submit=State.sign_out,
            class_name="dialog-form",
        ),
        title=f"Sign {State.target_name} out everywhere",
        words="Every browser of theirs has to sign in again.",
        is_open=State.dialog == SIGN_OUT,
        on_close=State.close,
    )


def _foot(yes: str, on_no: Handler, no: str, *, is_danger: bool = False) -> rx.Component:
    return dialog_foot(
        rx.el.button(no, type="button", class_name="button", on_click=on_no),
        rx.el.button(
            yes, type="submit", class_name="button danger" if is_danger else "button strong"
        ),
    )
