"""Team: staff members and their roles."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.access.members import MemberSort
from billing_app.billing.staff.access.permissions import Action
from billing_app.components.cards import card, page_head
from billing_app.components.controls import Handler
from billing_app.components.dialogs import (
    choice_field,
    field,
)
from billing_app.components.feedback import empty
from billing_app.components.listing import (
    Column,
    Paging,
    filter_select,
    listing,
    search_box,
)
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell
from billing_app.db.enums import StaffRole
from billing_app.pages.staff.action_dialog import action_dialog
from billing_app.pages.staff.frame import console
from billing_app.states import formatting
from billing_app.states.staff import team as names
from billing_app.states.staff.listing import ALL
from billing_app.states.staff.team import ADD, CHANGE, REMOVE
from billing_app.states.staff.team import StaffTeamState as State
from billing_app.states.staff.views import MemberRow

MEMBERS = Paging(State, names.MEMBERS)
ROLE_CHOICES = (
    (ALL, "All roles"),
    *((role.value, label) for role, label in formatting.ROLES.items()),
)
ROLES = {
    StaffRole.SUPPORT: "Support: read everything, grant small amounts",
    StaffRole.BILLING: "Billing: grant, refund, move and pause plans",
    StaffRole.ADMIN: "Admin: also manage offers and staff",
}


def staff_team() -> rx.Component:
    """The members, with ways to add, change and remove them for admins."""
    return console(
        rx.fragment(
            page_head("Team", "Who can use this console", _add_button()),
            rx.cond(State.password != "", _password()),
            _members(),
            _dialogs(),
        ),
        path=routes.STAFF_TEAM,
        state=State,
    )


def _add_button() -> rx.Component:
    return rx.cond(
        State.allowed.contains(Action.ADD_STAFF.value),
        rx.el.button(
            rx.icon("plus", aria_hidden="true"),
            "Add member",
            type="button",
            class_name="button strong",
            on_click=State.ask(ADD, ""),
        ),
    )


def _password() -> rx.Component:
    return card(
        rx.el.p("This is a new user. Give them this password. It is shown only once."),
        rx.el.code(State.password, class_name="secret", id="password"),
        title="Password created",
    )


def _members() -> rx.Component:
    return listing(
        "Members",
        (
            Column("Name", MemberSort.NAME),
            Column("Email", MemberSort.EMAIL, is_wide_only=True),
            Column("Role", MemberSort.ROLE),
            Column("Since", MemberSort.SINCE, is_wide_only=True),
            Column(ACTIONS, is_right=True),
        ),
        rows=State.rows,
        row=_member,
        paging=MEMBERS,
        tools=(
            search_box(MEMBERS, names.LETTERS, "Search members", "Name or email"),
            filter_select(
                MEMBERS,
                names.ROLE,
                "Role",
                ROLE_CHOICES,
            ),
        ),
        when_empty=empty(icon="users", title="No members", text="Admins can add members."),
    )


def _member(row: ObjectVar[MemberRow]) -> rx.Component:
    return rx.el.tr(
        cell(rx.fragment(row.name, rx.cond(row.is_viewer, " (you)", "")), "strong"),
        cell(row.email, "soft clip wide-only"),
        cell(badge(row.role_name, rx.cond(row.role == StaffRole.ADMIN.value, "accent", ""))),
        cell(row.added, "soft wide-only"),
        cell(
            rx.cond(
                State.allowed.contains(Action.CHANGE_ROLE.value),
                rx.el.div(
                    _row_button("Change role", row.name, State.ask(CHANGE, row.user_id)),
                    _row_button("Remove", row.name, State.ask(REMOVE, row.user_id)),
                    class_name="row-actions",
                ),
            ),
            "right",
        ),
        key=row.user_id,
    )


def _row_button(text: str, whom: rx.Var[str], on_click: Handler) -> rx.Component:
    return rx.el.button(
        text,
        type="button",
        class_name="button small",
        on_click=on_click,
        custom_attrs={"aria-label": f"{text}: {whom}"},
    )


def _dialogs() -> rx.Component:
    email = field("Email", "email", kind="email", hint="New users get a password.")
    return rx.fragment(
        action_dialog(
            State,
            ADD,
            email,
            _role_field(),
            title="Add a staff member",
            text="They can use this console right away.",
            confirm="Add",
            on_submit=State.add,
        ),
        action_dialog(
            State,
            CHANGE,
            _role_field(),
            title=f"Change role of {State.chosen_name}",
            text=f"Current role: {State.chosen_role}. The new role applies immediately.",
            confirm="Change role",
            on_submit=State.change,
        ),
        action_dialog(
            State,
            REMOVE,
            title=f"Remove {State.chosen_name} from staff",
            text="They lose access immediately. Their actions stay in the audit log.",
            confirm="Remove",
            on_submit=State.remove,
            is_danger=True,
        ),
    )


def _role_field() -> rx.Component:
    options: list[rx.Component] = [
        rx.el.option(text, value=role.value) for role, text in ROLES.items()
    ]
    return choice_field("Role", "role", options, value=State.chosen_role)
