"""How long an account's executions last: the queue is walked through at the recent pace.

What a plan has left when it ends expires and lasts no longer. Renewals are not counted.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billing_app.billing.actors import Actor
from billing_app.billing.plans.service import PlanView
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.usage.service import (
    MAX_DAYS,
    PACE_DAYS,
    DailyRow,
    Days,
    GroupBy,
    read_daily,
    read_refunds_of_use,
    used_per_day,
)
from billing_app.db.engine import Database

DAY = timedelta(days=1)
# What rounding may leave of a plan, or of a day.
NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Pace:
    """Recent executions per day, and until when what the account has lasts; None: there was too
    little use for an estimate. `expires_unused` executions expire by then. `ended_at`: nothing is
    used up, the last plan ends then."""

    executions_per_day: float
    days_left: int | None
    runs_out_on: date | None
    expires_unused: int = 0
    ended_at: datetime | None = None


async def read_pace(
    database: Database,
    actor: Actor,
    summary: AccountSummary,
    rows: list[DailyRow] | None = None,
) -> Pace:
    """`rows`: of the last PACE_DAYS days or more, where they are known. Raises
    AccountNotFoundError."""
    account_id, today = summary.current.account_id, summary.at.date()
    days = Days(today - timedelta(days=PACE_DAYS - 1), today)
    if rows is None:
        rows = await read_daily(database, actor, account_id, days=days, group_by=GroupBy.DAY)
    lately = [row for row in rows if row.day >= days.first]
    refunded = await read_refunds_of_use(database, actor, account_id, since=days.since)
    return forecast(summary, used_per_day(lately, refunded=refunded, today=today))


def forecast(summary: AccountSummary, per_day: float) -> Pace:
    """At `per_day` executions from now on, in the order of use."""
    if per_day <= 0:
        return Pace(0.0, None, None)
    at, expired, ended_at = _walk(summary, per_day)
    days_left = int((at - summary.at) / DAY + NOTHING)
    if days_left > MAX_DAYS:
        return Pace(per_day, None, None, round(expired))
    return Pace(per_day, days_left, at.date(), round(expired), ended_at)


def _walk(summary: AccountSummary, per_day: float) -> tuple[datetime, float, datetime | None]:
    """When nothing is left to use, what expired until then, and the end that it is due to. Each
    step ends with a plan that is used up, has ended, or starts."""
    at, expired = summary.at, 0.0
    left = {
        plan: float(plan.remaining)
        for plan in summary.queue
        if not plan.is_suspended and plan.paused_at is None
    }
    ended_at: datetime | None = None
    limit = at + timedelta(days=MAX_DAYS + 1)
    while at < limit:
        usable = [plan for plan in left if plan.is_usable(at) and left[plan] > NOTHING]
        if not usable:
            return at, expired, ended_at
        plan, until = usable[0], _next_turn(at, left)
        used_up_at = at + DAY * min(left[plan] / per_day, MAX_DAYS + 1)
        if used_up_at <= until:
            until, left[plan] = used_up_at, 0.0
        left[plan] = max(0.0, left[plan] - (until - at) / DAY * per_day)
        ending = [each for each in usable if each.ends_at == until and left[each] > NOTHING]
        expired += sum(left[each] for each in ending)
        ended_at, at = (until if ending else None), until
    return at, expired, None


def _next_turn(at: datetime, left: dict[PlanView, float]) -> datetime:
    """The next start or end of a plan."""
    turns = [turn for plan in left for turn in (plan.starts_at, plan.ends_at) if turn is not None]
    return min(
        (turn for turn in turns if turn > at), default=datetime.max.replace(tzinfo=at.tzinfo)
    )
