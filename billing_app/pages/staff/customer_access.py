"""Access to an account: members, service keys, browsers; and its audit log."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.staff.access.browser_sessions import SessionSort
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.access.portal_sessions import PortalSessionSort
from billing_app.billing.staff.customers.account import KeySort, PersonSort
from billing_app.components.feedback import empty
from billing_app.components.listing import Column, Paging, filter_days, filter_select, listing
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell
from billing_app.pages.staff.audit_entries import (
    ENTRY_ACTIONS,
    ENTRY_COLUMNS,
    entry_row,
    no_entries,
)
from billing_app.pages.staff.row_actions import row_button
from billing_app.states import formatting
from billing_app.states.staff import customer as names
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.listing import ALL, FIRST_DAY, LAST_DAY, NO, YES
from billing_app.states.staff.repairs import END_PORTAL, SIGN_OUT
from billing_app.states.staff.views import KeyLine, PersonLine, PortalLine, SessionLine

MEMBERS = Paging(State, names.MEMBERS)
KEYS = Paging(State, names.KEYS)
SESSIONS = Paging(State, names.SESSIONS)
PORTAL = Paging(State, names.PORTAL)
AUDIT = Paging(State, names.AUDIT)
ROLES = (
    (ALL, "All roles"),
    *((role.value, label) for role, label in formatting.MEMBER_ROLES.items()),
)


def access() -> rx.Component:
    """Members, service keys, and signed-in browsers."""
    return rx.fragment(
        listing(
            "People",
            (
                Column("Name", PersonSort.NAME),
                Column("Email", PersonSort.EMAIL, is_wide_only=True),
                Column("Role"),
                Column("Since", PersonSort.SINCE, is_right=True, is_wide_only=True),
            ),
            rows=State.people,
            row=_person,
            paging=MEMBERS,
            tools=(filter_select(MEMBERS, names.ROLE, "Role", ROLES),),
            when_empty=empty(
                icon="users", title="No members", text="No member can sign in for this account."
            ),
            title="People",
        ),
        listing(
            "API keys",
            (
                Column("Name", KeySort.NAME),
                Column("Prefix"),
                Column("Scopes", is_wide_only=True),
                Column("Status"),
                Column("Created", KeySort.MADE, is_right=True, is_wide_only=True),
            ),
            rows=State.service_keys,
            row=_key,
            paging=KEYS,
            tools=(
                filter_select(
                    KEYS,
                    names.REVOKED,
                    "Status",
                    ((ALL, "All keys"), (NO, "Not revoked"), (YES, "Revoked")),
                ),
            ),
            when_empty=empty(
                icon="key-round",
                title="No API keys",
                text="Services with platform keys can still count executions for this account.",
            ),
            title="API keys",
        ),
        listing(
            "Sessions",
            (
                Column("Person", SessionSort.PERSON),
                Column("Browser", is_wide_only=True),
                Column("Since (UTC)", SessionSort.SINCE),
                Column("Ends (UTC)", SessionSort.ENDS, is_wide_only=True),
                Column(ACTIONS, is_right=True),
            ),
            rows=State.browsers,
            row=_browser,
            paging=SESSIONS,
            tools=(
                filter_select(
                    SESSIONS,
                    names.LIVE,
                    "Status",
                    ((ALL, "All sessions"), (YES, "Signed in"), (NO, "Expired")),
                ),
            ),
            title="Sessions",
            when_empty=empty(
                icon="monitor", title="Nobody is signed in", text="Signed-in browsers appear here."
            ),
        ),
        _portal_sessions(),
    )


def _portal_sessions() -> rx.Component:
    return listing(
        "Portal sessions",
        (
            Column("Person", PortalSessionSort.PERSON),
            Column("Role", is_wide_only=True),
            Column("Browser", is_wide_only=True),
            Column("Since (UTC)", PortalSessionSort.SINCE),
            Column("Ends (UTC)", PortalSessionSort.ENDS, is_wide_only=True),
            Column(ACTIONS, is_right=True),
        ),
        rows=State.portal,
        row=_portal_session,
        paging=PORTAL,
        tools=(
            filter_select(
                PORTAL,
                names.LIVE,
                "Status",
                ((ALL, "All sessions"), (YES, "Open"), (NO, "Expired")),
            ),
        ),
        title="Portal sessions",
        when_empty=empty(
            icon="link",
            title="No portal sessions",
            text="People that a product sends here through a portal link appear here.",
        ),
    )


def _portal_session(row: ObjectVar[PortalLine]) -> rx.Component:
    end = row_button(
        "End sessions",
        row.person,
        State.ask(END_PORTAL, row.person_id, row.person),
        Action.END_PORTAL_SESSIONS,
    )
    return rx.el.tr(
        rx.el.td(row.person, title=row.person_id, class_name="strong clip"),
        cell(badge(row.role), "wide-only"),
        rx.el.td(row.browser, title=row.user_agent, class_name="soft clip-wide wide-only"),
        cell(row.since, "soft"),
        cell(row.ends, "soft wide-only"),
        cell(rx.cond(row.is_live, end, badge("Expired")), "right"),
        key=row.row,
    )


def _person(row: ObjectVar[PersonLine]) -> rx.Component:
    email = rx.el.span(row.email, class_name="row-note narrow-only")
    return rx.el.tr(
        cell(
            rx.fragment(
                rx.el.span(row.name, class_name="row-link"), rx.cond(row.email != row.name, email)
            ),
            "clip-wide",
        ),
        cell(row.email, "soft clip-wide wide-only"),
        cell(badge(row.role)),
        cell(row.since, "right soft wide-only"),
        key=row.user_id,
    )


def _key(row: ObjectVar[KeyLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.name, "strong clip"),
        cell(rx.el.code(row.hint, class_name="code")),
        cell(row.scopes, "soft wide-only"),
        cell(badge(row.state, row.tone)),
        cell(row.created, "right soft wide-only"),
        key=row.key_id,
    )


def _browser(row: ObjectVar[SessionLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.person, "strong clip"),
        rx.el.td(row.browser, title=row.user_agent, class_name="soft clip-wide wide-only"),
        cell(row.since, "soft"),
        cell(row.ends, "soft wide-only"),
        cell(
            rx.cond(
                row.is_live,
                row_button(
                    "Sign out",
                    row.person,
                    State.ask(SIGN_OUT, row.user_id, row.person),
                    Action.SIGN_OUT,
                ),
                badge("Expired"),
            ),
            "right",
        ),
        key=row.row,
    )


def audit() -> rx.Component:
    """What staff did to this account, with the way to undo it."""
    return listing(
        "Audit",
        ENTRY_COLUMNS,
        rows=State.entries,
        row=lambda row: entry_row(row, State.ask_undo, with_account=False),
        paging=AUDIT,
        tools=(
            filter_select(AUDIT, names.ACTION, "Action", ENTRY_ACTIONS),
            filter_days(AUDIT, FIRST_DAY, LAST_DAY),
        ),
        when_empty=no_entries(),
    )
