"""API keys: those of the account, and the IDs that requests name."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.accounts.own_keys import MAX_WORKFLOW
from billing_app.components.cards import card, live_indicator, page_head
from billing_app.components.controls import native_link, pager
from billing_app.components.dialogs import (
    cancel_button,
    confirmation_dialog,
    dialog,
    dialog_foot,
    field,
    problem_notice,
)
from billing_app.components.feedback import empty
from billing_app.components.numbers import badge
from billing_app.pages.copying import code_block, copied_line
from billing_app.pages.frame import frame
from billing_app.pages.notices import result_of
from billing_app.states.actions import YES
from billing_app.states.key_form import ADD, REVOKE, ROTATE, SCOPE_FIELD, SECRET
from billing_app.states.key_form import KeyFormState as Form
from billing_app.states.keys import KeyItem, ScopeChoice
from billing_app.states.keys import KeysState as State

MAX_NAME = 255


def keys() -> rx.Component:
    """Composes the page."""
    return frame(
        rx.fragment(
            page_head(
                "API keys",
                State.account.name,
                live_indicator(is_broken=State.is_broken),
                rx.cond(State.account.may_manage & (State.keys.length() > 0), _add_button()),
            ),
            result_of(Form),
            rx.cond(State.is_refused, _refused(), _keys()),
            _ids(),
            _dialogs(),
        ),
        path=routes.KEYS,
        state=State,
    )


def _add_button() -> rx.Component:
    return rx.el.button(
        rx.icon("plus", aria_hidden="true"),
        "Create a key",
        type="button",
        class_name="button strong",
        on_click=Form.ask(ADD, 0),
    )


def _refused() -> rx.Component:
    return rx.el.div(
        empty(
            icon="key-round",
            title="You can't see the API keys of this account",
            text=rx.cond(
                State.managers != "",
                f"Ask {State.managers} to create one for you.",
                "Its owners and billing admins can create one for you.",
            ),
        ),
        class_name="card",
    )


def _keys() -> rx.Component:
    return card(
        rx.cond(
            State.keys.length() > 0,
            rx.el.ul(rx.foreach(State.keys, _key), class_name="spending"),
            empty(
                icon="key-round",
                title="No API keys yet",
                text="Your service sends a key with each request. It is shown once, when you create"
                " it.",
                action=rx.cond(State.account.may_manage, _add_button()),
            ),
        ),
        pager(
            State.page_number,
            has_older=State.has_older,
            on_newer=State.show_newer,
            on_older=State.show_older,
        ),
        title="Keys",
        note="Revoked and expired keys stay listed for 30 days",
        actions=[native_link("API reference", href=routes.API_DOCS, class_name="text-link")],
        flush=True,
    )


def _key(item: ObjectVar[KeyItem]) -> rx.Component:
    only = rx.cond(item.workflow != "", f" · only {item.workflow}", "")
    return rx.el.li(
        rx.el.div(
            rx.el.h3(
                rx.el.span(item.name, class_name="endpoint-url"),
                badge(item.status, item.tone),
                class_name="offer-name endpoint-head",
            ),
            rx.el.p(rx.el.code(item.hint), " · ", item.may, only, class_name="spending-text"),
            rx.el.p(f"{item.used} · {item.created}", class_name="spending-text number"),
        ),
        rx.cond(
            item.is_live & State.account.may_manage,
            rx.el.div(
                _item_button("Rotate", item, ROTATE),
                _item_button("Revoke", item, REVOKE),
                class_name="controls",
            ),
        ),
        key=item.id,
        class_name="spending-item",
    )


def _item_button(text: str, item: ObjectVar[KeyItem], kind: str) -> rx.Component:
    return rx.el.button(
        text,
        type="button",
        class_name="button",
        on_click=Form.ask(kind, item.id),
        custom_attrs={"aria-label": f"{text} {item.name}"},
    )


def _ids() -> rx.Component:
    """What requests name beside the key."""
    return card(
        rx.el.ul(
            _id("Organization ID", State.organization_id, "organization-id"),
            rx.cond(State.user_id != "", _id("User ID", State.user_id, "user-id")),
            _id("Account ID", State.account.account_id, "account-id"),
            class_name="spending",
        ),
        title="IDs",
        note="Requests name the account by these",
        flush=True,
    )


def _id(label: str, value: rx.Var[str], name: str) -> rx.Component:
    return rx.el.li(
        rx.el.h3(label, class_name="spending-text"),
        copied_line(value, name, label),
        class_name="spending-item",
    )


def _dialogs() -> rx.Component:
    chosen = Form.chosen
    return rx.fragment(
        _form(),
        confirmation_dialog(
            Form,
            name=YES,
            is_open=_is_open(ROTATE),
            title="Rotate this key?",
            text=f"You get a new key that may do the same. {chosen.name} keeps working for 24"
            " hours.",
            confirm="Rotate key",
            on_confirm=Form.rotate,
        ),
        confirmation_dialog(
            Form,
            name=YES,
            is_open=_is_open(REVOKE),
            title="Revoke this key?",
            text=f"Requests with {chosen.name} are refused within five seconds. This can't be"
            " undone.",
            confirm="Revoke key",
            on_confirm=Form.revoke,
            look="danger",
        ),
        _secret(),
    )


def _is_open(kind: str) -> rx.Var[bool]:
    return Form.is_open & (Form.kind == kind) & (Form.of_account == State.account.account_id)


def _form() -> rx.Component:
    return dialog(
        rx.el.form(
            field("Name", "name", hint="Where it is used", max_length=MAX_NAME),
            rx.el.fieldset(
                rx.el.legend("It may", class_name="field-label"),
                rx.el.div(rx.foreach(State.choices, _scope), class_name="checks"),
                class_name="check-group",
            ),
            field(
                "Only for the workflow",
                "workflow",
                is_required=False,
                hint="Empty: any workflow",
                max_length=MAX_WORKFLOW,
            ),
            field(
                "Expires after days",
                "days",
                is_required=False,
                hint="Empty: never",
                input_mode="numeric",
                max_length=6,
            ),
            problem_notice(Form.problem),
            dialog_foot(
                cancel_button(Form.close),
                rx.el.button("Create key", type="submit", class_name="button strong"),
            ),
            on_submit=Form.create,
            class_name="dialog-form",
        ),
        title="Create a key",
        text="It works for this account only. You see it once.",
        is_open=_is_open(ADD),
        on_close=Form.close,
    )


def _scope(choice: ObjectVar[ScopeChoice]) -> rx.Component:
    return rx.el.label(
        rx.el.input(
            type="checkbox",
            name=f"{SCOPE_FIELD}{choice.value}",
            default_checked=choice.is_usual,
        ),
        rx.el.span(choice.label, rx.el.span(choice.note, class_name="check-note")),
        key=choice.value,
        class_name="check",
    )


def _secret() -> rx.Component:
    return dialog(
        copied_line(Form.secret, "key", "the key"),
        code_block(Form.code.curl, "key-curl", "Try it in a terminal"),
        dialog_foot(
            rx.el.button("Done", type="button", class_name="button strong", on_click=Form.close)
        ),
        title="Copy your new key",
        text="Keep it where your service reads its secrets. You won't see it again.",
        is_open=_is_open(SECRET),
        on_close=Form.close,
    )
