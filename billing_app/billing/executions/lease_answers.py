"""What callers are told about leases. Names and order of the fields are the HTTP contract's."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from billing_app.billing import ids
from billing_app.db.enums import ReservationStatus


class LeaseStatus(StrEnum):
    """`OPEN` decides; `EXPIRED` decides nothing more and can be settled; `CLOSED` was given back by
    its service; `FREED` was not, and its settle window is over."""

    OPEN = "open"
    EXPIRED = "expired"
    CLOSED = "closed"
    FREED = "freed"


def status_of(
    status: str, *, expires_at: datetime, settle_until: datetime, now: datetime
) -> LeaseStatus:
    """`status` is its reservation's."""
    if status in (ReservationStatus.COMMITTED, ReservationStatus.RELEASED):
        return LeaseStatus.CLOSED
    if now >= settle_until:
        return LeaseStatus.FREED
    return LeaseStatus.OPEN if now < expires_at else LeaseStatus.EXPIRED


@dataclass(frozen=True, slots=True)
class LeaseBrief:
    """`executions`: what it has held in all; `executions_settled` of them are counted."""

    id: str
    status: LeaseStatus
    executions: int
    executions_settled: int
    opened_at: datetime
    expires_at: datetime
    settle_until: datetime


@dataclass(frozen=True, slots=True)
class LeasePlan:
    """The last of the plans that it holds executions of."""

    id: str
    type: str
    name: str


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    lease: LeaseBrief
    token: str
    plan: LeasePlan
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


@dataclass(frozen=True, slots=True)
class CountedLine:
    """The new part of a line: one execution event."""

    event_id: str
    workflow: str | None
    user_id: str | None
    day: date
    executions: int


@dataclass(frozen=True, slots=True)
class LeaseSettlement:
    """`executions` were counted by this report and `executions_renewed` added to the lease.
    `denied_because`: the code of why it was not renewed in full."""

    lease: LeaseBrief
    token: str
    executions: int
    executions_renewed: int
    executions_released: int
    denied_because: str | None
    events: list[CountedLine]
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


def lease_id(account_id: int, number: int) -> str:
    return ids.encode(ids.LEASE, account_id, number)
