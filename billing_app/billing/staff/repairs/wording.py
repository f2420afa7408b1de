"""Numbers and days in what audit entries say."""

from datetime import datetime, timedelta


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def last_day(moment: str) -> str:
    """The last day of what ends at a stored moment: a plan that ends at midnight is valid through
    the day before."""
    last = datetime.fromisoformat(moment) - timedelta(microseconds=1)
    return last.date().isoformat()
