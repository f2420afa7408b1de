"""Overview: the figures of all accounts."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.operations.metrics import NearSort
from billing_app.components.cards import bare_card, card, columns, live_indicator, page_head
from billing_app.components.charts.chart import chart, legend
from billing_app.components.controls import native_link, segments
from billing_app.components.feedback import empty
from billing_app.components.listing import Column, Paging, listing
from billing_app.components.numbers import badge, stat, stats
from billing_app.components.tables import cell
from billing_app.pages.staff.frame import console
from billing_app.pages.staff.remaining_cell import remaining_cell
from billing_app.states.staff.overview import NEAR, PRESETS
from billing_app.states.staff.overview import StaffOverviewState as State
from billing_app.states.staff.views import CustomerLine

CHART_HEIGHT_PX = 240
SMALL_CHART_HEIGHT_PX = 200


def staff_overview() -> rx.Component:
    """The figures of docs/reference/metrics.md."""
    return console(
        rx.fragment(
            page_head(
                "Overview",
                "Across all accounts",
                segments(
                    "Days",
                    [(days, f"{days} days") for days in PRESETS],
                    chosen=State.preset,
                    on_choose=State.choose_preset,
                ),
                live_indicator(is_broken=State.is_broken),
            ),
            _trouble(),
            _numbers(),
            _executions(),
            columns(_denials(), _trials(), even=True),
            _near(),
        ),
        path=routes.STAFF,
        state=State,
    )


def _trouble() -> rx.Component:
    """What needs attention, with the lists that show it."""
    return rx.cond(
        State.trouble.length() > 0,
        card(
            rx.el.ul(
                rx.foreach(
                    State.trouble,
                    lambda line: rx.el.li(
                        native_link(
                            line.text,
                            rx.icon("chevron-right", aria_hidden="true"),
                            href=line.href,
                            class_name="trouble-link",
                        )
                    ),
                ),
                class_name="trouble",
            ),
            title="Needs attention",
            note="Listed until resolved",
        ),
    )


def _numbers() -> rx.Component:
    numbers = State.numbers
    return bare_card(
        stats(
            stat("Executions", numbers.executions, numbers.executions_note),
            stat("Refused", numbers.denied, numbers.denied_note),
            stat("Trials started", numbers.trials, numbers.trials_note),
            stat("Trials converted", numbers.converted, numbers.converted_note),
            stat("Revenue this month", numbers.revenue, numbers.revenue_note),
            stat("Subscriptions", numbers.subscriptions, numbers.subscriptions_note),
            stat("Near limit", numbers.near, numbers.near_note),
            stat("Failed payments", numbers.past_due, numbers.past_due_note),
            in_row=True,
        )
    )


def _executions() -> rx.Component:
    return card(
        rx.cond(
            State.has_executions,
            chart(
                State.executions,
                label=f"Executions per day, {State.numbers.executions} in total",
                height_px=CHART_HEIGHT_PX,
            ),
            _nothing("No executions in this range"),
        ),
        title="Executions per day",
        note="UTC days; diamonds mark refunds",
    )


def _denials() -> rx.Component:
    return card(
        rx.cond(
            State.denial_keys.length() > 0,
            rx.fragment(
                chart(
                    State.denials,
                    label=f"Refused requests per day by reason, {State.numbers.denied} in total",
                    height_px=SMALL_CHART_HEIGHT_PX,
                ),
                legend(State.denial_keys),
            ),
            _nothing("No refused requests"),
        ),
        title="Refused requests",
        note="Per day, by reason",
    )


def _trials() -> rx.Component:
    return card(
        chart(
            State.trials,
            label="Trials started and converted per day",
            height_px=SMALL_CHART_HEIGHT_PX,
        ),
        legend(State.trial_keys),
        title="Trials",
        note="Started, and converted by a first purchase",
    )


def _nothing(title: str) -> rx.Component:
    return empty(icon="chart-column", title=title, text="Choose a longer range.")


def _near() -> rx.Component:
    return listing(
        "Near limit",
        (
            Column("Customer"),
            Column("Plan", is_wide_only=True),
            Column("Remaining", NearSort.LEFT, is_right=True),
            Column("Executions", NearSort.EXECUTIONS, is_right=True, is_wide_only=True),
            Column("Status"),
        ),
        rows=State.near,
        row=_account,
        paging=Paging(State, NEAR),
        when_empty=empty(
            icon="gauge",
            title="No accounts near their limit",
            text="Accounts that have used 80% or more appear here.",
        ),
        title="Near limit",
        note="Fewest executions remaining first",
    )


def _account(row: ObjectVar[CustomerLine]) -> rx.Component:
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
        cell(row.plan, "soft clip wide-only"),
        remaining_cell(row),
        cell(row.executions, "right soft wide-only"),
        cell(badge(row.status, row.tone)),
        key=row.account_id,
    )
