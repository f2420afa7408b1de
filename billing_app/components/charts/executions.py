"""Figures of executions over days."""

from datetime import date, timedelta
from typing import Final

import pandas as pd
import plotly.graph_objects as go

from billing_app.components.charts.template import BOTTOM_PX, LIMIT_COLOUR, base_layout

MAX_SERIES: Final = 6
FEW: Final = 4
OTHERS: Final = "Others"
UNNAMED: Final = "Not named"
FEW_DAYS: Final = 7
SECOND_LINE_PX: Final = 16


def by_day_and_group(
    frame: pd.DataFrame, *, first: pd.Timestamp, last: pd.Timestamp
) -> pd.DataFrame:
    """Every day from first to last by group, most used group first; small groups are summed.

    `frame` has the columns day, group, executions. More than MAX_SERIES groups keep the largest
    ones and put the rest together as OTHERS, last.
    """
    days = pd.date_range(first, last, freq="D")
    if frame.empty:
        return pd.DataFrame(index=days)
    table = frame.pivot_table(index="day", columns="group", values="executions", aggfunc="sum")
    table.index = pd.DatetimeIndex(table.index)
    table = table.reindex(days).fillna(0).astype("int64")
    table = table.rename(columns={"": UNNAMED})
    order = table.sum().sort_values(ascending=False, kind="stable").index
    table = table[order]
    if len(order) > MAX_SERIES:
        others = table[order[MAX_SERIES:]].sum(axis="columns")
        table = table[order[:MAX_SERIES]].assign(**{OTHERS: others})
    return table


def executions_per_day(table: pd.DataFrame) -> go.Figure:
    """Stacked bars: a row of `table` is a day, a column is a group, in the order of the stack."""
    days = _days(table)
    bars = [
        go.Bar(
            name=str(group),
            x=days,
            # A day without executions has no bar, and no line in the hover's list either.
            y=[count or None for count in table[group].tolist()],
            hovertemplate="%{y:,}",
            marker={"line": {"width": 0}},
        )
        for group in table.columns
    ]
    figure = go.Figure(bars, base_layout())
    figure.update_layout(barmode="relative")
    _date_axis(figure, days)
    figure.update_yaxes(tickformat="~s")
    return figure


def counts_per_day(table: pd.DataFrame) -> go.Figure:
    """Bars beside each other: a row of `table` is a day, a column is what was counted."""
    figure = executions_per_day(table)
    figure.update_layout(barmode="group")
    few = table.empty or int(table.to_numpy().max()) <= FEW
    figure.update_yaxes(tickformat="~d", dtick=1 if few else None)
    return figure


def cumulative(
    table: pd.DataFrame, *, already_used: int = 0, limit: int | None = None
) -> go.Figure:
    """The running sum of all groups on top of `already_used`, and the limit to stay below."""
    days = _days(table)
    sums = (table.sum(axis="columns").cumsum().astype("int64") + already_used).tolist()
    if len(days) == 1:
        # One point is no line: it rises from where the day before ended.
        days = [_day_before(days[0]), *days]
        sums = [already_used, *sums]
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
        figure.add_annotation(
            x=days[-1],
            y=limit,
            text=f"{limit:,} in all",
            showarrow=False,
            xanchor="right",
            yanchor="top",
        )
    _date_axis(figure, days)
    figure.update_yaxes(tickformat="~s")
    return figure


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
        # Left alone, Plotly would divide the days and write each of them several times.
        figure.update_xaxes(tickmode="array", tickvals=days)
