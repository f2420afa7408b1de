"""What a decision reads, as locked, and the rows that it changes."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from billing_app.billing.alerts.rules import Crossing, Watched
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.event_rows import EventRow, Part
from billing_app.billing.executions.lease_state import LeaseChanges, LeaseState
from billing_app.billing.executions.requests import Caller
from billing_app.billing.executions.reservation_rows import (
    ReservationPartRow,
    ReservationRow,
    SettledRow,
)
from billing_app.db.enums import DenialReason, EndReason, EventKind, ReservationStatus
from billing_app.db.tables.plans import OVERAGE_PRIORITY

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class PlanBalance(msgspec.Struct):
    """A plan's row. `moved`: used or held changed; `turned`: it ended or was reopened."""

    sequence: int
    type: str
    name: str
    executions: int
    used: int
    held: int
    starts_at: datetime
    ends_at: datetime | None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    ended_because: str | None = None
    priority: int = 100
    suspended_at: datetime | None = None
    paused_at: datetime | None = None
    blocked_at: datetime | None = None
    offer_version_id: int | None = None
    moved: bool = False
    turned: bool = False

    @property
    def remaining(self) -> int:
        return self.executions - self.used - self.held

    @property
    def is_overage(self) -> bool:
        """Its executions are billed afterwards. Depleted, it stays open until its period ends."""
        return self.priority == OVERAGE_PRIORITY

    def is_in_period(self, now: datetime) -> bool:
        return (
            self.ended_at is None
            and self.starts_at <= now
            and (self.ends_at is None or now < self.ends_at)
        )

    def is_suspended(self, now: datetime) -> bool:
        """Its payment is overdue and the grace period has ended."""
        return self.suspended_at is not None and self.suspended_at <= now

    def is_usable(self, now: datetime) -> bool:
        """In its period and not stopped: the rule of plans/usable.py, inlined for speed."""
        return (
            self.ended_at is None
            and self.starts_at <= now
            and (self.ends_at is None or now < self.ends_at)
            and (self.suspended_at is None or now < self.suspended_at)
            and self.paused_at is None
            and self.blocked_at is None
        )

    def hold(self, executions: int, now: datetime) -> None:
        self.held += executions
        self._begin(now)

    def release(self, executions: int) -> None:
        self.held -= executions
        self.moved = True

    def use(self, executions: int, now: datetime) -> None:
        self.used += executions
        self._begin(now)
        if self.used == self.executions and self.ended_at is None and not self.is_overage:
            self.end(now, EndReason.DEPLETED)

    def give_back(self, executions: int, now: datetime) -> None:
        """Return used executions; reopen a plan that had ended only because it was depleted."""
        self.used -= executions
        self.moved = True
        in_period = self.ends_at is None or now < self.ends_at
        if self.ended_because == EndReason.DEPLETED and in_period:
            self.ended_at = self.ended_because = None
            self.turned = True

    def end(self, at: datetime, because: EndReason) -> None:
        self.ended_at = at
        self.ended_because = because
        self.turned = True

    def _begin(self, now: datetime) -> None:
        self.moved = True
        self.began_at = self.began_at or now


class AccountState(msgspec.Struct):
    """An account with its plans by sequence: all that are open or hold executions, at least.

    `last_closed` explains a denial when no plan is open. `watched`: for alerts.
    """

    id: int
    organization_id: str
    plans: list[PlanBalance]
    last_closed: PlanBalance | None = None
    last_number: int = 0
    watched: Watched | None = None

    def next_number(self, at_microseconds: int) -> int:
        """A new event or reservation number: microseconds since 1970, raised to be unique."""
        self.last_number = max(self.last_number + 1, at_microseconds)
        return self.last_number

    def plan(self, sequence: int) -> PlanBalance | None:
        for plan in self.plans:
            if plan.sequence == sequence:
                return plan
        return None

    def last(self) -> PlanBalance | None:
        """The newest open plan, or the newest of all when none is open."""
        for plan in reversed(self.plans):
            if plan.ended_at is None:
                return plan
        if self.last_closed is not None:
            # The plan itself, when it is among them: decisions change that one.
            return self.plan(self.last_closed.sequence) or self.last_closed
        return self.plans[-1] if self.plans else None

    def usable(self, now: datetime) -> list[PlanBalance]:
        """Usable plans in the order in which they are used. Do not modify the list."""
        if len(self.plans) == 1:
            return self.plans if self.plans[0].is_usable(now) else []
        return sorted([plan for plan in self.plans if plan.is_usable(now)], key=queue_order)

    def may_be_used_by(self, caller: Caller) -> bool:
        return caller.organization_id in (None, self.organization_id) and (
            caller.account_id in (None, self.id)
        )


def remaining_of(plans: list[PlanBalance]) -> int:
    if len(plans) == 1:
        return plans[0].remaining
    return sum([plan.remaining for plan in plans])


def queue_order(plan: PlanBalance) -> tuple[int, datetime, int]:
    """By priority, then what ends first, then sequence: the rule of plans/usable.py."""
    return plan.priority, plan.ends_at or NEVER, plan.sequence


class Balance(msgspec.Struct, gc=False):
    """Sums over the account's usable plans; of the last plan alone when none is usable. `left`
    is what remains of purchased executions: it excludes overage."""

    total: int
    used: int
    held: int
    remaining: int
    left: int
    period_end: datetime | None

    def members(self) -> tuple[int, int, int, int, datetime | None]:
        """As the last members of answers."""
        return self.total, self.used, self.held, self.remaining, self.period_end


def balance_of(account: AccountState, now: datetime) -> Balance:
    plans = account.usable(now)
    if not plans and (last := account.last()) is not None:
        plans = [last]
    if len(plans) == 1:
        plan = plans[0]
        remaining = plan.remaining if plan.is_usable(now) else 0
        left = 0 if plan.is_overage else remaining
        return Balance(plan.executions, plan.used, plan.held, remaining, left, plan.ends_at)
    return Balance(
        total=sum(plan.executions for plan in plans),
        used=sum(plan.used for plan in plans),
        held=sum(plan.held for plan in plans),
        remaining=sum(plan.remaining for plan in plans),
        left=sum(plan.remaining for plan in plans if not plan.is_overage),
        period_end=plans[0].ends_at if plans else None,
    )


class KnownAnswer(msgspec.Struct, gc=False):
    request_hash: bytes
    answer: bytes


class ReservationState(msgspec.Struct):
    account_id: int
    number: int
    status: str
    executions: int
    expires_at: datetime
    workflow: str
    user_id: str
    idempotency_key: str
    is_lease: bool
    parts: list[Part]


class EventState(msgspec.Struct):
    """A consume or commit. `parts` are what is not refunded yet, by plan sequence."""

    account_id: int
    number: int
    executions: int
    workflow: str
    user_id: str
    parts: list[Part]


class LedgerState(msgspec.Struct):
    """Everything that a batch of decisions depends on; owned and modified by `decide`. `kept_from`:
    the lowest number of events that are kept, of accounts whose older ones were removed."""

    now: datetime
    accounts: dict[int, AccountState]
    targets: dict[tuple[str, str], int | BillingError]
    known: dict[tuple[int, str], KnownAnswer]
    reservations: dict[tuple[int, int], ReservationState]
    events: dict[tuple[int, int], EventState]
    kept_from: dict[int, int]
    leases: dict[tuple[int, int], LeaseState]

    def account_id(self, organization_id: str, user_id: str) -> int | BillingError:
        return self.targets[organization_id, user_id]

    @classmethod
    def empty(cls, now: datetime) -> "LedgerState":
        return cls(now, {}, {}, {}, {}, {}, {}, {})


UsageKey = tuple[int, str, str]
"""Account, workflow, user."""

OverageKey = tuple[int, int]
"""Account, plan sequence."""

Share = tuple[PlanBalance, int]
"""A plan's part of an event; negative when executions are given back."""


class DenialKey(NamedTuple):
    account_id: int
    workflow: str
    user_id: str
    reason: DenialReason


class KeyRow(msgspec.Struct, gc=False):
    account_id: int
    key: str
    request_hash: bytes
    answer: bytes


class EventFields(msgspec.Struct, gc=False):
    """The fields that all rows of one event share."""

    kind: EventKind
    workflow: str
    user_id: str
    idempotency_key: str = ""
    api_key_id: int | None = None
    refers_to: int | None = None
    reason: str = ""


def event_row(
    account: AccountState,
    number: int,
    plan: PlanBalance,
    executions: int,
    fields: EventFields,
    left: int,
) -> EventRow:
    """The plan's row, once the plan has changed."""
    return EventRow(
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


class Changes:
    """What a batch of decisions changes, as rows to be written in one transaction."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.now_microseconds = (now - EPOCH) // MICROSECOND
        self.events: list[EventRow] = []
        self.keys: list[KeyRow] = []
        self.reservations: list[ReservationRow] = []
        self.reservation_parts: list[ReservationPartRow] = []
        self.settled: list[SettledRow] = []
        self.leases = LeaseChanges()
        self.used: defaultdict[UsageKey, int] = defaultdict(int)
        self.refunded: defaultdict[UsageKey, int] = defaultdict(int)
        self.overage_used: defaultdict[OverageKey, int] = defaultdict(int)
        self.overage_refunded: defaultdict[OverageKey, int] = defaultdict(int)
        self.denied: defaultdict[DenialKey, int] = defaultdict(int)
        self.crossings: list[Crossing] = []

    def add_event(
        self, account: AccountState, shares: list[Share], fields: EventFields, left: int
    ) -> int:
        """Add an event with a row for each plan's share to the ledger and to the daily usage. Its
        number is higher than that of what it refers to, even if the clock was set back."""
        number = account.next_number(max(self.now_microseconds, (fields.refers_to or 0) + 1))
        for plan, executions in shares:
            self.events.append(event_row(account, number, plan, executions, fields, left))
            usage_key = (account.id, fields.workflow, fields.user_id)
            if executions >= 0:
                self.used[usage_key] += executions
            else:
                self.refunded[usage_key] -= executions
            if plan.is_overage:
                if executions >= 0:
                    self.overage_used[account.id, plan.sequence] += executions
                else:
                    self.overage_refunded[account.id, plan.sequence] -= executions
        return number

    def settle(
        self,
        reservation: ReservationState,
        status: ReservationStatus,
        *,
        at: datetime,
        event_number: int | None = None,
    ) -> None:
        """Close a reservation that was committed, was released or has expired."""
        reservation.status = status
        self.settled.append(
            SettledRow(reservation.account_id, reservation.number, status, at, event_number)
        )
