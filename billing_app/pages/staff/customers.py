"""Customers: find an account by any word of its holder."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.customers.search import CustomerSort, PlanFilter
from billing_app.components.cards import page_head
from billing_app.components.feedback import empty
from billing_app.components.listing import (
    Column,
    Paging,
    clear_button,
    filter_days,
    filter_select,
    listing,
    search_box,
)
from billing_app.components.numbers import badge
from billing_app.components.tables import cell
from billing_app.db.enums import AccountKind
from billing_app.pages.staff.frame import console
from billing_app.pages.staff.remaining_cell import remaining_cell
from billing_app.states.staff import customers as names
from billing_app.states.staff.customers import StaffCustomersState as State
from billing_app.states.staff.listing import ALL, FIRST_DAY, LAST_DAY
from billing_app.states.staff.views import CustomerLine

CUSTOMERS = Paging(State, names.CUSTOMERS)
COLUMNS = (
    Column("Customer", CustomerSort.WORD),
    Column("Kind", is_wide_only=True),
    Column("Plan", is_wide_only=True),
    Column("Remaining", is_right=True),
    Column("Status"),
    Column("Since", CustomerSort.MADE, is_right=True, is_wide_only=True),
)


def staff_customers() -> rx.Component:
    """A search box, filters, and the accounts that match."""
    return console(
        rx.fragment(
            page_head("Customers", "Organizations and personal accounts"),
            listing(
                "Customers",
                COLUMNS,
                rows=State.rows,
                row=_row,
                paging=CUSTOMERS,
                tools=_tools(),
                when_empty=_nobody(),
                when_filtered=_nobody(clear_button(CUSTOMERS)),
            ),
        ),
        path=routes.STAFF_CUSTOMERS,
        state=State,
    )


def _nobody(action: rx.Component | None = None) -> rx.Component:
    return empty(
        icon="search-x",
        title="No matches",
        text="Search by the start of a name, email address, organization or Stripe ID, or"
        " clear a filter.",
        action=action,
    )


def _tools() -> tuple[rx.Component, ...]:
    return (
        search_box(
            CUSTOMERS,
            names.QUERY,
            "Search customers",
            "Name, email, organization or Stripe ID",
        ),
        filter_select(
            CUSTOMERS,
            names.KIND,
            "Kind",
            (
                (ALL, "All kinds"),
                (AccountKind.ORGANIZATION.value, "Organizations"),
                (AccountKind.USER.value, "Personal accounts"),
            ),
        ),
        filter_select(
            CUSTOMERS,
            names.PLAN,
            "Plan",
            (
                (ALL, "Any plan"),
                (PlanFilter.PAID.value, "Paid"),
                (PlanFilter.TRIAL.value, "Trial"),
                (PlanFilter.NONE.value, "No active plan"),
            ),
        ),
        filter_select(
            CUSTOMERS,
            names.STATE,
            "Status",
            ((ALL, "Any status"), (names.PAST_DUE, "Past due"), (names.BLOCKED, "Blocked")),
        ),
        filter_days(CUSTOMERS, FIRST_DAY, LAST_DAY),
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
        remaining_cell(row),
        cell(badge(row.status, row.tone)),
        cell(row.since, "right soft wide-only"),
        key=row.account_id,
    )
