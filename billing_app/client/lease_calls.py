"""What leases send and get: bodies, answers and routes, named as in the HTTP contract."""

from datetime import date, datetime
from typing import Final

import msgspec

from .answers import Figures, PlanBrief
from .routes import Operation, Route


class OpenLease(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_id: str
    executions: int
    user_id: str | None = None
    at_least: int | None = None
    workflow: str | None = None
    seconds: int | None = None


class Total(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`executions`: decided since the lease was opened."""

    day: date
    executions: int
    workflow: str | None = None
    user_id: str | None = None


class Renew(msgspec.Struct, frozen=True):
    executions: int
    seconds: int


class SettleLease(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    token: str
    totals: list[Total] = []
    sequence: int = 0
    renew: Renew | None = None
    close: bool = False


class LeaseBrief(msgspec.Struct, frozen=True):
    """`status`: open, expired, closed or freed. `executions`: held in all."""

    id: str
    status: str
    executions: int
    executions_settled: int
    opened_at: datetime
    expires_at: datetime
    settle_until: datetime


class LeaseAnswer(Figures, frozen=True, kw_only=True):
    lease: LeaseBrief
    token: str
    plan: PlanBrief


class CountedLine(msgspec.Struct, frozen=True):
    event_id: str
    workflow: str | None
    user_id: str | None
    day: date
    executions: int


class LeaseSettlement(Figures, frozen=True, kw_only=True):
    lease: LeaseBrief
    token: str
    executions: int
    executions_renewed: int
    executions_released: int
    denied_because: str | None
    events: list[CountedLine]


OPEN_LEASE: Final = Route("POST", "/billing/leases", LeaseAnswer, body=OpenLease, takes_key=True)
SETTLE_LEASE: Final = Route(
    "POST", "/billing/leases/{lease_id}/settle", LeaseSettlement, body=SettleLease
)


def open_lease(body: OpenLease, key: str) -> Operation[LeaseAnswer]:
    return OPEN_LEASE.operation(body=body, key=key)


def settle_lease(lease_id: str, body: SettleLease) -> Operation[LeaseSettlement]:
    return SETTLE_LEASE.operation(lease_id, body=body)
