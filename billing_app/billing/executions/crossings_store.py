"""Writes the alerts of decisions that crossed a threshold, in the transaction of the decisions."""

from typing import Any

import msgspec

from billing_app.billing.alerts.rules import Crossing
from billing_app.billing.executions.driver import Connection, columns
from billing_app.billing.executions.state import Changes, LedgerState
from billing_app.billing.executions.statements import Statements
from billing_app.db.enums import AlertKind


async def write(
    connection: Connection, sql: Statements, ledger: LedgerState, changes: Changes
) -> None:
    crossings = [each for each in changes.crossings if each.rule is not None]
    crossed = sorted({(each.account_id, _key(each)) for each in crossings})
    if crossed:
        accounts = sql.accounts(ledger.accounts)
        await connection.execute(sql.clear_alerts, changes.now, *columns(crossed, 2), *accounts)
    if rows := _alerts(crossings):
        await connection.execute(sql.raise_alerts, changes.now, *columns(rows, 6))


def _alerts(crossings: list[Crossing]) -> list[tuple[Any, ...]]:
    """Account, number, kind, rule, figures, and whether the batch itself cleared it again."""
    rows: list[tuple[Any, ...]] = []
    for place, crossing in enumerate(crossings):
        if not crossing.is_met or crossing.rule is None:
            continue
        is_cleared = any(
            not later.is_met and _key(later) == _key(crossing)
            for later in crossings[place + 1 :]
            if later.account_id == crossing.account_id
        )
        figures = msgspec.json.encode(figures_of(crossing)).decode()
        rows.append(
            (
                crossing.account_id,
                crossing.number,
                crossing.rule.kind,
                crossing.rule.key,
                figures,
                is_cleared,
            )
        )
    return rows


def figures_of(crossing: Crossing) -> dict[str, Any]:
    """What an alert about the balance tells: executions, and for overage its amount."""
    rule, level, price = crossing.rule, crossing.level, crossing.price
    assert rule is not None
    figures: dict[str, Any] = {
        "threshold": rule.value,
        "executions_left": level.left,
        "executions_total": level.total,
    }
    if rule.kind == AlertKind.OVERAGE_SPENT and price is not None:
        figures["overage_executions"] = level.overage
        figures["amount_minor"] = price.amount_minor(level.overage)
        figures["currency"] = price.currency
    return figures


def _key(crossing: Crossing) -> str:
    assert crossing.rule is not None
    return crossing.rule.key
