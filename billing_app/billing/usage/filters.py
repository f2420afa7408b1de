"""Which usage and which events are read."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from billing_app.db.enums import EventKind


def start_of(day: date) -> datetime:
    """Midnight at the start of a UTC day."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage; None: all. "" means usage without a workflow, or without a user."""

    workflow: str | None = None
    user_id: str | None = None

    @property
    def values(self) -> dict[str, str]:
        """The values of the columns that are filtered."""
        named = {"workflow": self.workflow, "user_id": self.user_id}
        return {name: value for name, value in named.items() if value is not None}


ALL_USAGE: Final = UsageFilter()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None: all. `workflow` "" means events without one.

    `first` and `last` are UTC days, both included; None: no limit.
    """

    kind: EventKind | None = None
    workflow: str | None = None
    user_id: str | None = None
    first: date | None = None
    last: date | None = None

    @property
    def since(self) -> datetime | None:
        return start_of(self.first) if self.first else None

    @property
    def until(self) -> datetime | None:
        """The moment after the last day."""
        return start_of(self.last) + timedelta(days=1) if self.last else None
