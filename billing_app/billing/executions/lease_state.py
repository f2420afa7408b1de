"""A lease as a decision reads it, and the rows that it changes.

A lease is a reservation that is committed line by line: its reservation expires when its settle
window is over.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from billing_app.billing.executions.event_rows import EventRow, Part


class LineKey(NamedTuple):
    """What the counted executions of a lease are split by; `day` is in UTC."""

    workflow: str
    user_id: str
    day: date


class LeaseState(msgspec.Struct):
    """`executions`: what it has held in all. `settled` of them are counted, `parts` are still held.

    `unsettled`: the most that a report said beyond what could be counted, first at `unsettled_at`.
    `status`, `settle_until`, `workflow`, `user_id` and `idempotency_key` are its reservation's.
    """

    account_id: int
    number: int
    secret: str
    executions: int
    settled: int
    sequence: int
    unsettled: int
    unsettled_at: datetime | None
    opened_at: datetime
    expires_at: datetime
    status: str
    settle_until: datetime
    workflow: str
    user_id: str
    idempotency_key: str
    parts: list[Part] = []
    lines: dict[LineKey, int] = {}

    @property
    def rest(self) -> int:
        """Held and not counted yet."""
        return self.executions - self.settled


class LeaseRow(NamedTuple):
    """A new lease. Columns of `leases` in insert order."""

    account_id: int
    number: int
    secret: str
    executions: int
    expires_at: datetime


class LeaseChanges:
    """Rows of leases, and events that are counted on the day on which they happened."""

    def __init__(self) -> None:
        self.opened: list[LeaseRow] = []
        self.changed: dict[tuple[int, int], LeaseState] = {}
        self.lines: dict[tuple[int, int, LineKey], int] = {}
        self.parts: dict[tuple[int, int, int], int] = {}
        self.past_events: list[tuple[EventRow, datetime]] = []
        self.past_used: defaultdict[tuple[int, LineKey], int] = defaultdict(int)
        self.past_overage: defaultdict[tuple[int, int, date], int] = defaultdict(int)

    def __bool__(self) -> bool:
        return bool(self.opened or self.changed)

    def hold(self, lease: LeaseState, plan_sequence: int, executions: int) -> None:
        """What the lease holds of a plan is now so much; 0: nothing."""
        self.parts[lease.account_id, lease.number, plan_sequence] = executions

    def count(self, lease: LeaseState, key: LineKey, executions: int) -> None:
        lease.lines[key] = executions
        self.lines[lease.account_id, lease.number, key] = executions

    def lease_rows(self) -> Iterator[tuple[Any, ...]]:
        for lease in self.changed.values():
            yield (
                lease.account_id,
                lease.number,
                lease.executions,
                lease.settled,
                lease.sequence,
                lease.unsettled,
                lease.unsettled_at,
                lease.expires_at,
                lease.settle_until,
            )

    def line_rows(self) -> Iterator[tuple[Any, ...]]:
        for (account_id, number, key), executions in self.lines.items():
            yield account_id, number, *key, executions

    def event_rows(self) -> Iterator[tuple[Any, ...]]:
        for event, occurred_at in self.past_events:
            yield *astuple(event), occurred_at

    def used_rows(self) -> Iterator[tuple[Any, ...]]:
        for (account_id, key), executions in sorted(self.past_used.items()):
            yield account_id, *key, executions

    def overage_rows(self) -> Iterator[tuple[Any, ...]]:
        for key, executions in sorted(self.past_overage.items()):
            yield *key, executions
