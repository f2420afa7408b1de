"""Members: the people of an organization, and who is invited."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.accounts.members import ROLE_NAMES
from billing_app.components.cards import card, live_indicator, page_head
from billing_app.components.controls import pager, press_button
from billing_app.components.dialogs import (
    MENU_OF_DIALOGS,
    cancel_button,
    choice_field,
    confirmation_dialog,
    dialog,
    dialog_foot,
    field,
    problem_notice,
)
from billing_app.components.feedback import empty
from billing_app.components.numbers import Text, badge
from billing_app.db.enums import Role
from billing_app.pages.frame import frame
from billing_app.pages.notices import result_of
from billing_app.states.actions import YES
from billing_app.states.member_form import HAND_OVER, INVITE, LEAVE, REMOVE, ROLE
from billing_app.states.member_form import MemberFormState as Form
from billing_app.states.members import InvitationItem, MemberItem
from billing_app.states.members import MembersState as State

MAX_EMAIL = 320
MAY = {
    Role.MEMBER: "sees plans, usage and invoices",
    Role.BILLING_ADMIN: "also buys, changes and cancels",
    Role.OWNER: "also manages owners",
}


def members() -> rx.Component:
    """Composes the page."""
    return frame(
        rx.fragment(
            page_head(
                "Members",
                State.account.name,
                live_indicator(is_broken=State.is_broken),
                rx.cond(State.may_invite, _invite_button()),
            ),
            result_of(Form),
            rx.cond(
                State.is_personal,
                rx.el.div(
                    empty(
                        icon="users",
                        title="Organizations have members",
                        text="This is a personal account.",
                    ),
                    class_name="card",
                ),
                rx.fragment(
                    _members(),
                    rx.cond(State.invitations.length() > 0, _invitations()),
                    rx.cond(State.may_leave, _leaving()),
                ),
            ),
            _dialogs(),
        ),
        path=routes.MEMBERS,
        state=State,
    )


def _invite_button() -> rx.Component:
    return rx.el.button(
        rx.icon("user-plus", aria_hidden="true"),
        "Invite",
        type="button",
        class_name="button strong",
        on_click=Form.ask(INVITE, ""),
    )


def _members() -> rx.Component:
    return card(
        rx.el.ul(rx.foreach(State.members, _member), class_name="spending"),
        pager(
            State.page_number,
            has_older=State.has_more,
            on_newer=State.show_previous,
            on_older=State.show_next,
        ),
        rx.cond(
            ~State.may_invite & (State.managers != ""),
            rx.el.p(f"Ask {State.managers} to invite members.", class_name="card-foot"),
        ),
        title="People",
        note="Everybody here sees plans, usage and invoices",
        flush=True,
    )


def _member(item: ObjectVar[MemberItem]) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.span(item.initials, class_name="avatar", aria_hidden="true"),
            rx.el.div(
                rx.el.h3(
                    rx.el.span(item.name, class_name="member-name", dir="auto"),
                    rx.cond(item.is_viewer, badge("You")),
                    class_name="offer-name endpoint-head",
                ),
                rx.el.p(
                    rx.cond(item.email != "", f"{item.email} · ", ""),
                    item.since,
                    class_name="spending-text",
                ),
                class_name="member-text",
            ),
            class_name="member",
        ),
        rx.el.div(
            rx.el.span(item.role_name, class_name="member-role"),
            rx.cond(item.may_change, _menu(item)),
            class_name="controls",
        ),
        key=item.user_id,
        class_name="spending-item",
    )


def _menu(item: ObjectVar[MemberItem]) -> rx.Component:
    return rx.dropdown_menu.root(
        rx.dropdown_menu.trigger(
            rx.el.button(
                rx.icon("ellipsis", aria_hidden="true"),
                type="button",
                class_name="button",
                custom_attrs={"aria-label": f"Actions: {item.name}"},
            )
        ),
        rx.dropdown_menu.content(
            rx.dropdown_menu.item("Change role", on_click=Form.ask(ROLE, item.user_id)),
            rx.cond(
                item.may_take_over,
                rx.dropdown_menu.item(
                    "Transfer ownership", on_click=Form.ask(HAND_OVER, item.user_id)
                ),
            ),
            rx.dropdown_menu.separator(),
            rx.dropdown_menu.item("Remove", color="red", on_click=Form.ask(REMOVE, item.user_id)),
            min_width="180px",
            custom_attrs=MENU_OF_DIALOGS,
        ),
    )


def _invitations() -> rx.Component:
    return card(
        rx.el.ul(rx.foreach(State.invitations, _invitation), class_name="spending"),
        title="Invitations",
        note="A link works once, for a week",
        flush=True,
    )


def _invitation(item: ObjectVar[InvitationItem]) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.h3(
                rx.el.span(item.email, class_name="endpoint-url"),
                badge(item.status, item.tone),
                class_name="offer-name endpoint-head",
            ),
            rx.el.p(f"{item.what} {item.invited_by}", class_name="spending-text"),
        ),
        rx.cond(
            State.may_invite,
            rx.el.div(
                press_button(
                    "Send again",
                    name=f"again {item.id}",
                    pending=Form.pending,
                    on_press=Form.send_again(item.id),
                    label=f"Send again to {item.email}",
                ),
                press_button(
                    "Withdraw",
                    name=f"withdraw {item.id}",
                    pending=Form.pending,
                    on_press=Form.withdraw(item.id),
                    label=f"Withdraw the invitation of {item.email}",
                ),
                class_name="controls",
            ),
        ),
        key=item.id,
        class_name="spending-item",
    )


def _leaving() -> rx.Component:
    return card(
        rx.el.div(
            rx.el.p(
                "You lose access to this account at once. Its plans and usage stay.",
                class_name="soft",
            ),
            rx.el.button(
                "Leave organization",
                type="button",
                class_name="button",
                on_click=Form.ask(LEAVE, ""),
            ),
            class_name="leaving",
        ),
        title="Leave",
    )


def _dialogs() -> rx.Component:
    name = Form.chosen.name
    return rx.fragment(
        _form(
            INVITE,
            field("Email", "email", kind="email", max_length=MAX_EMAIL),
            _role_field(Role.MEMBER.value),
            title="Invite a member",
            text="They get an email with a link. With or without an account, they accept there.",
            confirm="Send invitation",
            on_submit=Form.invite,
        ),
        _form(
            ROLE,
            _role_field(Form.chosen.role),
            title=f"Role of {name}",
            text="It changes at once.",
            confirm="Change role",
            on_submit=Form.change_role,
        ),
        confirmation_dialog(
            Form,
            name=YES,
            is_open=_is_open(REMOVE),
            title=f"Remove {name}?",
            text="They lose access to this account at once. Keys they created keep working.",
            confirm="Remove",
            on_confirm=Form.remove,
            look="danger",
        ),
        confirmation_dialog(
            Form,
            name=YES,
            is_open=_is_open(HAND_OVER),
            title=f"Transfer ownership to {name}?",
            text=f"{name} gets an email. Once they accept, they are owner and you are billing"
            " admin.",
            confirm="Ask by email",
            on_confirm=Form.hand_over,
        ),
        confirmation_dialog(
            Form,
            name=YES,
            is_open=_is_open(LEAVE),
            title=f"Leave {State.account.name}?",
            text="To come back you need an invitation.",
            confirm="Leave",
            on_confirm=Form.leave,
            look="danger",
        ),
    )


def _is_open(kind: str) -> rx.Var[bool]:
    return Form.is_open & (Form.kind == kind) & (Form.of_account == State.account.account_id)


def _role_field(chosen: Text) -> rx.Component:
    def option(role: Role) -> rx.Component:
        label = f"{ROLE_NAMES[role].capitalize()}: {MAY[role]}"
        return rx.el.option(label, value=role.value)

    usual: list[rx.Component] = [option(Role.MEMBER), option(Role.BILLING_ADMIN)]
    usual.append(rx.cond(State.is_owner, option(Role.OWNER)))
    return choice_field("Role", "role", usual, value=chosen)


def _form(
    kind: str,
    *fields: rx.Component,
    title: Text,
    text: str,
    confirm: str,
    on_submit: Any,
) -> rx.Component:
    return dialog(
        rx.el.form(
            *fields,
            problem_notice(Form.problem),
            dialog_foot(
                cancel_button(Form.close),
                rx.el.button(confirm, type="submit", class_name="button strong"),
            ),
            on_submit=on_submit,
            class_name="dialog-form",
        ),
        title=title,
        text=text,
        is_open=_is_open(kind),
        on_close=Form.close,
    )
