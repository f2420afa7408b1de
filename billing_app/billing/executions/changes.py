"""What a batch of decisions changes, as rows to be written in one transaction."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

import msgspec

from billing_app.billing.executions.state import (
    EPOCH,
    MICROSECOND,
    AccountState,
    PlanBalance,
    ReservationState,
)
from billing_app.db.enums import DenialReason, EventKind, ReservationStatus

UsageKey = tuple[int, str, str]
"""Account, workflow, user."""

OverageKey = tuple[int, int]
"""Account, plan sequence."""

Share = tuple[PlanBalance, int]
"""A plan's part of an event; negative when it is given back."""


class DenialKey(NamedTuple):
    account_id: int
    workflow: str
    user_id: str
    reason: DenialReason


class EventRow(msgspec.Struct, gc=False):
    """Columns of `execution_events` in the order of the insert; `occurred_at` is the batch's."""

    account_id: int
    number: int
    plan_sequence: int
    kind: EventKind
    executions: int
    plan_used_after: int
    remaining_after: int
    workflow: str
    user_id: str
    idempotency_key: str
    api_key_id: int | None
    refers_to: int | None
    reason: str


class KeyRow(msgspec.Struct, gc=False):
    account_id: int
    key: str
    request_hash: bytes
    answer: bytes


class ReservationRow(NamedTuple):
    account_id: int
    number: int
    executions: int
    workflow: str
    user_id: str
    idempotency_key: str
    api_key_id: int | None
    expires_at: datetime


class HoldRow(NamedTuple):
    account_id: int
    reservation_number: int
    plan_sequence: int
    executions: int


class SettledRow(NamedTuple):
    account_id: int
    number: int
    status: ReservationStatus
    settled_at: datetime
    event_number: int | None


class EventFields(msgspec.Struct, gc=False):
    """What all rows of one event share."""

    kind: EventKind
    workflow: str
    user_id: str
    idempotency_key: str = ""
    api_key_id: int | None = None
    refers_to: int | None = None
    reason: str = ""


class Changes:
    def __init__(self, now: datetime) -> None:
        self.now = now
        self.now_microseconds = (now - EPOCH) // MICROSECOND
        self.events: list[EventRow] = []
        self.keys: list[KeyRow] = []
        self.reservations: list[ReservationRow] = []
        self.holds: list[HoldRow] = []
        self.settled: list[SettledRow] = []
        self.used: defaultdict[UsageKey, int] = defaultdict(int)
        self.refunded: defaultdict[UsageKey, int] = defaultdict(int)
        self.overage_used: defaultdict[OverageKey, int] = defaultdict(int)
        self.overage_refunded: defaultdict[OverageKey, int] = defaultdict(int)
        self.denied: defaultdict[DenialKey, int] = defaultdict(int)

    def add_event(
        self, account: AccountState, shares: list[Share], fields: EventFields, left: int
    ) -> int:
        """Write an event with a row for each plan's share, and count it in its day."""
        number = account.next_number(self.now_microseconds)
        for plan, executions in shares:
            self.events.append(
                EventRow(
                    account.id,
                    number,
                    plan.sequence,
                    fields.kind,
                    executions,
                    plan.used,
                    left,
                    fields.workflow,
                    fields.user_id,
                    fields.idempotency_key,
                    fields.api_key_id,
                    fields.refers_to,
                    fields.reason,
                )
            )
            self._count((account.id, fields.workflow, fields.user_id), executions)
            if plan.is_overage:
                self._count_overage((account.id, plan.sequence), executions)
        return number

    def settle(
        self,
        reservation: ReservationState,
        status: ReservationStatus,
        *,
        at: datetime,
        event_number: int | None = None,
    ) -> None:
        reservation.status = status
        self.settled.append(
            SettledRow(reservation.account_id, reservation.number, status, at, event_number)
        )

    def _count(self, key: UsageKey, executions: int) -> None:
        if executions >= 0:
            self.used[key] += executions
        else:
            self.refunded[key] -= executions

    def _count_overage(self, key: OverageKey, executions: int) -> None:
        if executions >= 0:
            self.overage_used[key] += executions
        else:
            self.overage_refunded[key] -= executions
