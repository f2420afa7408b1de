"""The dialogs of webhook endpoints: add, edit, rotate, delete, a new secret, a delivery."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.webhooks_out.endpoints import CHOICES, MAX_DESCRIPTION
from billing_app.components.dialogs import cancel_button, dialog, dialog_foot, field, problem_notice
from billing_app.components.numbers import badge, detail_list
from billing_app.states.webhook_views import AttemptItem
from billing_app.states.webhooks import ADD, DELETE, DELIVERY, EDIT, ROTATE, SECRET, TYPE_FIELD


def webhook_dialogs(state: Any, *, may_manage: rx.Var[bool]) -> rx.Component:
    return rx.fragment(
        _form(state, ADD, title="Add an endpoint", confirm="Add endpoint"),
        _form(state, EDIT, title="Edit endpoint", confirm="Save"),
        _confirmation(
            state,
            ROTATE,
            title="Rotate the secret?",
            text="You get a new secret. Until you use it, the old one keeps working for 24 hours:"
            " each webhook has a signature of both.",
            confirm="Rotate secret",
            on_confirm=state.rotate,
        ),
        _confirmation(
            state,
            DELETE,
            title="Delete this endpoint?",
            text=f"Nothing more is sent to {state.edited.url}, and its delivery log is deleted.",
            confirm="Delete endpoint",
            on_confirm=state.delete,
            is_danger=True,
        ),
        _secret(state),
        _delivery(state, may_manage),
    )


def _form(state: Any, name: str, *, title: str, confirm: str) -> rx.Component:
    edited = state.edited
    return dialog(
        rx.el.form(
            field(
                "URL",
                "url",
                value=edited.url,
                hint="https://, reachable from the internet",
                max_length=2000,
                placeholder="https://api.example.com/billing-events",
                spell_check=False,
            ),
            field(
                "Description",
                "description",
                value=edited.description,
                is_required=False,
                max_length=MAX_DESCRIPTION,
            ),
            rx.el.fieldset(
                rx.el.legend("Events", class_name="field-label"),
                rx.el.p(
                    "Choose none to get every event, also types that are added later.",
                    class_name="field-hint",
                ),
                rx.el.div(*[_type(edited, each.value) for each in CHOICES], class_name="checks"),
                class_name="check-group",
            ),
            problem_notice(state.problem),
            _foot(state, confirm),
            on_submit=state.save,
            class_name="dialog-form",
        ),
        title=title,
        text="We POST a signed JSON body to this URL.",
        is_open=state.dialog == name,
        on_close=state.close,
    )


def _type(edited: Any, value: str) -> rx.Component:
    return rx.el.label(
        rx.el.input(
            type="checkbox",
            name=f"{TYPE_FIELD}{value}",
            default_checked=edited.types.contains(value),
        ),
        rx.el.code(value),
        class_name="check",
    )


def _confirmation(
    state: Any,
    name: str,
    *,
    title: str,
    text: rx.Var[str] | str,
    confirm: str,
    on_confirm: Any,
    is_danger: bool = False,
) -> rx.Component:
    look = "button danger" if is_danger else "button strong"
    return dialog(
        problem_notice(state.problem),
        dialog_foot(
            cancel_button(state.close),
            rx.el.button(confirm, type="button", class_name=look, on_click=on_confirm),
        ),
        title=title,
        text=text,
        is_open=state.dialog == name,
        on_close=state.close,
    )


def _secret(state: Any) -> rx.Component:
    return dialog(
        rx.el.div(
            rx.el.code(state.secret, class_name="secret wrapped", id="secret"),
            rx.el.button(
                rx.cond(
                    state.is_copied,
                    rx.icon("check", aria_hidden="true"),
                    rx.icon("copy", aria_hidden="true"),
                ),
                rx.cond(state.is_copied, "Copied", "Copy"),
                type="button",
                class_name="button",
                on_click=[rx.set_clipboard(state.secret), state.note_copied],
                custom_attrs={"aria-live": "polite"},
            ),
            class_name="secret-row",
        ),
        dialog_foot(
            rx.el.button("Done", type="button", class_name="button strong", on_click=state.close)
        ),
        title="Signing secret",
        text="Keep it where your service verifies webhooks. It is shown only once.",
        is_open=state.dialog == SECRET,
        on_close=state.close,
    )


def _delivery(state: Any, may_manage: rx.Var[bool]) -> rx.Component:
    detail = state.delivery
    shown = detail.delivery
    return dialog(
        rx.el.div(
            rx.el.div(badge(shown.status, shown.tone), rx.el.span(detail.next_attempt)),
            detail_list(("ID", detail.message_id), ("Created (UTC)", shown.at)),
            rx.el.section(
                rx.el.h3("Body", class_name="card-title"),
                rx.el.pre(
                    detail.body,
                    class_name="source",
                    tab_index=0,
                    custom_attrs={"aria-label": "Body"},
                ),
            ),
            rx.el.section(
                rx.el.h3("Attempts", class_name="card-title"),
                rx.cond(
                    detail.attempts.length() > 0,
                    rx.el.ol(rx.foreach(detail.attempts, _attempt), class_name="attempts"),
                    rx.el.p("None yet", class_name="soft"),
                ),
            ),
            class_name="dialog-form",
        ),
        problem_notice(state.problem),
        dialog_foot(
            _button("Close", state.close),
            rx.cond(
                may_manage,
                rx.el.button(
                    rx.icon("redo-2", aria_hidden="true"),
                    "Redeliver",
                    type="button",
                    class_name="button strong",
                    on_click=state.redeliver,
                ),
            ),
        ),
        title=shown.type,
        text=f"To {state.chosen.url}",
        is_open=state.dialog == DELIVERY,
        on_close=state.close,
    )


def _attempt(item: ObjectVar[AttemptItem]) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            badge(item.result, item.tone),
            rx.el.span(f"{item.at} UTC · {item.duration}", class_name="soft number"),
            class_name="attempt-head",
        ),
        rx.cond(
            item.answer != "",
            rx.el.pre(
                item.answer,
                class_name="source",
                tab_index=0,
                custom_attrs={"aria-label": f"Response to attempt {item.number}"},
            ),
        ),
        key=item.number,
    )


def _foot(state: Any, confirm: str) -> rx.Component:
    return dialog_foot(
        cancel_button(state.close),
        rx.el.button(confirm, type="submit", class_name="button strong"),
    )


def _button(text: str, on_click: Any) -> rx.Component:
    return rx.el.button(text, type="button", class_name="button", on_click=on_click)
