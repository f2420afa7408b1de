"""Team: who works here, with which role."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.access.members import MemberSort
from billing_app.billing.staff.access.permissions import Action
from billing_app.components.cards import card, page_head
from billing_app.components.controls import Handler
from billing_app.components.dialogs import (
    choice_field,
    dialog,
    dialog_foot,
    field,
    problem_in,
    reason_field,
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
    *((role.value, told) for role, told in formatting.ROLES.items()),
)
ROLES = {
    StaffRole.SUPPORT: "Support: reads everything, grants a little",
    StaffRole.BILLING: "Billing: grants, refunds, moves and stops plans",
    StaffRole.ADMIN: "Admin: also offers and the staff",
}
NOT_SHOWN = "It stands in the audit log."


def staff_team() -> rx.Component:
    """The members, and for admins the ways to add, change and remove."""
    return console(
        rx.fragment(
            page_head("Team", "Who may use this console", _add_button()),
            rx.cond(State.password != "", _password()),
            _members(),
            _add(),
            _change(),
            _remove(),
        ),
        path=routes.STAFF_TEAM,
        state=State,
    )


def _add_button() -> rx.Component:
    return rx.cond(
        State.allowed.contains(Action.ADD_STAFF.value),
        rx.el.button(
            rx.icon("plus", aria_hidden="true"),
            "Add somebody",
            type="button",
            class_name="button strong",
            on_click=State.ask(ADD, ""),
        ),
    )


def _password() -> rx.Component:
    return card(
        rx.el.p("They had no account. Hand this password over; it is shown only now."),
        rx.el.code(State.password, class_name="secret", id="password"),
        title="A password was made",
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
            search_box(MEMBERS, names.LETTERS, "Search members", "Name or address"),
            filter_select(
                MEMBERS,
                names.ROLE,
                "Role",
                ROLE_CHOICES,
            ),
        ),
        when_empty=empty(icon="users", title="Nobody", words="An admin adds people."),
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


def _row_button(words: str, whom: rx.Var[str], on_click: Handler) -> rx.Component:
    return rx.el.button(
        words,
        type="button",
        class_name="button small",
        on_click=on_click,
        custom_attrs={"aria-label": f"{words}: {whom}"},
    )


def _add() -> rx.Component:
    return dialog(
        rx.form(
            problem_in(State.said),
            field("Email", "email", kind="email", hint="Who is new here gets a password."),
            _role_field(),
            reason_field(NOT_SHOWN),
            _foot("Add"),
            on_submit=State.add,
            class_name="dialog-form",
        ),
        title="Add somebody to the staff",
        words="They can use this console at once.",
        is_open=State.dialog == ADD,
        on_close=State.close,
    )


def _change() -> rx.Component:
    return dialog(
        rx.form(
            problem_in(State.said),
            _role_field(),
            reason_field(NOT_SHOWN),
            _foot("Change role"),
            on_submit=State.change,
            class_name="dialog-form",
        ),
        title=f"Change the role of {State.chosen_name}",
        words=f"The role is {State.chosen_role} now. The new one counts from their next click.",
        is_open=State.dialog == CHANGE,
        on_close=State.close,
    )


def _remove() -> rx.Component:
    return dialog(
        rx.form(
            problem_in(State.said),
            reason_field(NOT_SHOWN),
            _foot("Remove", is_danger=True),
            on_submit=State.remove,
            class_name="dialog-form",
        ),
        title=f"Remove {State.chosen_name} from the staff",
        words="Their next click in this console is refused. What they did stays in the audit log.",
        is_open=State.dialog == REMOVE,
        on_close=State.close,
    )


def _role_field() -> rx.Component:
    options: list[rx.Component] = [
        rx.el.option(words, value=role.value) for role, words in ROLES.items()
    ]
    return choice_field("Role", "role", options, value=State.chosen_role)


def _foot(yes: str, *, is_danger: bool = False) -> rx.Component:
    return dialog_foot(
        rx.el.button("Cancel", type="button", class_name="button", on_click=State.close),
        rx.el.button(
            yes, type="submit", class_name="button danger" if is_danger else "button strong"
        ),
    )
