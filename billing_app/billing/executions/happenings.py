"""What decisions bring about besides counting: alerts, and events of accounts. Written in the
transaction of the decisions, with statements of their own only when something happened."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from billing_app.billing import ids
from billing_app.billing.account_events import outbox
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, event_row
from billing_app.billing.alerts.raising import CHANNEL
from billing_app.billing.alerts.rules import BALANCE_KINDS, Crossing, figures_of
from billing_app.billing.executions.driver import Connection, array, columns
from billing_app.billing.executions.state import AccountState, Changes, LedgerState, PlanBalance
from billing_app.billing.executions.statements import ANNOUNCE, Statements
from billing_app.db.enums import PlanType

_TRIAL: Final = PlanType.TRIAL
Event = tuple[int, NewEvent]
"""Of an account."""


async def write(
    connection: Connection, sql: Statements, ledger: LedgerState, changes: Changes
) -> None:
    """Without rules (`watched`), there is nobody to tell."""
    events = await _plan_events(connection, sql, ledger, changes)
    if changes.crossings:
        await _write_alerts(connection, sql, ledger, changes)
        events += _balance_events(changes)
    if events:
        rows = [event_row(account_id, event, changes.now) for account_id, event in events]
        await connection.execute(sql.append_events, *columns(rows, 6))
        await connection.execute(ANNOUNCE, outbox.CHANNEL, "")


async def _write_alerts(
    connection: Connection, sql: Statements, ledger: LedgerState, changes: Changes
) -> None:
    crossings = [each for each in changes.crossings if each.rule is not None]
    if not crossings:
        return
    # By the first crossing of each rule: what the batch itself raises is cleared as it is written.
    first = {(each.account_id, each.key): each.is_met for each in reversed(crossings)}
    crossed = sorted((*place, is_met) for place, is_met in first.items())
    accounts = sql.accounts(ledger.accounts)
    await connection.execute(sql.clear_alerts, changes.now, *columns(crossed, 3), *accounts)
    rows = [
        _alert(crossing, crossings[place + 1 :])
        for place, crossing in enumerate(crossings)
        if crossing.is_met
    ]
    if rows:
        await connection.execute(sql.raise_alerts, changes.now, *columns(rows, 6), *accounts)
        await connection.execute(ANNOUNCE, CHANNEL, "")


def _alert(crossing: Crossing, later: list[Crossing]) -> tuple[Any, ...]:
    """Account, number, kind, rule, figures, and whether the batch itself cleared it again."""
    assert crossing.rule is not None
    place = (crossing.account_id, crossing.key)
    is_cleared = any(not each.is_met and (each.account_id, each.key) == place for each in later)
    figures = msgspec.json.encode(
        figures_of(crossing.rule, crossing.level, crossing.price)
    ).decode()
    kind = str(crossing.rule.kind)
    return crossing.account_id, crossing.number, kind, crossing.key, figures, is_cleared


def _balance_events(changes: Changes) -> list[Event]:
    """balance.low at a rule's threshold, balance.depleted at zero, balance.recovered above them."""
    events: list[Event] = []
    for crossing in changes.crossings:
        data: dict[str, Any] = {
            "executions_left": crossing.level.left,
            "executions_total": crossing.level.total,
        }
        if crossing.rule is None:
            kind = EventType.BALANCE_DEPLETED if crossing.is_met else EventType.BALANCE_RECOVERED
        elif crossing.rule.kind in BALANCE_KINDS:
            kind = EventType.BALANCE_LOW if crossing.is_met else EventType.BALANCE_RECOVERED
            data |= {"rule": str(crossing.rule.kind), "threshold": crossing.rule.value}
        else:
            continue
        events.append((crossing.account_id, NewEvent(kind, data)))
    return events


async def _plan_events(
    connection: Connection, sql: Statements, ledger: LedgerState, changes: Changes
) -> list[Event]:
    """plan.ended of plans that ended, plan.started of those that are used from now on."""
    turns = [turn for account in ledger.accounts.values() for turn in _turns(account, changes.now)]
    if not turns:
        return []
    accounts = {account_id for account_id, _, _ in turns}
    rows = await connection.fetch(
        sql.plan_sources,
        array(sorted(accounts)),
        array(sorted({plan.sequence for _, plan, _ in turns})),
        *sql.accounts(accounts),
    )
    sources = {(row[0], row[1]): row[2] for row in rows}
    return [
        (account_id, _event(kind, account_id, plan, sources[account_id, plan.sequence]))
        for account_id, plan, kind in turns
    ]


def _turns(account: AccountState, now: datetime) -> Iterator[tuple[int, PlanBalance, EventType]]:
    """Other plans than trials start as they are added, or when others end: whoever adds them tells
    that (account_events/changes.py)."""
    is_turned = False
    for plan in account.plans:
        if plan.turned:
            is_turned = True
            if plan.ended_at is not None:
                yield account.id, plan, EventType.PLAN_ENDED
        elif plan.type == _TRIAL and plan.moved and plan.began_at == now:
            yield account.id, plan, EventType.PLAN_STARTED
    if is_turned and (usable := account.usable(now)):
        yield account.id, usable[0], EventType.PLAN_STARTED


def _event(kind: EventType, account_id: int, plan: PlanBalance, source: str) -> NewEvent:
    plan_id = ids.encode(ids.PLAN, account_id, plan.sequence)
    data: dict[str, Any] = {
        "plan": {"id": plan_id, "type": plan.type, "name": plan.name, "source": source}
    }
    if kind is EventType.PLAN_STARTED:
        return NewEvent(kind, data, outbox.plan_started_key(plan.sequence))
    assert plan.ended_at is not None
    data |= {"ended_at": plan.ended_at, "ended_because": plan.ended_because}
    return NewEvent(kind, data, outbox.plan_ended_key(plan.sequence, plan.ended_at))
