"""An account's plans: the current one, upcoming ones, and the history."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.executions.expired_holds import expired_holds
from billing_app.billing.executions.state import AccountState, PlanBalance, balance_of
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting
from billing_app.billing.overage.views import OverageView, read_overage
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, PlanSource, PlanType
from billing_app.db.tables import Account, Plan


class PlanState(StrEnum):
    UPCOMING = "upcoming"
    CURRENT = "current"
    ENDED = "ended"


class BeginReason(StrEnum):
    FIRST_PLAN = "first_plan"
    PREVIOUS_DEPLETED = "previous_depleted"
    PREVIOUS_PERIOD_ENDED = "previous_period_ended"
    PREVIOUS_CANCELLED = "previous_cancelled"
    PREVIOUS_REPLACED = "previous_replaced"
    PREVIOUS_FULL = "previous_full"


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
    that ended. `plan` is None when no plan has begun yet.
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


async def read_current(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> CurrentPlan:
    """Raises AccountNotFoundError, ScopeMissingError. Changes nothing."""
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        views, balances = await _read_plans(session, account, now)
        has_overage = any(view.source is PlanSource.OVERAGE for view in views)
        overage = await read_overage(session, account.id, now) if has_overage else None
    views = [view for view in views if view.source is not PlanSource.OVERAGE]
    balances = [balance for balance in balances if not balance.is_overage]
    state = AccountState(account.id, account.organization_id, balances)
    current = [view for view in views if view.state is PlanState.CURRENT]
    # A fully reserved or overdue plan is current too: put the one that is used next first.
    used_next = next((plan.sequence for plan in state.usable(now) if plan.remaining), None)
    current.sort(key=lambda view: view.sequence != used_next)
    ended = [view for view in views if view.state is PlanState.ENDED]
    plan = (current or ended[-1:] or [None])[0]
    if plan is not None and not state.usable(now):
        state.plans = [each for each in balances if each.sequence == plan.sequence]
    balance = balance_of(state, now)
    return CurrentPlan(
        account_id=account_id,
        plan=plan,
        executions_total=balance.total,
        executions_used=balance.used,
        executions_held=balance.held,
        executions_remaining=balance.remaining,
        period_end=balance.period_end,
        upcoming=[view for view in views if view.state is PlanState.UPCOMING],
        overage=overage,
    )


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
        views, _ = await _read_plans(session, account, now)
    return span.cut(
        view
        for view in views
        if (view.source is not PlanSource.OVERAGE or view.began_at)
        and where.state in (None, view.state)
        and where.source in (None, view.source)
    )


def timeline(
    account_id: int, plans: list[PlanBalance], rows: list[Plan], now: datetime
) -> list[PlanView]:
    """Views of plans in queue order, with when and why each began and ended.

    Overage is not part of the queue: it comes last and no plan follows it.
    """
    views: list[PlanView] = []
    overage: list[PlanView] = []
    has_current = False
    for balance, row in zip(plans, rows, strict=True):
        if balance.is_overage:
            overage.append(_overage_view(account_id, balance, now))
            continue
        began_at, began_because = _beginning(balance, views, now)
        if _ending(balance, now)[0] is not None:
            state = PlanState.ENDED
        elif not has_current and balance.is_usable(now) and balance.remaining:
            state, has_current = PlanState.CURRENT, True
        else:
            is_current = began_at and balance.starts_at <= now and not has_current
            state = PlanState.CURRENT if is_current else PlanState.UPCOMING
        begun = (began_at, began_because)
        views.append(_plan_view(account_id, balance, PlanSource(row.source), state, begun, now))
    return [*views, *overage]


def _overage_view(account_id: int, balance: PlanBalance, now: datetime) -> PlanView:
    """Current for its whole period; it begins when it is first used."""
    ended_at, _ = _ending(balance, now)
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
    begun: tuple[datetime | None, BeginReason | None],
    now: datetime,
) -> PlanView:
    ended_at, ended_because = _ending(balance, now)
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


def _ending(plan: PlanBalance, now: datetime) -> tuple[datetime | None, EndReason | None]:
    if plan.ended_at is not None and plan.ended_because is not None:
        return plan.ended_at, EndReason(plan.ended_because)
    if plan.ends_at is not None and plan.ends_at <= now:
        return plan.ends_at, EndReason.PERIOD_ENDED
    return None, None


def _beginning(
    plan: PlanBalance, earlier: list[PlanView], now: datetime
) -> tuple[datetime | None, BeginReason | None]:
    """A plan begins when it is first used, or when all plans before it have ended. A plan that
    starts later does not count as before it."""
    ended_at, _ = _ending(plan, now)
    until = ended_at or now
    earlier = [view for view in earlier if view.starts_at <= until]
    ends = [view.ended_at for view in earlier if view.ended_at is not None]
    all_ended = len(ends) == len(earlier)
    taken_over = max([plan.starts_at, *ends]) if all_ended else None
    candidates = [at for at in (plan.began_at, taken_over) if at is not None and at <= now]
    if not candidates:
        return None, None
    began_at = min(candidates)
    if ended_at is not None and plan.began_at is None and began_at >= ended_at:
        return None, None
    return began_at, _begin_reason(earlier, all_ended=all_ended)


def _begin_reason(earlier: list[PlanView], *, all_ended: bool) -> BeginReason:
    if not earlier:
        return BeginReason.FIRST_PLAN
    if not all_ended:
        return BeginReason.PREVIOUS_FULL
    last = max(earlier, key=lambda view: (view.ended_at, view.sequence))
    assert last.ended_because is not None
    return {
        EndReason.DEPLETED: BeginReason.PREVIOUS_DEPLETED,
        EndReason.PERIOD_ENDED: BeginReason.PREVIOUS_PERIOD_ENDED,
        EndReason.CANCELLED: BeginReason.PREVIOUS_CANCELLED,
        EndReason.REPLACED: BeginReason.PREVIOUS_REPLACED,
    }[last.ended_because]


async def _read_plans(
    session: AsyncSession, account: Account, now: datetime
) -> tuple[list[PlanView], list[PlanBalance]]:
    query = select(Plan).where(Plan.account_id == account.id)
    query = query.order_by(col(Plan.priority), col(Plan.sequence))
    rows = list((await session.exec(query)).all())
    has_held = any(row.held for row in rows)
    expired = await expired_holds(session, account.id, now) if has_held else {}
    balances = [plan_balance(row, expired.get(row.sequence, 0)) for row in rows]
    return timeline(account.id, balances, rows, now), balances


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
