"""Customers: find an account by any word of its holder."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.search import PlanFilter, Sort
from billing_app.components.cards import page_head
from billing_app.components.feedback import empty, notice
from billing_app.components.listing import (
    Column,
    filter_select,
    listing,
    paging_of,
    search_box,
)
from billing_app.components.numbers import badge, meter
from billing_app.components.tables import cell
from billing_app.db.words import AccountKind
from billing_app.pages.staff.frame import console
from billing_app.states.staff.customers import BLOCKED, KIND, PAST_DUE, PLAN, STATE
from billing_app.states.staff.customers import StaffCustomersState as State
from billing_app.states.staff.listing import ALL
from billing_app.states.staff.views import CustomerLine

COLUMNS = (
    Column("Customer"),
    Column("Kind", is_wide_only=True),
    Column("Plan", is_wide_only=True),
    Column("Used", is_wide_only=True),
    Column("Left", is_right=True),
    Column("Status"),
    Column("Since", sorts=(Sort.NEWEST.value, Sort.OLDEST.value), is_right=True, is_wide_only=True),
)


def staff_customers() -> rx.Component:
    """A search box, filters, and the accounts that match."""
    return console(
        rx.fragment(
            page_head("Customers", "Organizations and trials"),
            rx.cond(
                State.problem != "",
                notice(tone="warning", title="This can't be searched", words=State.problem),
            ),
            listing(
                "Customers",
                COLUMNS,
                rows=State.rows,
                row=_row,
                paging=paging_of(State),
                tools=_tools(),
                when_empty=empty(
                    icon="search-x",
                    title="Nobody matches",
                    words="Search by the beginning of a name, an address, an organization"
                    " or a Stripe id, or take a filter away.",
                ),
            ),
        ),
        path=routes.STAFF_CUSTOMERS,
        state=State,
    )


def _tools() -> tuple[rx.Component, ...]:
    return (
        search_box(
            "Search customers",
            "Name, e-mail, organization or Stripe id",
            value=State.search,
            on_search=State.search_for,
        ),
        filter_select(
            State,
            KIND,
            "Kind",
            (
                (ALL, "All kinds"),
                (AccountKind.ORGANIZATION.value, "Organizations"),
                (AccountKind.USER.value, "Trial accounts"),
            ),
            ALL,
        ),
        filter_select(
            State,
            PLAN,
            "Plan",
            (
                (ALL, "Any plan"),
                (PlanFilter.PAID.value, "Paid"),
                (PlanFilter.TRIAL.value, "Trial"),
                (PlanFilter.NONE.value, "No plan"),
            ),
            ALL,
        ),
        filter_select(
            State,
            STATE,
            "Trouble",
            ((ALL, "Any state"), (PAST_DUE, "Past due"), (BLOCKED, "Blocked")),
            ALL,
        ),
    )


def _row(row: ObjectVar[CustomerLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.link(
                rx.el.span(row.name, class_name="row-link"),
                rx.cond(row.email != "", rx.el.span(row.email, class_name="row-note")),
                href=f"{routes.STAFF_CUSTOMERS}/{row.account_id}",
                underline="none",
                class_name="row-title",
            ),
            "strong clip-wide",
        ),
        cell(row.kind, "soft wide-only"),
        cell(rx.cond(row.plan != "", row.plan, "—"), "soft clip wide-only"),
        cell(
            rx.cond(
                row.plan != "",
                meter(
                    used_percent=row.used_percent,
                    held_percent=0,
                    tone=row.meter_tone,
                    label=f"Executions of {row.name} that are used",
                    thin=True,
                ),
            ),
            "meter-cell wide-only",
        ),
        cell(rx.cond(row.remaining != "", row.remaining, "—"), "right"),
        cell(badge(row.status, row.tone)),
        cell(row.since, "right soft wide-only"),
        key=row.account_id,
    )
