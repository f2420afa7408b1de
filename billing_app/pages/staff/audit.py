"""Audit: what staff did, who, why, and the way to undo it."""

import reflex as rx

from billing_app import routes
from billing_app.components.cards import page_head
from billing_app.components.controls import select
from billing_app.components.listing import (
    Paging,
    filter_days,
    filter_select,
    listing,
    search_box,
)
from billing_app.pages.staff.audit_entries import (
    ENTRY_ACTIONS,
    ENTRY_COLUMNS,
    entry_row,
    no_entries,
    undo_dialog,
)
from billing_app.pages.staff.frame import console
from billing_app.states.staff import audit as names
from billing_app.states.staff.audit import StaffAuditState as State
from billing_app.states.staff.listing import ALL, FIRST_DAY, LAST_DAY

AUDIT = Paging(State, names.AUDIT)
ABOUT = "Every staff action. Entries are never edited; an undo adds a new one."


def staff_audit() -> rx.Component:
    """Every entry, newest first."""
    return console(
        rx.fragment(
            page_head("Audit", ABOUT),
            listing(
                "Audit",
                ENTRY_COLUMNS,
                rows=State.rows,
                row=lambda row: entry_row(row, State.ask_undo, with_account=True),
                paging=AUDIT,
                tools=_tools(),
                when_empty=no_entries(),
            ),
            undo_dialog(State),
        ),
        path=routes.STAFF_AUDIT,
        state=State,
    )


def _tools() -> tuple[rx.Component, ...]:
    return (
        search_box(AUDIT, names.ACCOUNT, "Account, name or reason", "Name, reason or acc_…"),
        select(
            "Actor",
            options=[
                rx.el.option("Everyone", value=ALL),
                rx.foreach(State.people, lambda who: rx.el.option(who[1], value=who[0])),
            ],
            value=AUDIT.chosen(names.BY),
            on_change=AUDIT.on_filter(names.BY),
        ),
        filter_select(AUDIT, names.ACTION, "Action", ENTRY_ACTIONS),
        filter_days(AUDIT, FIRST_DAY, LAST_DAY),
    )
