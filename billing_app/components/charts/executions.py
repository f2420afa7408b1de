"""Figures of executions per day."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from billing_app.components.charts.template import BOTTOM_PX, LIMIT_COLOUR, base_layout

MAX_SERIES: Final = 6
FEW: Final = 4
OTHERS: Final = "Other"
UNNAMED: Final = "Unnamed"
YOU: Final = "You"
REFUNDED: Final = "Refunded that day"
OWN_LABELS: Final = frozenset(label.casefold() for label in (OTHERS, UNNAMED, YOU, REFUNDED))
# Dark with a light edge: seen on every bar, and on the background of both themes.
REFUND_COLOUR: Final = "#1c2024"
REFUND_EDGE: Final = "#ffffff"
FEW_DAYS: Final = 7
HALF_DAY: Final = timedelta(hours=12)
LABEL_SHARE: Final = 0.06
SECOND_LINE_PX: Final = 16


def by_day_and_group(
    frame: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp
) -> pd.DataFrame:
    """Every day from first to last by group, sorted by name so that a group keeps its colour.

    `frame` has the columns day, group (a label), executions. Only the MAX_SERIES largest groups
    are kept; the rest are summed as OTHERS, last.
    """
    days = pd.date_range(first, last, freq="D")
    if frame.empty:
        return pd.DataFrame(index=days)
    table = frame.pivot_table(index="day", columns="group", values="executions", aggfunc="sum")
    table.index = pd.DatetimeIndex(table.index)
    table = table.reindex(days).fillna(0).astype("int64")
    largest = table.sum().sort_values(ascending=False, kind="stable").index
    named = table[sorted(largest[:MAX_SERIES], key=_by_name)]
    if len(largest) > MAX_SERIES:
        named[OTHERS] = table[largest[MAX_SERIES:]].sum(axis="columns")
    return named


def label_of(name: str) -> str:
    """A workflow or user as it is shown. A name that reads like one of our own labels is quoted, so
    two groups never share a label."""
    if not name:
        return UNNAMED
    return f"“{name}”" if name.strip("“” ").casefold() in OWN_LABELS else name


def _by_name(group: str) -> tuple[str, str]:
    return group.casefold(), group


def executions_per_day(table: pd.DataFrame, refunded: Sequence[int] = ()) -> go.Figure:
    """Stacked bars: a row of `table` is a day, a column is a group, in stack order. Executions
    `refunded` on each day are marks of their own: they may be of the use of other days."""
    days = _days(table)
    bars = [
        go.Bar(
            name=str(group),
            x=days,
            # None leaves a day without executions out of the hover list.
            y=[count or None for count in table[group].tolist()],
            hovertemplate="%{y:,}",
            marker={"line": {"width": 0}},
        )
        for group in table.columns
    ]
    figure = go.Figure(bars, base_layout())
    if any(refunded):
        figure.add_trace(_refund_marks(days, refunded))
        # Marks would otherwise be given room beside the first and last bar.
        figure.update_xaxes(range=_whole_days(days))
    figure.update_layout(barmode="relative")
    _date_axis(figure, days)
    _whole_ticks(figure, max([*table.sum(axis="columns").tolist(), *refunded], default=0))
    return figure


def _whole_ticks(figure: go.Figure, highest: float) -> None:
    """Between few executions Plotly would put halves: "500m"."""
    few = highest <= FEW
    figure.update_yaxes(tickformat="~d" if few else "~s", dtick=1 if few else None)


def _refund_marks(days: list[str], refunded: Sequence[int]) -> go.Scatter:
    return go.Scatter(
        name=REFUNDED,
        x=days,
        y=[count or None for count in refunded],
        mode="markers",
        marker={
            "symbol": "diamond",
            "size": 11,
            "color": REFUND_COLOUR,
            "line": {"width": 1.5, "color": REFUND_EDGE},
        },
        hovertemplate="%{y:,}",
    )


def counts_per_day(table: pd.DataFrame) -> go.Figure:
    """Grouped bars: a row of `table` is a day, a column is what was counted."""
    figure = executions_per_day(table)
    figure.update_layout(barmode="group")
    few = table.empty or int(table.to_numpy().max()) <= FEW
    figure.update_yaxes(tickformat="~d", dtick=1 if few else None)
    return figure


def cumulative(
    table: pd.DataFrame, *, already_used: int = 0, limit: int | None = None
) -> go.Figure:
    """The running sum of all groups on top of `already_used`, and a line at the limit.

    `already_used` is negative if part of the first day's sum does not count.
    """
    days = _days(table)
    sums = running_sums(table, already_used)
    if len(days) == 1:
        # One point makes no line: start where the day before ended.
        days = [_day_before(days[0]), *days]
        sums = [max(0, already_used), *sums]
    area = go.Scatter(
        name="Executions so far",
        x=days,
        y=sums,
        mode="lines",
        line={"width": 2, "shape": "linear"},
        fill="tozeroy",
        fillcolor="rgba(110, 106, 222, 0.14)",
        hovertemplate="%{y:,}",
    )
    figure = go.Figure([area], base_layout())
    if limit is not None and days:
        figure.add_trace(_limit_line(days, limit))
        # On the left, where the area is lowest.
        figure.add_annotation(
            x=days[0],
            y=limit,
            text=f"{limit:,} in total",
            showarrow=False,
            xanchor="left",
            yanchor="top",
        )
    _date_axis(figure, days)
    if 1 < len(days) <= FEW_DAYS:
        figure.update_xaxes(range=_with_room(days))
    _whole_ticks(figure, max([*sums, limit or 0], default=0))
    return figure


def running_sums(table: pd.DataFrame, already_used: int) -> list[int]:
    """What all groups together had used by the end of each day."""
    return (table.sum(axis="columns").cumsum().astype("int64") + already_used).tolist()


def _whole_days(days: list[str]) -> list[str]:
    """The axis range that bars have by themselves."""
    first, last = datetime.fromisoformat(days[0]), datetime.fromisoformat(days[-1])
    return [(first - HALF_DAY).isoformat(), (last + HALF_DAY).isoformat()]


def _with_room(days: list[str]) -> list[str]:
    """An axis range with room for half of the first and last labels."""
    first, last = datetime.fromisoformat(days[0]), datetime.fromisoformat(days[-1])
    room = LABEL_SHARE * (last - first)
    return [(first - room).isoformat(), (last + room).isoformat()]


def _limit_line(days: list[str], limit: int) -> go.Scatter:
    return go.Scatter(
        name="Limit",
        x=days,
        y=[limit] * len(days),
        mode="lines",
        line={"width": 1.5, "dash": "dot", "color": LIMIT_COLOUR},
        hovertemplate="%{y:,}",
    )


def _days(table: pd.DataFrame) -> list[str]:
    return [day.date().isoformat() for day in pd.DatetimeIndex(table.index)]


def _day_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def _date_axis(figure: go.Figure, days: list[str]) -> None:
    spans_years = len(days) > 120
    figure.update_xaxes(
        type="date",
        tickformat="%b\n%Y" if spans_years else "%-d %b",
        tickangle=0,
        hoverformat="%A, %-d %B %Y",
        nticks=6,
    )
    if spans_years:
        bottom_px = BOTTOM_PX + SECOND_LINE_PX
        figure.update_layout(margin_b=bottom_px, bargap=0.1, barcornerradius=0)
    if len(days) <= FEW_DAYS:
        # Plotly would otherwise divide the days and label each of them several times.
        figure.update_xaxes(tickmode="array", tickvals=days)
