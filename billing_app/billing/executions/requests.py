"""Requests to the ledger, the answers to them, and what a decision is.

Answers are stored and replayed byte for byte: names and order of their fields are the HTTP
contract's.
"""

from datetime import date, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec

from billing_app.billing.errors import BillingError
from billing_app.db.enums import ReservationStatus

MAX_EXECUTIONS: Final = 1_000_000
MAX_HOLD_SECONDS: Final = 7 * 24 * 3600
DEFAULT_HOLD_SECONDS: Final = 900
HASH_BYTES: Final = 16

_encoder: Final = msgspec.json.Encoder()


class Mode(StrEnum):
    CHECK = "check"
    CONSUME = "consume"
    RESERVE = "reserve"


# Python 3.11 takes 0.3 µs to look up an enum member on its class; these are looked up once.
CHECK: Final = Mode.CHECK
CONSUME: Final = Mode.CONSUME


class Caller(msgspec.Struct, frozen=True, gc=False):
    """The key that sends a request; `organization_id` None is the platform. `account_id`: of a key
    that belongs to one person's account."""

    api_key_id: int | None
    organization_id: str | None
    account_id: int | None = None


class CheckRequest(msgspec.Struct, gc=False):
    """Check, consume or reserve executions of an organization, or of a public user."""

    mode: Mode
    organization_id: str
    user_id: str
    executions: int
    workflow: str
    hold_seconds: int
    idempotency_key: str
    caller: Caller

    def fingerprint(self) -> bytes:
        """HASH_BYTES that differ when the request differs. No field contains a NUL."""
        return digest(
            self.mode,
            self.organization_id,
            self.user_id,
            str(self.executions),
            self.workflow,
            str(self.hold_seconds),
        )


class Commit(msgspec.Struct, gc=False):
    """Use all or some of a reservation's executions; the rest is released."""

    account_id: int
    number: int
    executions: int | None
    caller: Caller


class Release(msgspec.Struct, gc=False):
    """Give back all executions of a reservation."""

    account_id: int
    number: int
    caller: Caller


class Refund(msgspec.Struct, gc=False):
    """Give back executions of an event; `executions` None: all that can still be refunded."""

    account_id: int
    number: int
    executions: int | None
    reason: str
    idempotency_key: str
    caller: Caller

    def fingerprint(self) -> bytes:
        return digest("refund", str(self.number), str(self.executions), self.reason)


class Adjust(msgspec.Struct, gc=False):
    """A correction by staff of what plans have used: more, or fewer when negative.

    `parts` are (plan sequence, executions), each plan once. `refers_to` is the event that is
    corrected: a consume or commit whose refund is undone, or an adjustment that is undone.
    """

    account_id: int
    parts: list[tuple[int, int]]
    reason: str
    workflow: str = ""
    user_id: str = ""
    refers_to: int | None = None


class LeaseRequest(CheckRequest, gc=False):
    """Hold executions that the caller decides about itself: `executions`, or what is left of
    `at_least` or more. Its mode is RESERVE. `secret` signs the lease's tokens.

    It decides for `seconds`, and what it held stays held for `settle_seconds` after that.
    """

    at_least: int
    seconds: int
    settle_seconds: int
    secret: str

    def fingerprint(self) -> bytes:
        return digest(
            "lease",
            self.organization_id,
            self.user_id,
            str(self.executions),
            str(self.at_least),
            self.workflow,
            str(self.seconds),
        )


class LeaseTotal(msgspec.Struct, frozen=True, gc=False):
    """What a lease has decided so far of a workflow, a user and a UTC day, "" for none."""

    workflow: str
    user_id: str
    day: date
    executions: int


class Renewal(msgspec.Struct, frozen=True, gc=False):
    """Raise what is left of a lease to `executions`, and its life to `seconds` from now."""

    executions: int
    seconds: int


class SettleLease(msgspec.Struct, gc=False):
    """Count what a lease has decided. A report with a lower `sequence` than one before neither
    renews nor closes the lease."""

    account_id: int
    number: int
    token: str
    totals: list[LeaseTotal]
    sequence: int
    renewal: Renewal | None
    closes: bool
    settle_seconds: int
    caller: Caller


Request = CheckRequest | Commit | Release | Refund | Adjust | SettleLease


class Accepted(msgspec.Struct, gc=False):
    """An accepted request with its answer; `replayed`: the first answer to this key again."""

    answer: bytes
    replayed: bool = False


Decision = Accepted | BillingError


class PlanBrief(msgspec.Struct, gc=False):
    id: str
    type: str
    name: str


class ReservationBrief(msgspec.Struct, gc=False):
    id: str
    expires_at: datetime


class CheckAnswer(msgspec.Struct, gc=False):
    allowed: bool
    mode: Mode
    executions: int
    event_id: str | None
    reservation: ReservationBrief | None
    plan: PlanBrief
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


class SettledReservation(msgspec.Struct, gc=False):
    id: str
    status: ReservationStatus


class SettleAnswer(msgspec.Struct, gc=False):
    reservation: SettledReservation
    event_id: str | None
    executions: int
    executions_released: int
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


class RefundAnswer(msgspec.Struct, gc=False):
    event_id: str
    refund_of: str
    executions: int
    executions_refundable: int
    reason: str
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


class AdjustAnswer(msgspec.Struct, gc=False):
    event_id: str
    executions: int
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


Answer = CheckAnswer | SettleAnswer | RefundAnswer | AdjustAnswer


def encode(answer: Answer) -> bytes:
    return _encoder.encode(answer)


def digest(*parts: str) -> bytes:
    return blake2b("\0".join(parts).encode(), digest_size=HASH_BYTES).digest()
