"""When a report to the meter is said to have happened. Pure.

A meter is read by full minutes, so each report gets a minute of its own where there is one: then
what became of it can be read off. The minutes in which a period begins and ends are left alone.
"""

from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end) of a plan."""

    start: datetime
    end: datetime


def stamp(period: Period, day: date, now: datetime, taken: Set[datetime]) -> datetime:
    """A minute in the period and on the day, as late as may be, that no other report has.

    What was counted on a day after the period (a reservation that ran on) is of its last minutes.
    In the first minute of a period it is the next one: a meter takes five minutes ahead.
    """
    earliest, over = minutes_of(period)
    latest = over - MINUTE
    midnight = datetime.combine(day, time(), UTC)
    if midnight < period.end:
        earliest = max(earliest, midnight)
        latest = min(latest, midnight + DAY - MINUTE, minute_of(now))
    latest = max(earliest, latest)
    minute = latest
    while minute in taken and minute > earliest:
        minute -= MINUTE
    return latest if minute in taken else minute


def minutes_of(period: Period) -> tuple[datetime, datetime]:
    """The full minutes of a period, from the first to the one after the last; one at least."""
    first = datetime.fromtimestamp(-(-period.start.timestamp() // 60) * 60, UTC)
    return first, max(minute_of(period.end), first + MINUTE)


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
