"""An account's plans, ledger and reservations."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.plans.service import PlanSort, PlanState
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.customers.denials import MAX_DENIALS
from billing_app.billing.staff.customers.reservations import ReservationSort
from billing_app.billing.usage.service import LedgerSort
from billing_app.components.cards import card
from billing_app.components.charts.chart import chart, legend
from billing_app.components.controls import select
from billing_app.components.feedback import empty
from billing_app.components.listing import (
    Column,
    Paging,
    filter_days,
    filter_select,
    lead_cell,
    listing,
    search_box,
)
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell, id_cell, table
from billing_app.db.enums import EventKind
from billing_app.pages.staff.row_actions import row_button
from billing_app.states import formatting
from billing_app.states.staff import customer as names
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.customer_views import HOLD_STATES, PLAN_STATES
from billing_app.states.staff.listing import ALL, FIRST_DAY, LAST_DAY
from billing_app.states.staff.views import DenialLine, HoldLine, LedgerLine, PlanLine
from billing_app.states.views import FilterOption

CHART_HEIGHT_PX = 220
PLANS = Paging(State, names.PLANS)
LEDGER = Paging(State, names.LEDGER)
HOLDS = Paging(State, names.HOLDS)
STATES = (
    (ALL, "Any status"),
    *((state.value, PLAN_STATES[state][0]) for state in PlanState),
)
SOURCES = (
    (ALL, "Any source"),
    *((each.value, label) for each, label in formatting.SOURCES.items()),
)
KINDS = ((ALL, "All kinds"), *((kind.value, formatting.KINDS[kind]) for kind in EventKind))
HOLDS_STATES = (
    (ALL, "Any status"),
    *((each.value, label) for each, (label, _) in HOLD_STATES.items()),
)
PLAN_COLUMNS = (
    Column("No.", PlanSort.QUEUE, is_right=True, is_wide_only=True),
    Column("Plan", PlanSort.NAME, is_lead=True),
    Column("Status", PlanSort.STATE),
    Column("Used", PlanSort.USED, is_right=True, is_wide_only=True),
    Column("Reserved", is_right=True, is_wide_only=True),
    Column("Executions", PlanSort.EXECUTIONS, is_right=True, is_wide_only=True),
    Column("Dates", PlanSort.BEGINS, is_wide_only=True),
    Column(ACTIONS, is_right=True),
)


def summary() -> rx.Component:
    """The plans, and the last thirty days."""
    return rx.fragment(
        listing(
            "Plans",
            PLAN_COLUMNS,
            rows=State.plans,
            row=_plan,
            paging=PLANS,
            tools=(
                filter_select(PLANS, names.STATE, "Status", STATES),
                filter_select(PLANS, names.SOURCE, "Source", SOURCES),
            ),
            when_empty=empty(
                icon="layers", title="No plans", text="Grant executions to give this account one."
            ),
            title="Plans",
            note="All plans of this account",
        ),
        card(
            rx.cond(
                State.keys.length() > 0,
                rx.fragment(
                    chart(
                        State.figure,
                        label="Executions per day by workflow, last 30 days",
                        height_px=CHART_HEIGHT_PX,
                    ),
                    legend(State.keys),
                ),
                empty(
                    icon="chart-column",
                    title="No executions in the last 30 days",
                    text="The first one will appear here within seconds.",
                ),
            ),
            title="Executions per day",
            note="Last 30 days, by workflow",
        ),
        _refused(),
    )


def _refused() -> rx.Component:
    return card(
        table(
            "Refused",
            ("Day", "Reason", "Workflow", "User", "Requests"),
            rows=State.denials,
            row=_denial,
            when_empty=empty(
                icon="circle-check",
                title="No refused requests",
                text="Refused requests appear here, by day and reason.",
            ),
            right=("Requests",),
            wide_only=("Workflow", "User"),
            dense=True,
        ),
        title="Refused, last 30 days",
        note=f"Newest first, up to {MAX_DENIALS} rows",
        flush=True,
    )


def _denial(row: ObjectVar[DenialLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.day, "soft"),
        cell(
            rx.fragment(
                row.reason,
                rx.el.span(row.workflow, class_name="row-note narrow-only"),
                rx.cond(row.user != "—", rx.el.span(row.user, class_name="row-note narrow-only")),
            ),
            "strong clip-wide",
        ),
        cell(row.workflow, "clip wide-only"),
        cell(row.user, "soft clip wide-only"),
        cell(row.denied, "right strong"),
        key=row.row,
    )


def _plan(plan: ObjectVar[PlanLine]) -> rx.Component:
    return rx.el.tr(
        cell(plan.number, "right soft wide-only"),
        cell(
            rx.fragment(
                rx.el.span(plan.name, class_name="row-link"),
                " ",
                rx.el.span(plan.source, class_name="row-note wide-only"),
                rx.el.span(plan.usage, class_name="row-note narrow-only"),
                rx.el.span(plan.dates, class_name="row-note narrow-only"),
            ),
            "clip-wide lead",
        ),
        cell(badge(plan.state, plan.tone)),
        cell(plan.used, "right wide-only"),
        cell(plan.held, "right soft wide-only"),
        cell(plan.executions, "right strong wide-only"),
        cell(plan.dates, "soft wide-only"),
        cell(
            rx.cond(
                plan.is_open,
                rx.cond(
                    plan.is_paused,
                    row_button(
                        "Resume",
                        plan.name,
                        State.ask("resume", plan.plan_id, plan.name),
                        Action.RESUME,
                    ),
                    row_button(
                        "Pause",
                        plan.name,
                        State.ask("pause", plan.plan_id, plan.name),
                        Action.PAUSE,
                    ),
                ),
            ),
            "right",
        ),
        key=plan.plan_id,
    )


def ledger() -> rx.Component:
    """Every event, newest first."""
    return listing(
        "Ledger",
        (
            Column("Time (UTC)", LedgerSort.AT, is_wide_only=True),
            Column("Event", is_wide_only=True),
            Column("Workflow", is_lead=True),
            Column("User", is_wide_only=True),
            Column("Kind", is_wide_only=True),
            Column("Executions", is_right=True),
            Column("Balance after", is_right=True, is_wide_only=True),
            Column(ACTIONS, is_right=True),
        ),
        rows=State.events,
        row=_event,
        paging=LEDGER,
        tools=(
            _workflows(LEDGER),
            filter_select(LEDGER, names.KIND, "Kind", KINDS),
            search_box(LEDGER, names.USER, "User", "User ID", is_small=True),
            filter_days(LEDGER, FIRST_DAY, LAST_DAY),
        ),
        when_empty=empty(
            icon="activity", title="No events yet", text="Events appear here as they happen."
        ),
    )


def _event(row: ObjectVar[LedgerLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.at, "soft wide-only"),
        id_cell(row.event_id),
        lead_cell(row.workflow, row.at, "strong clip"),
        cell(row.user, "soft clip wide-only"),
        cell(_kind(row), "soft wide-only"),
        cell(row.executions, "right strong"),
        cell(row.remaining, "right soft wide-only"),
        cell(
            rx.cond(
                row.can_refund,
                row_button(
                    "Refund", row.event_id, State.ask("refund", row.event_id, ""), Action.REFUND
                ),
                rx.cond(row.refunded != "", badge(row.refunded, "good")),
            ),
            "right",
        ),
        key=row.event_id,
        class_name=rx.cond(row.is_new, "arrived", ""),
    )


def _kind(row: ObjectVar[LedgerLine]) -> rx.Component:
    """How much of an event was refunded."""
    kind = rx.cond(row.tone != "", badge(row.kind, row.tone), row.kind)
    return rx.cond(row.can_refund & (row.refunded != ""), badge(row.refunded, "good"), kind)


def holds() -> rx.Component:
    """Reservations and their outcome."""
    return listing(
        "Reservations",
        (
            Column("Created (UTC)", ReservationSort.BEGUN, is_wide_only=True),
            Column("Reservation", is_wide_only=True),
            Column("Workflow", is_lead=True),
            Column("User", is_wide_only=True),
            Column("Status", ReservationSort.STATUS),
            Column("Executions", is_right=True),
            Column("Settled or expires (UTC)", is_right=True, is_wide_only=True),
        ),
        rows=State.holds,
        row=_hold,
        paging=HOLDS,
        tools=(
            filter_select(HOLDS, names.STATE, "Status", HOLDS_STATES),
            _workflows(HOLDS),
            search_box(HOLDS, names.USER, "User", "User ID", is_small=True),
            filter_days(HOLDS, FIRST_DAY, LAST_DAY),
        ),
        when_empty=empty(
            icon="hourglass",
            title="No reservations",
            text="They appear when a service reserves executions before running them.",
        ),
    )


def _hold(row: ObjectVar[HoldLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.created, "soft wide-only"),
        id_cell(row.reservation_id),
        lead_cell(row.workflow, row.created, "strong clip"),
        cell(row.user, "soft clip wide-only"),
        cell(badge(row.status, row.tone)),
        cell(row.executions, "right strong"),
        cell(row.ends, "right soft wide-only"),
        key=row.reservation_id,
    )


def _workflows(paging: Paging) -> rx.Component:
    """A workflow of the last thirty days."""
    return select(
        "Workflow",
        options=[
            rx.el.option("All workflows", value=ALL),
            rx.foreach(State.workflows, _workflow),
        ],
        value=paging.chosen(names.WORKFLOW),
        on_change=paging.on_filter(names.WORKFLOW),
    )


def _workflow(option: ObjectVar[FilterOption]) -> rx.Component:
    return rx.el.option(option.label, value=f"{names.NAMED_PREFIX}{option.value}")
