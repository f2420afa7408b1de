"""When and why each plan of a queue began. Pure: it looks at all plans of an account at once."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from billing_app.billing.executions.state import NEVER, PlanBalance
from billing_app.db.enums import EndReason


class BeginReason(StrEnum):
    """`USED_BEFORE_PREVIOUS`: it was added while another was in use, and comes before that one."""

    FIRST_PLAN = "first_plan"
    PREVIOUS_DEPLETED = "previous_depleted"
    PREVIOUS_PERIOD_ENDED = "previous_period_ended"
    PREVIOUS_CANCELLED = "previous_cancelled"
    PREVIOUS_REPLACED = "previous_replaced"
    PREVIOUS_FULL = "previous_full"
    USED_BEFORE_PREVIOUS = "used_before_previous"


Beginning = tuple[datetime | None, BeginReason | None]
AFTER: Final = {
    EndReason.DEPLETED: BeginReason.PREVIOUS_DEPLETED,
    EndReason.PERIOD_ENDED: BeginReason.PREVIOUS_PERIOD_ENDED,
    EndReason.CANCELLED: BeginReason.PREVIOUS_CANCELLED,
    EndReason.REPLACED: BeginReason.PREVIOUS_REPLACED,
}


@dataclass(frozen=True, slots=True)
class _Lifetime:
    """`created_at` None: unknown. `began_at` None: not yet, or never."""

    sequence: int
    created_at: datetime | None
    starts_at: datetime
    began_at: datetime | None
    ended_at: datetime | None
    ended_because: EndReason | None

    def is_open(self, at: datetime) -> bool:
        return self.ended_at is None or at < self.ended_at


def ending(plan: PlanBalance, now: datetime) -> tuple[datetime | None, EndReason | None]:
    """When and why it ended, also when no decision has noticed yet."""
    if plan.ended_at is not None and plan.ended_because is not None:
        return plan.ended_at, EndReason(plan.ended_because)
    if plan.ends_at is not None and plan.ends_at <= now:
        return plan.ends_at, EndReason.PERIOD_ENDED
    return None, None


def beginnings(
    queue: Sequence[PlanBalance], created: Sequence[datetime | None], now: datetime
) -> list[Beginning]:
    """For plans in queue order, without overage.

    A plan begins when it is first used, or when it is first in line: started, with all before it
    ended or not started. A plan that starts later may come before it again.
    """
    lifetimes: list[_Lifetime] = []
    ahead: list[tuple[datetime, datetime]] = []
    for plan, created_at in zip(queue, created, strict=True):
        ended_at, because = ending(plan, now)
        began_at = _began_at(plan, ended_at, ahead, now)
        lifetimes.append(
            _Lifetime(plan.sequence, created_at, plan.starts_at, began_at, ended_at, because)
        )
        insort(ahead, (plan.starts_at, ended_at or NEVER))
    return [
        (plan.began_at, plan.began_at and _reason(place, plan.began_at, lifetimes))
        for place, plan in enumerate(lifetimes)
    ]


def _began_at(
    plan: PlanBalance,
    ended_at: datetime | None,
    ahead: list[tuple[datetime, datetime]],
    now: datetime,
) -> datetime | None:
    first_in_line = plan.starts_at
    for starts_at, ends_at in ahead:
        if starts_at <= first_in_line < ends_at:
            first_in_line = ends_at
    began_at = min(plan.began_at or NEVER, first_in_line)
    if began_at > now:
        return None
    if ended_at is not None and plan.began_at is None and began_at >= ended_at:
        return None
    return began_at


def _reason(place: int, at: datetime, lifetimes: list[_Lifetime]) -> BeginReason:
    plan = lifetimes[place]
    ahead = [each for each in lifetimes[:place] if each.starts_at <= at]
    if any(each.is_open(at) for each in ahead):
        return BeginReason.PREVIOUS_FULL
    behind = [each for each in lifetimes[place + 1 :] if each.began_at and each.began_at < at]
    ended = [each for each in (*ahead, *behind) if not each.is_open(at) or _replaces(plan, each)]
    last = max(ended, key=lambda each: (each.ended_at, each.sequence), default=None)
    is_used = any(each.is_open(at) and not _replaces(plan, each) for each in behind)
    is_gap = last is None or last.ended_at is None or last.ended_at < at
    if is_used and is_gap and not (last and _replaces(plan, last)):
        return BeginReason.USED_BEFORE_PREVIOUS
    if last is None or last.ended_because is None:
        return BeginReason.FIRST_PLAN
    return AFTER[last.ended_because]


def _replaces(plan: _Lifetime, other: _Lifetime) -> bool:
    """A change ends the old plan when it creates the new one, which may have started before."""
    return other.ended_because is EndReason.REPLACED and other.ended_at == plan.created_at
