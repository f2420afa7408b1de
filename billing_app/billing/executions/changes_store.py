"""Writes what a batch of decisions changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import astuple

from billing_app.billing.executions import happenings
from billing_app.billing.executions.driver import Connection, columns
from billing_app.billing.executions.requests import HASH_BYTES
from billing_app.billing.executions.state import Changes, KeyRow, LedgerState
from billing_app.billing.executions.statements import Statements


async def apply(
    connection: Connection, sql: Statements, ledger: LedgerState, changes: Changes
) -> bool:
    """Write what a batch changed, in the caller's transaction; whether that has shown that the
    shard of `sql` is here."""
    plans = [
        (account_id, plan)
        for account_id, account in ledger.accounts.items()
        for plan in account.plans
    ]
    turned = [
        (
            account_id,
            plan.sequence,
            plan.used,
            plan.held,
            plan.began_at,
            plan.ended_at,
            plan.ended_because,
        )
        for account_id, plan in plans
        if plan.turned
    ]
    moved = [
        (account_id, plan.sequence, plan.used, plan.held)
        for account_id, plan in plans
        if plan.moved and not plan.turned
    ]
    if turned:
        await connection.execute(
            sql.turn_plans, *columns(turned, 7), *sql.accounts(ledger.accounts)
        )
    is_shown = False
    if moved or changes.events or changes.keys:
        is_shown = await _apply_counts(connection, sql, ledger, moved, changes)
    await _apply_reservations(connection, sql, ledger, changes)
    await _apply_overage(connection, sql, changes)
    await happenings.write(connection, sql, ledger, changes)
    if changes.denied:
        denied = sorted((*key, count) for key, count in changes.denied.items())
        await connection.execute(sql.deny, changes.now, *columns(denied, 5))
    return is_shown


async def _apply_counts(
    connection: Connection,
    sql: Statements,
    ledger: LedgerState,
    moved: list[tuple[int, int, int, int]],
    changes: Changes,
) -> bool:
    """Whether days were counted."""
    tag = await connection.execute(
        sql.apply,
        *columns(moved, 4),
        changes.now,
        *columns([astuple(event) for event in changes.events], 13),
        *_packed(changes.keys),
        *columns(_counts(changes.used, changes.refunded), 5),
        *sql.accounts(ledger.accounts),
    )
    return tag != "INSERT 0 0"


def _counts(used: Mapping[Any, int], refunded: Mapping[Any, int]) -> list[tuple[Any, ...]]:
    """The key's columns, used, refunded."""
    return [
        (*key, used.get(key, 0), refunded.get(key, 0))
        for key in sorted(used.keys() | refunded.keys())
    ]


def _packed(keys: Sequence[KeyRow]) -> tuple[bytes, str, str, str, str]:
    """All hashes and answers in one value, then accounts, keys, offsets and answer lengths."""
    answers = b"".join([key.request_hash + key.answer for key in keys])
    places: list[tuple[int, str, int, int]] = []
    starts_at = 1
    for key in keys:
        places.append((key.account_id, key.key, starts_at, len(key.answer)))
        starts_at += HASH_BYTES + len(key.answer)
    accounts, names, starts, lengths = columns(places, 4)
    return answers, accounts, names, starts, lengths


async def _apply_overage(connection: Connection, sql: Statements, changes: Changes) -> None:
    if changes.overage_used or changes.overage_refunded:
        counts = _counts(changes.overage_used, changes.overage_refunded)
        await connection.execute(sql.count_overage, changes.now, *columns(counts, 4))


async def _apply_reservations(
    connection: Connection, sql: Statements, ledger: LedgerState, changes: Changes
) -> None:
    if changes.reservations:
        reservations = columns(changes.reservations, 8)
        await connection.execute(sql.reserve, changes.now, *reservations)
        await connection.execute(sql.reserve_parts, *columns(changes.reservation_parts, 4))
    if changes.settled:
        settled = columns(changes.settled, 5)
        await connection.execute(sql.settle, *settled, *sql.accounts(ledger.accounts))
