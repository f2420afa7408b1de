"""UsageStats: how much was used, when, by which workflow and user."""

from collections.abc import Sequence

import reflex as rx
from reflex.vars import ArrayVar, ObjectVar

from billing_app import routes
from billing_app.billing.usage.service import GroupBy
from billing_app.components.cards import bare_card, card, columns, live_indicator, page_head
from billing_app.components.charts.chart import chart, legend
from billing_app.components.controls import date_range, native_link, pager, segments, select
from billing_app.components.feedback import empty, notice
from billing_app.components.numbers import stat, stats
from billing_app.components.tables import cell, table
from billing_app.db.enums import EventKind
from billing_app.pages.events import (
    EVENT_HEADS,
    EVENT_HEADS_RIGHT,
    EVENT_HEADS_WIDE_ONLY,
    event_row,
)
from billing_app.pages.frame import frame
from billing_app.states.formatting import KINDS
from billing_app.states.usage_stats import ALL, COMMA, SEMICOLON
from billing_app.states.usage_stats import UsageStatsState as State
from billing_app.states.views import DayRow, FilterOption

CHART_HEIGHT_PX = 300
SMALL_CHART_HEIGHT_PX = 322
PRESETS = (("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "1 year"))
GROUPS = ((GroupBy.WORKFLOW.value, "Workflow"), (GroupBy.USER.value, "User"))


def usage_stats() -> rx.Component:
    """Charts and tables for a range of days."""
    return frame(
        rx.fragment(
            page_head("Usage", State.account.name, live_indicator(is_broken=State.is_broken)),
            _range(),
            rx.cond(
                State.range_problem != "",
                notice(tone="warning", title="Invalid date range", text=State.range_problem),
            ),
            rx.cond(
                State.not_kept != "",
                notice(tone="", title="Usage is not kept for ever", text=State.not_kept),
            ),
            _totals(),
            _per_day(),
            columns(_cumulative(), _days(), even=True),
            _events(),
        ),
        path=routes.USAGE,
        state=State,
    )


def _range() -> rx.Component:
    return rx.el.div(
        segments("Date range", PRESETS, chosen=State.preset, on_choose=State.choose_preset),
        date_range(
            first=State.first_day,
            last=State.last_day,
            latest=State.today,
            on_first=State.choose_first,
            on_last=State.choose_last,
        ),
        select(
            "Workflow",
            options=_options("All workflows", State.workflows),
            value=State.workflow,
            on_change=State.filter_workflow,
        ),
        select(
            "User",
            options=_options("All users", State.users),
            value=State.user,
            on_change=State.filter_user,
        ),
        rx.cond(_is_filtered(), _clear_filters()),
        class_name="controls",
    )


def _is_filtered() -> rx.Var[bool]:
    return (State.workflow != ALL) | (State.user != ALL)


def _clear_filters() -> rx.Component:
    return rx.el.button(
        "Clear filters", type="button", class_name="button", on_click=State.clear_filters
    )


def _totals() -> rx.Component:
    return bare_card(
        stats(
            stat("Executions", State.total.value, State.total.hint),
            stat("Average", State.average.value, State.average.hint),
            stat("Busiest day", State.peak.value, State.peak.hint),
            stat("Refused", State.denied.value, State.denied.hint),
            in_row=True,
        )
    )


def _per_day() -> rx.Component:
    return card(
        rx.cond(
            State.keys.length() > 0,
            rx.fragment(
                chart(
                    State.figure,
                    label=f"Executions per day by {State.group_by}, {State.total.value} in total",
                    height_px=CHART_HEIGHT_PX,
                ),
                legend(State.keys),
            ),
            _no_executions(action=_clear_filters()),
        ),
        title="Executions per day",
        note="UTC days; diamonds mark refunds",
        actions=[segments("Stack by", GROUPS, chosen=State.group_by, on_choose=State.choose_group)],
    )


def _cumulative() -> rx.Component:
    return card(
        rx.cond(
            State.keys.length() > 0,
            chart(
                State.added_up,
                label=f"{State.cumulative_title}: {State.cumulative_note}",
                height_px=SMALL_CHART_HEIGHT_PX,
            ),
            _no_executions(),
        ),
        title=State.cumulative_title,
        note=State.cumulative_note,
    )


def _no_executions(*, action: rx.Component | None = None) -> rx.Component:
    """`action` is offered where filters match nothing."""
    return rx.cond(
        _is_filtered(),
        empty(
            icon="search",
            title="No matching executions",
            text="Nothing in this range matches these filters.",
            action=action,
        ),
        empty(
            icon="chart-column",
            title="No executions in this range",
            text="Choose a longer range, or wait for the next execution.",
        ),
    )


def _days() -> rx.Component:
    return card(
        table(
            "Days",
            ("Day", "Used", "Refunded", "Net", "Refused"),
            rows=State.days,
            row=_day,
            right=("Used", "Refunded", "Net", "Refused"),
            wide_only=("Used",),
            when_empty=_no_executions(),
        ),
        pager(
            State.days_page,
            has_older=State.has_older_days,
            on_newer=State.show_newer_days,
            on_older=State.show_older_days,
        ),
        title="Days",
        note="Only days with activity",
        flush=True,
    )


def _day(row: ObjectVar[DayRow]) -> rx.Component:
    return rx.el.tr(
        cell(row.day),
        cell(row.used, "right soft wide-only"),
        cell(row.refunded, "right soft"),
        cell(row.net, "right strong"),
        cell(row.denied, "right soft"),
        key=row.day,
    )


def _events() -> rx.Component:
    is_filtered = _is_filtered() | (State.kind != ALL)
    return rx.el.div(
        card(
            table(
                "Events",
                EVENT_HEADS,
                rows=State.events,
                row=event_row,
                right=EVENT_HEADS_RIGHT,
                wide_only=EVENT_HEADS_WIDE_ONLY,
                when_empty=empty(
                    icon="search",
                    title=rx.cond(is_filtered, "No matching events", "No events in this range"),
                    text=rx.cond(
                        State.events_problem,
                        f"{State.events_problem} Choose a later first day.",
                        rx.cond(
                            is_filtered,
                            "Remove a filter or choose other days.",
                            "Choose other days, or wait for the next execution.",
                        ),
                    ),
                ),
            ),
            pager(
                State.events_page,
                has_older=State.has_older_events,
                on_newer=State.show_newer_events,
                on_older=State.show_older_events,
            ),
            title="Events",
            note="The ledger for this range, newest first",
            actions=_filters(),
            flush=True,
        ),
        id="events",
    )


def _filters() -> list[rx.Component]:
    return [
        select(
            "Kind",
            options=[
                rx.el.option("All kinds", value=ALL),
                *[rx.el.option(KINDS[kind], value=kind.value) for kind in EventKind],
            ],
            value=State.kind,
            on_change=State.filter_kind,
        ),
        select(
            "Column separator",
            options=[
                rx.el.option("Commas", value=COMMA),
                rx.el.option("Semicolons", value=SEMICOLON),
            ],
            value=State.separator,
            on_change=State.choose_separator,
        ),
        native_link(
            rx.icon("download", aria_hidden="true"),
            "CSV",
            href=State.export_url,
            class_name="button",
            download=True,
        ),
    ]


def _options(all_label: str, values: ArrayVar[Sequence[FilterOption]]) -> list[rx.Component]:
    return [
        rx.el.option(all_label, value=ALL),
        rx.foreach(values, lambda option: rx.el.option(option.label, value=option.value)),
    ]
