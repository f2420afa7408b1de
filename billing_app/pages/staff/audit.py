"""Audit: what the staff did, by whom, why, and taking it back."""

import reflex as rx

from billing_app import routes
from billing_app.components.cards import page_head
from billing_app.components.controls import select
from billing_app.components.listing import filter_select, listing, paging_of, search_box
from billing_app.pages.staff.entries import ENTRY_COLUMNS, entry_row, no_entries
from billing_app.pages.staff.frame import console
from billing_app.states.staff.audit import ACTION, BY
from billing_app.states.staff.audit import StaffAuditState as State
from billing_app.states.staff.entries import ACTIONS
from billing_app.states.staff.listing import ALL


def staff_audit() -> rx.Component:
    """Every entry, newest first."""
    return console(
        rx.fragment(
            page_head("Audit", "Everything the staff did; nothing here can be changed"),
            listing(
                "Audit",
                ENTRY_COLUMNS,
                rows=State.rows,
                row=lambda row: entry_row(row, State.undo, with_account=True),
                paging=paging_of(State),
                tools=_tools(),
                when_empty=no_entries(),
            ),
        ),
        path=routes.STAFF_AUDIT,
        state=State,
    )


def _tools() -> tuple[rx.Component, ...]:
    return (
        search_box("Account", "Account id: acc_…", value=State.search, on_search=State.search_for),
        select(
            "Who",
            options=[
                rx.el.option("Everybody", value=ALL),
                rx.foreach(State.people, lambda who: rx.el.option(who[1], value=who[0])),
            ],
            value=rx.cond(State.filters.contains(BY), State.filters[BY], ALL).to(str),
            on_change=lambda value: State.filter_by(BY, value),
        ),
        filter_select(State, ACTION, "Action", ((ALL, "All actions"), *ACTIONS.items()), ALL),
    )
