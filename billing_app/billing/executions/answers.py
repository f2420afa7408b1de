"""The answers that are given, stored and given again byte for byte.

Field names and their order are the HTTP contract's; the bytes are JSON.
"""

from datetime import datetime
from typing import Final

import msgspec

from billing_app.billing import ids
from billing_app.billing.executions.requests import Mode
from billing_app.billing.executions.state import AccountState, PlanBalance
from billing_app.db.enums import ReservationStatus

_encoder: Final = msgspec.json.Encoder()


class PlanBrief(msgspec.Struct, gc=False):
    id: str
    type: str
    name: str


class ReservationBrief(msgspec.Struct, gc=False):
    id: str
    expires_at: datetime


class Balance(msgspec.Struct, gc=False):
    """Sums over the account's usable plans; the last plan alone when none is usable.

    `left` is what remains of what was bought: what may be used beyond it is never left.
    """

    total: int
    used: int
    held: int
    remaining: int
    left: int
    period_end: datetime | None


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


def plan_brief(account: AccountState, plan: PlanBalance) -> PlanBrief:
    return PlanBrief(ids.encode(ids.PLAN, account.id, plan.sequence), plan.type, plan.name)
