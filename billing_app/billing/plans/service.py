"""An account's plans: the current one, upcoming ones, and the history."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.executions.expired_holds import expired_holds
from billing_app.billing.executions.state import (
    NEVER,
    AccountState,
    PlanBalance,
    balance_of,
    queue_order,
)
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.limits import spending_limit
from billing_app.billing.overage.views import OverageView, overage_view
from billing_app.billing.plans import usable
from billing_app.billing.plans.beginnings import Beginning, BeginReason, beginnings, ending
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, Interval, PlanSource, PlanType
from billing_app.db.tables import Account, Plan


class PlanState(StrEnum):
    UPCOMING = "upcoming"
    CURRENT = "current"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its place in the queue. Times are aware UTC; None: not yet, or never.

    `is_suspended`: it cannot be used, because its payment is overdue or disputed.
    """

    id: str
    sequence: int
    type: PlanType
    name: str
    source: PlanSource
    state: PlanState
    executions: int
    used: int
    held: int
    remaining: int
    starts_at: datetime
    ends_at: datetime | None
    began_at: datetime | None
    began_because: BeginReason | None
    ended_at: datetime | None
    ended_because: EndReason | None
    paused_at: datetime | None
    is_suspended: bool = False

    @property
    def begins_at(self) -> datetime:
        """When it began, or may begin at the earliest."""
        return self.began_at or self.starts_at

    def is_usable(self, now: datetime) -> bool:
        """In its period and not stopped; what is left is not looked at."""
        is_in_period = self.starts_at <= now and (self.ends_at is None or self.ends_at > now)
        return is_in_period and not self.is_suspended and self.paused_at is None


class PlanSort(StrEnum):
    """`QUEUE` is the order in which plans were created."""

    QUEUE = "queue"
    BEGINS = "begins"
    NAME = "name"
    STATE = "state"
    EXECUTIONS = "executions"
    USED = "used"


@dataclass(frozen=True, slots=True)
class PlanQuery:
    """Which plans; None: all."""

    state: PlanState | None = None
    source: PlanSource | None = None


_SEQUENCE: Final = Key(attrgetter("sequence"), NUMBER)
SORTING: Final = Sorting(
    {
        PlanSort.QUEUE: _SEQUENCE,
        PlanSort.BEGINS: Key(attrgetter("begins_at"), INSTANT),
        PlanSort.NAME: Key(attrgetter("name"), TEXT),
        PlanSort.STATE: Key(attrgetter("state"), TEXT),
        PlanSort.EXECUTIONS: Key(attrgetter("executions"), NUMBER),
        PlanSort.USED: Key(attrgetter("used"), NUMBER),
    },
    ties=(_SEQUENCE,),
    usual=By(PlanSort.QUEUE, descending=True),
)


@dataclass(frozen=True, slots=True)
class CurrentPlan:
    """The current plan, with sums over all usable plans of the account; `overage` is what may be
    used beyond them.

    When no plan is usable, the sums are those of `plan` alone: a stopped plan, or else the last
    that ended. `plan` is None when no plan has begun yet. `executions_owed` were used of a period
    that was not renewed: they count against the next plan that is bought. `never_usable`: upcoming
    plans, by sequence, that are stopped or over when they start. `usable`: the plans
    that can be used now, in the order of use, fully reserved ones included; without overage.
    """

    account_id: str
    plan: PlanView | None
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None
    upcoming: list[PlanView]
    overage: OverageView | None
    executions_owed: int = 0
    never_usable: frozenset[int] = frozenset()
    usable: tuple[PlanView, ...] = ()


class PlanRow(NamedTuple):
    """A plan as stored, without what expired reservations still hold."""

    balance: PlanBalance
    source: PlanSource
    created_at: datetime
    offer_version_id: int | None = None


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a new plan would join the queue: executions left that are used before and after it.
    `executions_owed` count against it from the start."""

    executions_before: int
    executions_after: int
    executions_owed: int = 0


async def read_place(
    database: Database,
    actor: Actor,
    account_id: str,
    offer: OfferView,
    *,
    trial_days: int,
    now: datetime,
) -> QueuePlace:
    """Of what is bought now. Raises AccountNotFoundError, ScopeMissingError."""
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        rows = await _read_rows(session, account, now)
    views, balances = timeline(account.id, rows, now), [row.balance for row in rows]
    turn = (offer.priority, _end_of_new(offer, trial_days, now))
    left = [plan for plan in balances if plan.is_usable(now) and not plan.is_overage]
    before = sum(plan.remaining for plan in left if queue_order(plan)[:2] <= turn)
    return QueuePlace(before, sum(plan.remaining for plan in left) - before, _owed(views))


def _owed(views: list[PlanView]) -> int:
    """Used and held of bridges that led to no renewal (subscriptions/bridges.py)."""
    return sum(
        view.used + view.held
        for view in views
        if view.source is PlanSource.BRIDGE and view.ended_because is EndReason.CANCELLED
    )


def _end_of_new(offer: OfferView, trial_days: int, now: datetime) -> datetime:
    if not offer.is_subscription:
        return now + timedelta(days=offer.valid_days) if offer.valid_days else NEVER
    if trial_days:
        return now + timedelta(days=trial_days)
    return months_later(now, 12 if offer.interval is Interval.YEAR else 1)


def months_later(at: datetime, months: int) -> datetime:
    """The same day of a later month, or its last day: as Stripe ends a period
    (https://docs.stripe.com/billing/subscriptions/billing-cycle)."""
    years, month = divmod(at.month - 1 + months, 12)
    year, month = at.year + years, month + 1
    return at.replace(year=year, month=month, day=min(at.day, monthrange(year, month)[1]))


async def read_current(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> CurrentPlan:
    """Raises AccountNotFoundError, ScopeMissingError. Changes nothing."""
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        rows = await _read_rows(session, account, now)
        overage = await _read_overage(session, account.id, running_overage(rows, now))
    return current_plan(account.id, rows, overage, now)


def running_overage(rows: list[PlanRow], now: datetime) -> PlanRow | None:
    """The plan of what may be used now beyond the others; None: the account stops at their end."""
    running = [
        row for row in rows if row.source is PlanSource.OVERAGE and row.balance.is_in_period(now)
    ]
    return max(running, key=lambda row: row.balance.sequence, default=None)


async def _read_overage(
    session: AsyncSession, account_id: int, row: PlanRow | None
) -> OverageView | None:
    if row is None or row.offer_version_id is None:
        return None
    offer = await offer_version(session, row.offer_version_id)
    return overage_view(row.balance, offer, await spending_limit(session, account_id))


def current_plan(
    account_id: int, rows: list[PlanRow], overage: OverageView | None, now: datetime
) -> CurrentPlan:
    """`rows`: all plans in queue order, without unused bridges."""
    views = timeline(account_id, rows, now)
    views = [view for view in views if view.source is not PlanSource.OVERAGE]
    balances = [row.balance for row in rows if not row.balance.is_overage]
    state = AccountState(account_id, "", balances)
    by_sequence = {view.sequence: view for view in views}
    in_use = tuple(by_sequence[plan.sequence] for plan in state.usable(now))
    current = [view for view in views if view.state is PlanState.CURRENT]
    # A fully reserved or overdue plan is current too: put the one that is used next first.
    used_next = next((plan.sequence for plan in state.usable(now) if plan.remaining), None)
    current.sort(key=lambda view: view.sequence != used_next)
    plan = current[0] if current else _last_ended(views)
    if plan is not None and not state.usable(now):
        state.plans = [each for each in balances if each.sequence == plan.sequence]
    balance = balance_of(state, now)
    return CurrentPlan(
        account_id=ids.encode_account(account_id),
        plan=plan,
        executions_total=balance.total,
        executions_used=balance.used,
        executions_held=balance.held,
        executions_remaining=balance.remaining,
        period_end=balance.period_end,
        upcoming=[view for view in views if view.state is PlanState.UPCOMING],
        overage=overage,
        executions_owed=_owed(views),
        never_usable=frozenset(
            plan.sequence for plan in balances if not plan.is_usable(plan.starts_at)
        ),
        usable=in_use,
    )


def _last_ended(views: list[PlanView]) -> PlanView | None:
    ended = [view for view in views if view.state is PlanState.ENDED]
    return max(ended, key=lambda view: (view.ended_at, view.sequence), default=None)


async def read_history(
    database: Database,
    actor: Actor,
    account_id: str,
    where: PlanQuery | None = None,
    *,
    now: datetime,
    by: By[PlanSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[PlanView]:
    """All plans, newest first by default: when and why each began and ended. Overage that was
    never used is left out.

    Raises AccountNotFoundError, ScopeMissingError, InvalidInputError.
    """
    where = where or PlanQuery()
    span = SORTING.span(by, limit=limit, cursor=cursor)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        views = timeline(account.id, await _read_rows(session, account, now), now)
    return span.cut(
        view
        for view in views
        if (view.source is not PlanSource.OVERAGE or view.began_at)
        and where.state in (None, view.state)
        and where.source in (None, view.source)
    )


def timeline(account_id: int, rows: list[PlanRow], now: datetime) -> list[PlanView]:
    """Views of plans in queue order, with when and why each began and ended.

    Overage is not part of the queue: it comes last and no plan follows it.
    """
    plans = [row.balance for row in rows]
    overage = [_overage_view(account_id, plan, now) for plan in plans if plan.is_overage]
    queue = [row for row in rows if not row.balance.is_overage]
    begun = beginnings([row.balance for row in queue], [row.created_at for row in queue], now)
    views: list[PlanView] = []
    has_current = False
    for (balance, source, *_), beginning in zip(queue, begun, strict=True):
        if ending(balance, now)[0] is not None:
            state = PlanState.ENDED
        elif not has_current and balance.is_usable(now) and balance.remaining:
            state, has_current = PlanState.CURRENT, True
        else:
            is_current = beginning[0] and balance.starts_at <= now and not has_current
            state = PlanState.CURRENT if is_current else PlanState.UPCOMING
        views.append(_plan_view(account_id, balance, source, state, beginning, now))
    return [*views, *overage]


def _overage_view(account_id: int, balance: PlanBalance, now: datetime) -> PlanView:
    """Current for its whole period; it begins when it is first used."""
    ended_at, _ = ending(balance, now)
    state = PlanState.UPCOMING if balance.starts_at > now else PlanState.CURRENT
    state = PlanState.ENDED if ended_at is not None else state
    because = BeginReason.PREVIOUS_DEPLETED if balance.began_at else None
    begun = (balance.began_at, because)
    return _plan_view(account_id, balance, PlanSource.OVERAGE, state, begun, now)


def _plan_view(
    account_id: int,
    balance: PlanBalance,
    source: PlanSource,
    state: PlanState,
    begun: Beginning,
    now: datetime,
) -> PlanView:
    ended_at, ended_because = ending(balance, now)
    return PlanView(
        id=ids.encode(ids.PLAN, account_id, balance.sequence),
        sequence=balance.sequence,
        type=PlanType(balance.type),
        name=balance.name,
        source=source,
        state=state,
        executions=balance.executions,
        used=balance.used,
        held=balance.held,
        remaining=balance.remaining if state is not PlanState.ENDED else 0,
        starts_at=balance.starts_at,
        ends_at=balance.ends_at,
        began_at=begun[0],
        began_because=begun[1],
        ended_at=ended_at,
        ended_because=ended_because,
        paused_at=balance.paused_at,
        is_suspended=state is not PlanState.ENDED and balance.is_suspended(now),
    )


async def _read_rows(session: AsyncSession, account: Account, now: datetime) -> list[PlanRow]:
    query = select(Plan).where(Plan.account_id == account.id)
    query = query.order_by(text(usable.queue_order("plans")))
    plans = (await session.exec(query)).all()
    has_held = any(plan.held for plan in plans)
    expired = await expired_holds(session, account.id, now) if has_held else {}
    rows = [
        PlanRow(
            plan_balance(plan, expired.get(plan.sequence, 0)),
            PlanSource(plan.source),
            plan.created_at,
            plan.offer_version_id,
        )
        for plan in plans
    ]
    return [row for row in rows if not is_unused_bridge(row, now)]


def is_unused_bridge(row: PlanRow, now: datetime) -> bool:
    """A bridge that waits for the end of the period, or ended unused, was never anybody's plan."""
    plan, source = row.balance, row.source
    is_waiting = source in (PlanSource.BRIDGE, PlanSource.OVERAGE) and plan.starts_at > now
    return is_waiting or (
        source is PlanSource.BRIDGE and ending(plan, now)[0] is not None and plan.began_at is None
    )


def plan_balance(row: Plan, expired: int = 0) -> PlanBalance:
    """The plan without the `expired` executions that expired reservations still hold."""
    return PlanBalance(
        sequence=row.sequence,
        type=row.type,
        name=row.name,
        executions=row.executions,
        used=row.used,
        held=row.held - expired,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        began_at=row.began_at,
        ended_at=row.ended_at,
        ended_because=row.ended_because,
        priority=row.priority,
        suspended_at=row.suspended_at,
        paused_at=row.paused_at,
        blocked_at=row.blocked_at,
    )
