"""Rows of the audit log, shared by the account's page and the audit page."""

from typing import Any, Final

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.staff.audit.audit_reading import EntrySort
from billing_app.components.controls import Handler
from billing_app.components.dialogs import dialog, problem_in, reason_field
from billing_app.components.feedback import empty
from billing_app.components.listing import Column, lead_cell
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell
from billing_app.pages.staff.account_link import account_link
from billing_app.pages.staff.action_dialog import SHOWN, form_foot
from billing_app.states.staff.audit_entries import ACTION_NAMES
from billing_app.states.staff.listing import ALL
from billing_app.states.staff.views import EntryLine

ENTRY_COLUMNS: Final = (
    Column("Time (UTC)", EntrySort.AT, is_wide_only=True),
    Column("Actor", is_wide_only=True),
    Column("Action", EntrySort.ACTION, is_lead=True),
    Column("Reason", is_wide_only=True),
    Column(ACTIONS, is_right=True),
)
ENTRY_ACTIONS: Final = ((ALL, "All actions"), *ACTION_NAMES.items())


def entry_row(row: ObjectVar[EntryLine], on_undo: Handler, *, with_account: bool) -> rx.Component:
    """Who did what and why, with a button that undoes it."""
    return rx.el.tr(
        cell(row.at, "soft wide-only"),
        cell(rx.fragment(row.who, " ", badge(row.role)), "wide-only"),
        lead_cell(
            rx.el.div(
                rx.el.div(
                    rx.el.span(row.what, class_name="row-link"),
                    account_link(row.account_id, row.account) if with_account else rx.fragment(),
                    rx.cond(row.is_own_account, badge("Own account", "warning")),
                    class_name="entry-head",
                ),
                rx.el.span(f"{row.who} · {row.role}", class_name="row-note narrow-only"),
                rx.el.span(row.reason, class_name="row-note narrow-only"),
                rx.cond(row.subject != "", rx.el.span(row.subject, class_name="row-note")),
                rx.cond(
                    row.figures != "", rx.el.span(row.figures, class_name="row-note wide-only")
                ),
                class_name="entry-text",
            ),
            row.at,
            "wrap",
        ),
        cell(row.reason, "soft wrap wide-only"),
        cell(
            rx.cond(
                row.is_undone,
                badge("Undone"),
                rx.cond(
                    row.can_undo | row.can_redo,
                    rx.el.button(
                        rx.cond(
                            row.can_redo,
                            rx.icon("redo-2", aria_hidden="true"),
                            rx.icon("undo-2", aria_hidden="true"),
                        ),
                        rx.cond(row.can_redo, "Redo", "Undo"),
                        type="button",
                        class_name="button small",
                        on_click=on_undo(row.entry_id),
                        custom_attrs={
                            "aria-label": rx.cond(
                                row.can_redo, f"Redo: {row.what}", f"Undo: {row.what}"
                            )
                        },
                    ),
                ),
            ),
            "right",
        ),
        key=row.entry_id,
    )


def undo_dialog(state: Any) -> rx.Component:
    """What the undo of an entry would change, and the reason for it."""
    return dialog(
        rx.form(
            problem_in(state.notice),
            rx.el.ul(
                rx.foreach(state.undo_lines, rx.el.li), class_name="consequence", id="consequence"
            ),
            reason_field(SHOWN),
            form_foot(
                rx.cond(state.undo_title.startswith("Undo"), "Undo", "Redo"), state.close_undo
            ),
            on_submit=state.undo,
            class_name="dialog-form",
        ),
        title=state.undo_title,
        text="Adds an entry to the audit log; existing entries stay.",
        is_open=state.undoing != "",
        on_close=state.close_undo,
    )


def no_entries() -> rx.Component:
    return empty(
        icon="scroll-text",
        title="No entries yet",
        text="Every staff action appears here, and what customers change of their details.",
    )
