"""The figures of all accounts together; docs/reference/metrics.md defines each.

Past days come from the roll-up; days that it does not have yet, at least today, are counted from
the accounts' rows by the same statements. So the figures are right without a worker too, only
slower.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, text
from sqlalchemy import select as select_rows
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from billing_app.billing.actors import Actor
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import NUMBER, By, Key, Sorting
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.customers.customers import CustomerRow, read_customers
from billing_app.billing.usage.service import Days
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus
from billing_app.db.tables import (
    AccountNearLimit,
    Invoice,
    PlatformDay,
    PlatformDenial,
    PlatformRefresh,
    Subscription,
)

NEAR_LIMIT: Final = "near_limit"
# How many rows a day has decides how to look.
PLAN_EACH: Final = "SET LOCAL plan_cache_mode = force_custom_plan"
ACTIVE: Final = frozenset(
    {SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING, SubscriptionStatus.PAST_DUE}
)
USED: Final = """
SELECT day, sum(used)::bigint, sum(refunded)::bigint FROM daily_usage
WHERE day BETWEEN :first AND :last GROUP BY day
"""
DENIED: Final = """
SELECT day, reason, sum(denied)::bigint FROM daily_denials
WHERE day BETWEEN :first AND :last GROUP BY day, reason
"""
TRIALS_STARTED: Final = """
SELECT (created_at AT TIME ZONE 'UTC')::date, count(*) FROM plans
WHERE type = 'trial' AND created_at >= :since AND created_at < :until GROUP BY 1
"""
TRIALS_CONVERTED: Final = """
SELECT (bought.created_at AT TIME ZONE 'UTC')::date, count(*) FROM plans AS bought
WHERE bought.source IN ('subscription', 'pack')
  AND bought.created_at >= :since AND bought.created_at < :until
  AND EXISTS (SELECT FROM plans AS trial
              WHERE trial.account_id = bought.account_id AND trial.type = 'trial')
  AND NOT EXISTS (SELECT FROM plans AS earlier
                  WHERE earlier.account_id = bought.account_id
                    AND earlier.source IN ('subscription', 'pack')
                    AND (earlier.created_at, earlier.sequence)
                        < (bought.created_at, bought.sequence))
GROUP BY 1
"""


@dataclass(slots=True)
class DayFigures:
    """A UTC day. `denied` is by reason."""

    day: date
    used: int = 0
    refunded: int = 0
    trials_started: int = 0
    trials_converted: int = 0
    denied: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def executions(self) -> int:
        return self.used - self.refunded


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency, from a number of invoices."""

    currency: str
    amount_minor: int
    invoices: int


@dataclass(frozen=True, slots=True)
class PlatformOverview:
    """`days` has every requested day. `revenue` is of the month that begins on `month`.
    `near_limit` is as of `near_limit_at`; both are None before a worker has counted. `owed` is on
    open invoices of past due subscriptions, `owed_by_ended` on those of accounts that have no
    subscription any more."""

    days: list[DayFigures]
    subscriptions: dict[str, int]
    active_subscriptions: int
    month: date
    revenue: list[Money]
    near_limit: int | None
    near_limit_at: datetime | None
    accounts_past_due: int
    owed: list[Money]
    owed_by_ended: list[Money] = field(default_factory=list[Money])


class NearSort(StrEnum):
    """By executions, as they were when the worker counted."""

    LEFT = "left"
    EXECUTIONS = "executions"


_NEAR: Final = Key(col(AccountNearLimit.account_id), NUMBER)
LEFT: Final = AccountNearLimit.executions - AccountNearLimit.used - AccountNearLimit.held
NEAR_SORTING: Final = Sorting(
    {
        NearSort.LEFT: Key(LEFT, NUMBER),
        NearSort.EXECUTIONS: Key(col(AccountNearLimit.executions), NUMBER),
    },
    ties=(_NEAR,),
    usual=By(NearSort.LEFT),
)


async def read_overview(
    database: Database, actor: Actor, days: Days, now: datetime
) -> PlatformOverview:
    """Raises ForbiddenError."""
    require(actor, Action.READ)
    month = now.astimezone(UTC).date().replace(day=1)
    async with database.reading() as session:
        await plan_each(session)
        figures = await read_days(session, days)
        statuses = await _subscriptions(session)
        refreshed = await session.get(PlatformRefresh, NEAR_LIMIT)
        near = (await session.exec(select(func.count()).select_from(AccountNearLimit))).one()
        past_due = select(func.count(func.distinct(Subscription.account_id)))
        past_due = past_due.where(col(Subscription.past_due_since).is_not(None))
        return PlatformOverview(
            days=figures,
            subscriptions=statuses,
            active_subscriptions=sum(statuses.get(status, 0) for status in ACTIVE),
            month=month,
            revenue=await _revenue(session, month),
            near_limit=near if refreshed else None,
            near_limit_at=refreshed.refreshed_at if refreshed else None,
            accounts_past_due=(
                await session.exec(past_due.where(col(Subscription.ended_at).is_(None)))
            ).one(),
            owed=await _owed(session, _past_due().exists()),
            owed_by_ended=await _owed(session, ~_live().exists()),
        )


async def list_near_limit(
    database: Database,
    actor: Actor,
    *,
    now: datetime,
    by: By[NearSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[CustomerRow]:
    """Accounts that were near their limit at the worker's last count, with their current figures;
    the least left first by default. Raises ForbiddenError, InvalidInputError."""
    require(actor, Action.READ)
    span = NEAR_SORTING.span(by, limit=limit, cursor=cursor)
    query: Select[Any] = select_rows(col(AccountNearLimit.account_id))
    async with database.reading() as session:
        found, following = await span.fetch(session, query)
        rows = await read_customers(session, [row[0] for row in found], now)
    return Page(rows, following)


async def read_days(session: AsyncSession, days: Days) -> list[DayFigures]:
    """Every requested day, in order."""
    rolled_to = await last_rolled(session)
    figures = {day.day: day for day in await _rolled(session, days)}
    first = days.first if rolled_to is None else max(days.first, rolled_to + timedelta(days=1))
    if first <= days.last:
        figures |= {day.day: day for day in await count_days(session, Days(first, days.last))}
    return [figures.get(day, DayFigures(day)) for day in each_day(days)]


async def count_days(session: AsyncSession, days: Days) -> list[DayFigures]:
    """Every requested day, in order, from the accounts' own rows."""
    figures = {day: DayFigures(day) for day in each_day(days)}
    by_day = {"first": days.first, "last": days.last}
    by_time = {"since": _midnight(days.first), "until": _midnight(days.last + timedelta(days=1))}
    for day, used, refunded in await _all(session, USED, by_day):
        figures[day].used, figures[day].refunded = used, refunded
    for day, reason, denied in await _all(session, DENIED, by_day):
        figures[day].denied[reason] = denied
    for day, count in await _all(session, TRIALS_STARTED, by_time):
        figures[day].trials_started = count
    for day, count in await _all(session, TRIALS_CONVERTED, by_time):
        figures[day].trials_converted = count
    return list(figures.values())


async def last_rolled(session: AsyncSession) -> date | None:
    """The last day of the roll-up, None when it is empty."""
    return (await session.exec(select(func.max(PlatformDay.day)))).one_or_none()


async def plan_each(session: AsyncSession) -> None:
    await (await session.connection()).execute(text(PLAN_EACH))


def each_day(days: Days) -> Iterable[date]:
    return (days.first + timedelta(days=n) for n in range((days.last - days.first).days + 1))


async def _rolled(session: AsyncSession, days: Days) -> list[DayFigures]:
    between = select(PlatformDay).where(col(PlatformDay.day).between(days.first, days.last))
    figures = {
        row.day: DayFigures(
            row.day, row.used, row.refunded, row.trials_started, row.trials_converted
        )
        for row in (await session.exec(between)).all()
    }
    denials = select(PlatformDenial)
    denials = denials.where(col(PlatformDenial.day).between(days.first, days.last))
    for row in (await session.exec(denials)).all():
        figures[row.day].denied[row.reason] = row.denied
    return list(figures.values())


async def _subscriptions(session: AsyncSession) -> dict[str, int]:
    query = select(Subscription.status, func.count()).where(col(Subscription.ended_at).is_(None))
    rows = (await session.exec(query.group_by(col(Subscription.status)))).all()
    return dict(rows)


async def _revenue(session: AsyncSession, month: date) -> list[Money]:
    after = (month + timedelta(days=32)).replace(day=1)
    query = (
        select(Invoice.currency, func.sum(Invoice.amount_paid_minor), func.count())
        .where(Invoice.status == InvoiceStatus.PAID)
        .where(Invoice.issued_at >= _midnight(month))
        .where(Invoice.issued_at < _midnight(after))
        .group_by(col(Invoice.currency))
        .order_by(col(Invoice.currency))
    )
    return [Money(row[0], int(row[1]), row[2]) for row in (await session.exec(query)).all()]


def _live() -> SelectOfScalar[int]:
    """Live subscriptions of an invoice's account."""
    return (
        select(Subscription.account_id)
        .where(Subscription.account_id == Invoice.account_id)
        .where(col(Subscription.ended_at).is_(None))
    )


def _past_due() -> SelectOfScalar[int]:
    return _live().where(col(Subscription.past_due_since).is_not(None))


async def _owed(session: AsyncSession, whose: ColumnElement[bool]) -> list[Money]:
    """What is left of open invoices, by currency."""
    left = Invoice.amount_due_minor - Invoice.amount_paid_minor
    query = (
        select(Invoice.currency, func.sum(left), func.count())
        .where(Invoice.status == InvoiceStatus.OPEN)
        .where(whose)
        .group_by(col(Invoice.currency))
        .order_by(col(Invoice.currency))
    )
    return [Money(row[0], int(row[1]), row[2]) for row in (await session.exec(query)).all()]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def _all(session: AsyncSession, statement: str, values: dict[str, Any]) -> list[Any]:
    return list((await (await session.connection()).execute(text(statement), values)).all())
