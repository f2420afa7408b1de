"""What a decision is made from: the balances, as locked, and what is known of the requests."""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from billing_app.billing.errors import BillingError
from billing_app.db.enums import EndReason
from billing_app.db.tables.plans import OVERAGE_PRIORITY

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class PlanBalance(msgspec.Struct):
    """A plan's row. `moved`: used or held changed, which begins it; `turned`: it ended, or is open
    again."""

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
    moved: bool = False
    turned: bool = False

    @property
    def remaining(self) -> int:
        return self.executions - self.used - self.held

    @property
    def is_overage(self) -> bool:
        """Its executions are paid for afterwards; used up, it explains denials to its end."""
        return self.priority == OVERAGE_PRIORITY

    def is_in_period(self, now: datetime) -> bool:
        return (
            self.ended_at is None
            and self.starts_at <= now
            and (self.ends_at is None or now < self.ends_at)
        )

    def is_suspended(self, now: datetime) -> bool:
        """Its payment is overdue, and the days of grace are over."""
        return self.suspended_at is not None and self.suspended_at <= now

    def is_usable(self, now: datetime) -> bool:
        """In its period and not stopped; written out, because every decision asks it often."""
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
        """Return used executions; a plan that had ended only by being used up is open again."""
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
    """An account with its plans in the order of their sequence; open and held ones at least.

    `last_closed` explains a denial when no plan is open.
    """

    id: int
    organization_id: str
    plans: list[PlanBalance]
    last_closed: PlanBalance | None = None
    last_number: int = 0

    def next_number(self, at_microseconds: int) -> int:
        """A number for an event or reservation: the time since 1970, raised to be new."""
        self.last_number = max(self.last_number + 1, at_microseconds)
        return self.last_number

    def plan(self, sequence: int) -> PlanBalance | None:
        for plan in self.plans:
            if plan.sequence == sequence:
                return plan
        return None

    def last(self) -> PlanBalance | None:
        """The newest open plan; when none is open, the newest of all."""
        for plan in reversed(self.plans):
            if plan.ended_at is None:
                return plan
        return self.last_closed or (self.plans[-1] if self.plans else None)

    def usable(self, now: datetime) -> list[PlanBalance]:
        """In the order in which they are used. Not for the caller to change."""
        if len(self.plans) == 1:
            return self.plans if self.plans[0].is_usable(now) else []
        return sorted([plan for plan in self.plans if plan.is_usable(now)], key=queue_order)


def remaining_of(plans: list[PlanBalance]) -> int:
    if len(plans) == 1:
        return plans[0].remaining
    return sum([plan.remaining for plan in plans])


def queue_order(plan: PlanBalance) -> tuple[int, int]:
    return plan.priority, plan.sequence


class KnownAnswer(msgspec.Struct, gc=False):
    request_hash: bytes
    answer: bytes


class Part(msgspec.Struct, gc=False):
    """Executions of one plan: held by a reservation, or used by an event less refunds."""

    plan_sequence: int
    executions: int


class ReservationState(msgspec.Struct):
    account_id: int
    number: int
    status: str
    executions: int
    expires_at: datetime
    workflow: str
    user_id: str
    idempotency_key: str
    holds: list[Part]


class EventState(msgspec.Struct):
    """A consume or commit. `parts` hold what is not refunded yet, by plan, first paid first."""

    account_id: int
    number: int
    executions: int
    workflow: str
    user_id: str
    parts: list[Part]


class LedgerState(msgspec.Struct):
    """Everything that one decision may look at; owned and changed by `decide`."""

    now: datetime
    accounts: dict[int, AccountState]
    targets: dict[tuple[str, str], int | BillingError]
    known: dict[tuple[int, str], KnownAnswer]
    reservations: dict[tuple[int, int], ReservationState]
    events: dict[tuple[int, int], EventState]

    def account_id(self, organization_id: str, user_id: str) -> int | BillingError:
        return self.targets[organization_id, user_id]

    @classmethod
    def empty(cls, now: datetime) -> "LedgerState":
        return cls(now=now, accounts={}, targets={}, known={}, reservations={}, events={})
