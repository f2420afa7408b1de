"""Which repairs can still be undone: what they changed has not changed since."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.staff.access.permissions import UNDOABLE, Action
from billing_app.db.enums import PlanType, SubscriptionStatus, When
from billing_app.db.tables import (
    Account,
    AuditEntry,
    ExecutionEvent,
    Membership,
    Plan,
    Subscription,
)

MAX_REFUNDS: Final = 500


@dataclass(frozen=True, slots=True)
class CurrentState:
    """Of one account. `refunded`: by event number, what each refund gave back to each plan;
    `roles`: of its organization's members, by person."""

    account: Account
    plans: dict[int, Plan]
    subscription: Subscription | None
    refunded: dict[int, list[tuple[int, int]]]
    roles: dict[str, str]

    def plan_of(self, entry: AuditEntry) -> Plan | None:
        pair = ids.decode(ids.PLAN, entry.subject)
        return self.plans.get(pair[1]) if pair is not None else None


async def still_undoable(session: AsyncSession, entries: Sequence[AuditEntry]) -> set[int]:
    """Ids of those whose undo finds what it needs now. Entries that have no undo are left out."""
    wanted = [entry for entry in entries if entry.action in UNDOABLE and entry.account_id]
    states = await _read_states(session, wanted)
    found: set[int] = set()
    for entry in wanted:
        state = states.get(entry.account_id or 0)
        if state is not None and entry.id is not None and _works(entry, state):
            found.add(entry.id)
    return found


def _works(entry: AuditEntry, state: CurrentState) -> bool:
    """An entry that lacks a figure cannot be undone from it."""
    try:
        return CHECKS[entry.action](entry, state)
    except KeyError:
        return False


async def _read_states(
    session: AsyncSession, entries: Sequence[AuditEntry]
) -> dict[int, CurrentState]:
    numbers = sorted({entry.account_id for entry in entries if entry.account_id})
    if not numbers:
        return {}
    accounts = await session.exec(select(Account).where(col(Account.id).in_(numbers)))
    refunds = sorted({each for entry in entries for each in _refunds(entry)})
    states = {account.id: CurrentState(account, {}, None, {}, {}) for account in accounts.all()}
    for plan in await session.exec(select(Plan).where(col(Plan.account_id).in_(numbers))):
        states[plan.account_id].plans[plan.sequence] = plan
    events = (
        select(ExecutionEvent)
        .where(col(ExecutionEvent.account_id).in_(numbers))
        .where(col(ExecutionEvent.number).in_(refunds))
    )
    for event in await session.exec(events):
        parts = states[event.account_id].refunded.setdefault(event.number, [])
        parts.append((event.plan_sequence, -event.executions))
    live = (
        select(Subscription)
        .where(col(Subscription.account_id).in_(numbers))
        .where(col(Subscription.ended_at).is_(None))
        .where(col(Subscription.status) != SubscriptionStatus.CANCELED)
        .where(col(Subscription.is_duplicate).is_(False))
    )
    subscriptions = {row.account_id: row for row in await session.exec(live)}
    of_organization: dict[str, list[CurrentState]] = {}
    for state in states.values():
        of_organization.setdefault(state.account.organization_id, []).append(state)
    members = (
        select(Membership)
        .where(col(Membership.organization_id).in_(of_organization))
        .where(col(Membership.user_id).in_({entry.subject for entry in entries}))
    )
    for member in await session.exec(members):
        for state in of_organization[member.organization_id]:
            state.roles[member.user_id] = member.role
    return {
        number: replace(state, subscription=subscriptions.get(number))
        for number, state in states.items()
    }


def _grant(entry: AuditEntry, state: CurrentState) -> bool:
    plan = state.plan_of(entry)
    return plan is not None and not (plan.used or plan.held or plan.ended_at)


def _adjusted(entry: AuditEntry, state: CurrentState) -> bool:
    plan, used = state.plan_of(entry), entry.after["executions"]
    return (
        plan is not None and used <= plan.used and plan.used + plan.held - used <= plan.executions
    )


def _refunded(entry: AuditEntry, state: CurrentState) -> bool:
    """The plans that got the executions back still have them, and the events are kept."""
    if any(number not in state.refunded for number in _refunds(entry)):
        return False
    wanted: dict[int, int] = {}
    for number in _refunds(entry):
        for sequence, executions in state.refunded.get(number, ()):
            wanted[sequence] = wanted.get(sequence, 0) + executions
    plans = {sequence: state.plans[sequence] for sequence in wanted}
    return all(
        plan.used + plan.held + wanted[sequence] <= plan.executions
        for sequence, plan in plans.items()
    )


def _extended(entry: AuditEntry, state: CurrentState) -> bool:
    trial = next((each for each in state.plans.values() if each.type == PlanType.TRIAL), None)
    return (
        trial is not None
        and trial.executions == entry.after["executions"]
        and _stored(trial.ends_at) == entry.after["ends_at"]
        and trial.used + trial.held <= entry.before["executions"]
    )


def _paused(entry: AuditEntry, state: CurrentState) -> bool:
    plan = state.plan_of(entry)
    return plan is not None and _stored(plan.paused_at) == entry.after["paused_at"]


def _blocked(entry: AuditEntry, state: CurrentState) -> bool:
    return _stored(state.account.blocked_at) == entry.after["blocked_at"]


def _moved(entry: AuditEntry, state: CurrentState) -> bool:
    row = state.subscription
    is_later = entry.after["when"] == When.PERIOD_END
    return is_later and row is not None and row.next_offer_version_id == entry.after["version_id"]


def _added(entry: AuditEntry, state: CurrentState) -> bool:
    return state.roles.get(entry.subject) == entry.after["role"]


def _refunds(entry: AuditEntry) -> list[int]:
    """Numbers of its events in the ledger. Of very many, only trying the undo says enough."""
    refunds = entry.after.get("refunds", [])
    return refunds if len(refunds) <= MAX_REFUNDS else []


def _stored(value: Any) -> str | None:
    return value.isoformat() if value is not None else None


CHECKS: Final[dict[str, Callable[[AuditEntry, CurrentState], bool]]] = {
    Action.GRANT: _grant,
    Action.ADJUST: _adjusted,
    Action.REFUND: _refunded,
    Action.EXTEND_TRIAL: _extended,
    Action.MOVE_OFFER: _moved,
    Action.ADD_MEMBER: _added,
    Action.PAUSE: _paused,
    Action.RESUME: _paused,
    Action.BLOCK: _blocked,
    Action.UNBLOCK: _blocked,
}
