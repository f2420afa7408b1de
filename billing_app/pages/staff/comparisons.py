"""Reconciliation with Stripe: the last one's differences, and those before it."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.operations.reconciliations import DifferenceSort, ReconciliationSort
from billing_app.components.feedback import empty
from billing_app.components.listing import Column, Paging, filter_select, listing
from billing_app.components.numbers import badge
from billing_app.components.tables import cell
from billing_app.states.staff import operations as names
from billing_app.states.staff.listing import ALL, NO, YES
from billing_app.states.staff.operations import StaffOperationsState as State
from billing_app.states.staff.views import ComparisonLine, DifferenceLine

DIFFERENCES = Paging(State, names.DIFFERENCES)
COMPARISONS = Paging(State, names.COMPARISONS)
WHATS = (
    (ALL, "All objects"),
    ("subscription", "Subscriptions"),
    ("invoice", "Invoices"),
    ("customer", "Customers"),
    ("checkout", "Checkouts"),
    ("intent", "Provider requests"),
    ("event", "Events"),
    ("overage", "Overage"),
    ("installation", "This installation"),
)


def comparing() -> rx.Component:
    return rx.fragment(_differences(), _comparisons())


def _differences() -> rx.Component:
    return listing(
        "Differences",
        (
            Column("Account", DifferenceSort.ACCOUNT),
            Column("Object", DifferenceSort.WHAT),
            Column("Stripe ID", is_wide_only=True),
            Column("At Stripe", is_wide_only=True),
            Column("Here"),
            Column("Status", DifferenceSort.HEALED),
        ),
        rows=State.differences,
        row=_difference,
        paging=DIFFERENCES,
        tools=(
            filter_select(
                DIFFERENCES,
                names.STATE,
                "Status",
                ((ALL, "Any status"), (NO, "Open"), (YES, "Repaired")),
            ),
            filter_select(DIFFERENCES, names.WHAT, "Object", WHATS),
        ),
        when_empty=empty(
            icon="scale",
            title=rx.cond(
                State.last_began != "",
                "No differences found",
                "Not reconciled yet",
            ),
            text=rx.cond(
                State.last_began != "",
                "Stripe and this database agree.",
                "Reconciliation runs every hour. You can also start it now.",
            ),
        ),
        title="Differences found last time",
        note=rx.cond(State.last_began != "", f"Started {State.last_began} UTC", "Not run yet"),
        actions=[
            rx.cond(
                State.allowed.contains(Action.RECONCILE.value),
                rx.el.button(
                    rx.icon("play", aria_hidden="true"),
                    "Reconcile now",
                    type="button",
                    class_name="button",
                    on_click=State.ask(names.RECONCILE, ""),
                ),
            )
        ],
    )


def _comparisons() -> rx.Component:
    return listing(
        "Reconciliations",
        (
            Column("Started (UTC)", ReconciliationSort.BEGAN),
            Column("Mode"),
            Column("Result", ReconciliationSort.DIFFERENCES),
        ),
        rows=State.comparisons,
        row=_comparison,
        paging=COMPARISONS,
        tools=(
            filter_select(
                COMPARISONS,
                names.KIND,
                "Mode",
                ((ALL, "Any mode"), (NO, "Repair"), (YES, "Report only")),
            ),
            filter_select(
                COMPARISONS,
                names.OUTCOME,
                "Result",
                ((ALL, "Any result"), (YES, "With differences"), (NO, "No differences")),
            ),
        ),
        when_empty=empty(
            icon="history", title="No reconciliations yet", text="One runs every hour."
        ),
        title="Reconciliations",
        note=rx.cond(State.last_began != "", State.whole_since, ""),
    )


def _comparison(row: ObjectVar[ComparisonLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.began, "soft"),
        cell(row.kind, "soft"),
        cell(badge(row.outcome, row.tone)),
        key=row.began,
    )


def _difference(row: ObjectVar[DifferenceLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.cond(
                row.account_id != "",
                rx.link(
                    "Open account",
                    href=f"{routes.STAFF_CUSTOMERS}/{row.account_id}",
                    class_name="text-link",
                ),
                "—",
            )
        ),
        cell(row.what, "strong"),
        cell(rx.el.code(row.provider_id, class_name="code"), "soft wide-only"),
        cell(row.theirs, "wide-only"),
        cell(row.ours),
        cell(badge(row.state, row.tone)),
        key=row.row,
    )
