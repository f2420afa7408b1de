"""Billing periods in real calendar months.

Source: https://docs.stripe.com/billing/subscriptions/billing-cycle. An anchor of 31 January bills
on the last day of shorter months and on the 31st of longer ones.
"""

import calendar
from datetime import UTC, datetime, timedelta

DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
_FIXED_SECONDS = {"day": DAY_SECONDS, "week": 7 * DAY_SECONDS}
_MONTHS = {"month": 1, "year": 12}
_MONTH_SECONDS = 30.436875 * DAY_SECONDS


def add_intervals(start: int, interval: str, count: int) -> int:
    """`start` moved by `count` intervals; a day that the month lacks becomes its last day."""
    if interval in _FIXED_SECONDS:
        return start + count * _FIXED_SECONDS[interval]
    moment = datetime.fromtimestamp(start, UTC)
    month_index = moment.year * 12 + moment.month - 1 + count * _MONTHS[interval]
    year, month = divmod(month_index, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    moved = moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))
    return int(moved.timestamp())


def _approximate_seconds(interval: str) -> float:
    return _FIXED_SECONDS.get(interval) or _MONTHS[interval] * _MONTH_SECONDS


def period_around(anchor: int, interval: str, count: int, moment: int) -> tuple[int, int]:
    """The billing period [start, end) around `moment`, aligned with the anchor."""
    index = int((moment - anchor) / (_approximate_seconds(interval) * count)) - 1
    for step in range(index, index + 4):
        start = add_intervals(anchor, interval, step * count)
        end = add_intervals(anchor, interval, (step + 1) * count)
        if start <= moment < end:
            return start, end
    raise AssertionError("every moment lies in a period")


def day_text(moment: int) -> str:
    """`15 Mar 2026`, as Stripe writes days on invoices."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)).strftime("%d %b %Y")
