"""Time stamps of reports to the meter. Pure.

A meter is read in full minutes, so each report gets a minute of its own where possible: whether it
arrived can then be read from the meter. The minutes in which a period begins and ends are not used.
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
    """The latest possible minute in the period and on the day that no other report has.

    What was counted on a day after the period (a late commit) goes to its last minutes. In the
    first minute of a period it is the next minute: a meter accepts five minutes ahead.
    """
    earliest, end = minutes_of(period)
    latest = end - MINUTE
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
    """The full minutes of a period as [first, end); at least one."""
    first = datetime.fromtimestamp(-(-period.start.timestamp() // 60) * 60, UTC)
    return first, max(minute_of(period.end), first + MINUTE)


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
