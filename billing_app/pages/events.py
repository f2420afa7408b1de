"""Rows of execution events, for the dashboard and the usage page."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.numbers import badge
from billing_app.components.tables import cell
from billing_app.states.views import EventRow

EVENT_HEADS = ("Time (UTC)", "Workflow", "User", "Kind", "Executions", "Balance after")
EVENT_HEADS_RIGHT = ("Executions", "Balance after")
EVENT_HEADS_WIDE_ONLY = ("User", "Kind", "Balance after")


def _workflow_cell(row: ObjectVar[EventRow]) -> rx.Component:
    """The workflow; on a phone also the kind and the user, which have no column there."""
    return rx.fragment(
        rx.el.span(row.workflow, title=row.workflow),
        rx.el.span(
            rx.cond(row.tone != "", badge(row.kind, row.tone)),
            rx.cond(row.user != "—", rx.el.span(row.user, class_name="soft")),
            class_name="narrow-only",
        ),
    )


def event_row(row: ObjectVar[EventRow]) -> rx.Component:
    """An event; highlighted briefly if it arrived while the page was open."""
    return rx.el.tr(
        cell(row.at, "soft"),
        cell(_workflow_cell(row), "strong clip"),
        cell(row.user, "soft clip wide-only"),
        cell(rx.cond(row.tone != "", badge(row.kind, row.tone), row.kind), "soft wide-only"),
        cell(row.executions, "right strong"),
        cell(row.remaining, "right soft wide-only"),
        key=row.event_id,
        class_name=rx.cond(row.is_new, "arrived", ""),
    )
