"""Details: who the viewer is, and what the account's invoices say."""

from typing import Any

import reflex as rx

from billing_app import routes
from billing_app.components.cards import card, live_indicator, page_head
from billing_app.components.controls import press_button
from billing_app.components.dialogs import dialog, dialog_foot, field, problem_notice
from billing_app.components.numbers import Text
from billing_app.pages.frame import frame
from billing_app.pages.notices import result_of
from billing_app.states.actions import YES
from billing_app.states.details import DetailsState as State
from billing_app.states.details_form import (
    BILLING_EMAIL,
    BILLING_NAME,
    CHECK_EMAIL,
    EMAIL,
    NAME,
    PURCHASE_ORDER,
    SEND_AGAIN,
    WITHDRAW,
)
from billing_app.states.details_form import DetailsFormState as Form


def details() -> rx.Component:
    """Composes the page."""
    return frame(
        rx.fragment(
            page_head("Details", State.account.name, live_indicator(is_broken=State.is_broken)),
            result_of(Form, is_valid=_is_valid()),
            rx.cond(State.person.is_shown, _person()),
            _billing(),
            _dialogs(),
        ),
        path=routes.DETAILS,
        state=State,
    )


def _is_valid() -> rx.Var[bool]:
    """ "Check your email" goes once nothing waits any more."""
    is_waiting = (State.person.pending != "") | (State.billing.pending != "")
    return is_waiting | (Form.done.title != CHECK_EMAIL)


def _person() -> rx.Component:
    person = State.person
    return card(
        rx.el.ul(
            _detail("Name", person.name, _change("Change name", NAME)),
            _detail(
                "Email",
                person.email,
                _change("Change email", EMAIL),
                pending=_pending(person.pending, EMAIL, may_manage=True),
            ),
            class_name="spending",
        ),
        title="You",
        note="You sign in with this email address",
        flush=True,
    )


def _billing() -> rx.Component:
    billing, may_manage = State.billing, State.account.may_manage
    return card(
        rx.el.ul(
            _detail(
                "Billing name",
                billing.name,
                rx.cond(may_manage, _change("Change billing name", BILLING_NAME)),
                note=billing.name_note,
            ),
            _detail(
                "Billing email",
                billing.email,
                rx.cond(may_manage, _change("Change billing email", BILLING_EMAIL)),
                note=billing.email_note,
                pending=_pending(billing.pending, BILLING_EMAIL, may_manage=may_manage),
            ),
            _detail(
                "Purchase order",
                billing.purchase_order,
                rx.cond(may_manage, _change("Change purchase order", PURCHASE_ORDER)),
            ),
            class_name="spending",
        ),
        rx.cond(
            ~may_manage & (State.managers != ""),
            rx.el.p(f"{State.managers} can change these.", class_name="card-foot"),
        ),
        title="Billing",
        note="On invoices and receipts",
        flush=True,
    )


def _detail(
    name: str,
    value: rx.Var[str],
    action: rx.Component,
    *,
    note: rx.Var[str] | None = None,
    pending: rx.Component | None = None,
) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.h3(name, class_name="spending-text"),
            rx.el.p(value, class_name="detail-value"),
            rx.fragment() if note is None else rx.cond(note != "", _note(note)),
            rx.fragment() if pending is None else pending,
        ),
        action,
        class_name="spending-item detail-item",
    )


def _note(text: rx.Var[str]) -> rx.Component:
    return rx.el.p(text, class_name="spending-text")


def _change(label: str, kind: str) -> rx.Component:
    return rx.el.button(
        "Change",
        type="button",
        class_name="button",
        on_click=Form.ask(kind),
        custom_attrs={"aria-label": label},
    )


def _pending(text: rx.Var[str], kind: str, *, may_manage: rx.Var[bool] | bool) -> rx.Component:
    """The address that waits for its confirmation."""
    buttons = rx.el.div(
        _button("Send again", f"{SEND_AGAIN}{kind}", Form.send_again(kind)),
        _button("Withdraw", f"{WITHDRAW}{kind}", Form.withdraw(kind)),
        class_name="controls",
    )
    return rx.cond(
        text != "",
        rx.el.div(
            rx.el.p(text),
            rx.cond(may_manage, buttons),
            class_name="detail-pending",
            role="status",
        ),
    )


def _button(text: str, name: str, on_press: Any) -> rx.Component:
    return press_button(text, name=name, pending=Form.pending, on_press=on_press, look="small")


def _dialogs() -> rx.Component:
    person, billing = State.person, State.billing
    return rx.fragment(
        _dialog(
            NAME,
            field("Name", "name", value=person.typed_name, auto_complete="name", max_length=255),
            title="Change your name",
            text="People in your organizations see this name.",
            confirm="Change name",
            on_submit=Form.change_name,
        ),
        _dialog(
            EMAIL,
            field("New email", "email", kind="email", auto_complete="email", max_length=320),
            field(
                "Current password",
                "password",
                kind="password",
                auto_complete="current-password",
            ),
            title="Change your email",
            text="We email a link to the new address. Your email changes when you confirm it; other"
            " browsers are then signed out.",
            confirm="Email me a link",
            on_submit=Form.change_email,
        ),
        _dialog(
            BILLING_NAME,
            field(
                "Billing name",
                "name",
                value=billing.typed_name,
                hint=f"Leave empty to use {billing.usual_name}.",
                is_required=False,
                max_length=255,
            ),
            title="Change the billing name",
            text="It appears on new invoices and receipts.",
            confirm="Change billing name",
            on_submit=Form.change_billing_name,
        ),
        _dialog(
            BILLING_EMAIL,
            field(
                "Billing email",
                "email",
                kind="email",
                value=billing.typed_email,
                hint=f"Leave empty to use {billing.usual_email}.",
                is_required=False,
                max_length=320,
            ),
            title="Change the billing email",
            text="We email a link to the new address. Invoices go there once it is confirmed.",
            confirm="Change billing email",
            on_submit=Form.change_billing_email,
        ),
        _dialog(
            PURCHASE_ORDER,
            field(
                "Purchase-order number",
                "purchase_order",
                value=billing.typed_purchase_order,
                hint="Leave empty for none.",
                is_required=False,
                max_length=140,
            ),
            title="Change the purchase order",
            text="It appears on new invoices.",
            confirm="Change purchase order",
            on_submit=Form.change_purchase_order,
        ),
    )


def _dialog(
    kind: str, *fields: rx.Component, title: str, text: str, confirm: str, on_submit: Any
) -> rx.Component:
    return dialog(
        rx.el.form(
            *fields,
            problem_notice(Form.problem),
            _foot(confirm),
            on_submit=on_submit,
            class_name="dialog-form",
        ),
        title=title,
        text=text,
        is_open=Form.is_open & (Form.kind == kind),
        on_close=Form.close,
    )


def _foot(confirm: Text) -> rx.Component:
    return dialog_foot(
        rx.el.button("Cancel", type="button", class_name="button", on_click=Form.close),
        rx.el.button(
            rx.cond(Form.pending == YES, rx.el.span(class_name="spinner", aria_hidden="true")),
            confirm,
            type="submit",
            class_name="button strong",
            disabled=Form.pending != "",
        ),
    )
