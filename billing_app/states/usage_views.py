"""Turns usage rows into charts, legends and table rows."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Final

import pandas as pd

from billing_app.billing.actors import PersonActor, PortalActor, StaffActor, UserActor
from billing_app.billing.usage.service import DailyRow, Days, EventView
from billing_app.components.charts.executions import (
    MAX_SERIES,
    OTHERS,
    YOU,
    by_day_and_group,
    label_of,
    running_sums,
)
from billing_app.db.enums import EventKind
from billing_app.states import formatting
from billing_app.states.views import DayRow, EventRow, SeriesKey

Reader = PersonActor | StaffActor
DECIMAL_BELOW: Final = 10
LEAST_AVERAGE: Final = 0.1
KIND_TONES: Final = {
    EventKind.CONSUME: "",
    EventKind.COMMIT: "accent",
    EventKind.REFUND: "good",
    EventKind.ADJUSTMENT: "warning",
}


def days_table(
    rows: list[DailyRow], first: date, last: date, label: Callable[[str], str] = label_of
) -> pd.DataFrame:
    """Net executions: a row for each day, a column for each group that used any, by its label."""
    return _table(
        [
            (row.day, label(row.group), row.used - row.refunded)
            for row in rows
            if row.used or row.refunded
        ],
        first,
        last,
    )


def used_table(
    rows: list[DailyRow], first: date, last: date, label: Callable[[str], str] = label_of
) -> pd.DataFrame:
    """As days_table, without refunds: what was used on a day may be refunded on another."""
    return _table([(row.day, label(row.group), row.used) for row in rows if row.used], first, last)


def refunded_by_day(rows: list[DailyRow], first: date, last: date) -> list[int]:
    """Of every day from first to last."""
    by_day: dict[date, int] = {}
    for row in rows:
        by_day[row.day] = by_day.get(row.day, 0) + row.refunded
    days = pd.date_range(first, last, freq="D")
    return [by_day.get(day.date(), 0) for day in days]


def used_text(rows: list[DailyRow]) -> str:
    """1,200 used; 1,200 used, 30 refunded"""
    used, refunded = sum(row.used for row in rows), sum(row.refunded for row in rows)
    more = f", {formatting.number(refunded)} refunded" if refunded else ""
    return f"{formatting.number(used)} used{more}"


def average_text(net: int, days: int) -> str:
    """Executions per day: whole from 10 on, with one decimal below."""
    average = net / days
    if 0 < average < LEAST_AVERAGE:
        return f"< {LEAST_AVERAGE}"
    if abs(average) >= DECIMAL_BELOW or net % days == 0:
        return formatting.number(round(average))
    return f"{average:.1f}"


def past_retention(days: Days, kept_from: date | None) -> str:
    """What to know of a range that begins before usage is kept; "" otherwise."""
    if kept_from is None or days.first >= kept_from:
        return ""
    return f"Usage before {formatting.day(kept_from)} is past its retention and may be missing."


def _table(counts: list[tuple[date, str, int]], first: date, last: date) -> pd.DataFrame:
    frame = pd.DataFrame(counts, columns=["day", "group", "executions"])
    return by_day_and_group(frame, first=pd.Timestamp(first), last=pd.Timestamp(last))


def series_keys(table: pd.DataFrame) -> list[SeriesKey]:
    """The legend, most used first and OTHERS last; colours in the order of the stack."""
    sums = {str(group): int(table[group].sum()) for group in table.columns}
    slots = {name: MAX_SERIES if name == OTHERS else slot for slot, name in enumerate(sums)}
    order = sorted(sums, key=lambda name: (name == OTHERS, -sums[name]))
    return [SeriesKey(name, formatting.number(sums[name]), slots[name]) for name in order]


def used_before(table: pd.DataFrame, used: int) -> int | None:
    """The start value with which the running sum of `table` ends at `used`; None if there is none.

    Negative if plans that ended on the first day took part of that day's usage.
    """
    before = used - int(table.to_numpy().sum())
    return before if min(running_sums(table, before), default=0) >= 0 else None


def day_rows(rows: list[DailyRow]) -> list[DayRow]:
    """A row for each day with activity, newest first."""
    days: dict[date, list[DailyRow]] = {}
    for row in rows:
        days.setdefault(row.day, []).append(row)
    return [_day_row(day, days[day]) for day in sorted(days, reverse=True)]


def person(user_id: str, viewer: Reader) -> str:
    """The user's id, or "You" for the viewer's own; staff are never "You"."""
    own_id = viewer.user_id if isinstance(viewer, UserActor) else ""
    if isinstance(viewer, PortalActor):
        own_id = viewer.person_id
    is_viewer = bool(own_id) and user_id == own_id
    return YOU if is_viewer else label_of(user_id)


def event_rows(events: list[EventView], shown: list[EventRow], viewer: Reader) -> list[EventRow]:
    """The rows of a table; the same list if nothing changed. `is_new` marks new rows on top."""
    if [event.id for event in events] == [row.event_id for row in shown]:
        return shown
    rows = [_event_row(event, viewer) for event in events]
    if not shown:
        return rows
    tops = [index for index, row in enumerate(rows) if row.event_id == shown[0].event_id]
    count_new = tops[0] if tops else 0
    return [replace(row, is_new=index < count_new) for index, row in enumerate(rows)]


def _event_row(event: EventView, viewer: Reader) -> EventRow:
    return EventRow(
        event_id=event.id,
        at=formatting.exact_moment(event.occurred_at),
        workflow=label_of(event.workflow),
        user=person(event.user_id, viewer) if event.user_id else "—",
        executions=formatting.number(event.executions),
        kind=formatting.KINDS[event.kind],
        tone=KIND_TONES[event.kind],
        remaining=formatting.number(event.remaining_after),
    )


def _day_row(day: date, rows: list[DailyRow]) -> DayRow:
    used = sum(row.used for row in rows)
    refunded = sum(row.refunded for row in rows)
    return DayRow(
        day=f"{formatting.short_day(day)} {day.year}",
        used=formatting.number(used),
        refunded=formatting.number(refunded),
        net=formatting.number(used - refunded),
        denied=formatting.number(sum(row.denied for row in rows)),
    )
