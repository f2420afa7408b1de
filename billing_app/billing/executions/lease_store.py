"""Reads the leases that a batch settles, and writes what it changed of leases."""

from collections.abc import Collection

from billing_app.billing.executions.driver import Connection, columns
from billing_app.billing.executions.event_rows import Part
from billing_app.billing.executions.lease_state import LeaseChanges, LeaseState, LineKey
from billing_app.billing.executions.requests import SettleLease
from billing_app.billing.executions.statements import Statements

# The columns of LEASES before the plan's part.
LEASE_COLUMNS = slice(0, 15)


async def read_leases(
    connection: Connection, sql: Statements, requests: Collection[SettleLease]
) -> dict[tuple[int, int], LeaseState]:
    named = sorted({(request.account_id, request.number) for request in requests})
    accounts = sql.accounts({account for account, _ in named})
    leases: dict[tuple[int, int], LeaseState] = {}
    for row in await connection.fetch(sql.leases, *columns(named, 2), *accounts):
        key = (row[0], row[1])
        if key not in leases:
            leases[key] = LeaseState(*row[LEASE_COLUMNS])
        if row["plan_sequence"] is not None:
            leases[key].parts.append(Part(row["plan_sequence"], row["held"]))
    for row in await connection.fetch(sql.lease_lines, *columns(named, 2), *accounts):
        leases[row[0], row[1]].lines[LineKey(row[2], row[3], row[4])] = row[5]
    return leases


async def write_leases(
    connection: Connection, sql: Statements, changes: LeaseChanges, account_ids: Collection[int]
) -> None:
    accounts = sql.accounts(account_ids)
    if changes.opened:
        await connection.execute(sql.open_leases, *columns(changes.opened, 5))
    if not changes.changed:
        return
    rows = list(changes.lease_rows())
    await connection.execute(sql.change_leases, *columns([row[:8] for row in rows], 8), *accounts)
    renewed = [(*row[:3], row[8]) for row in rows]
    await connection.execute(sql.renew_reservations, *columns(renewed, 4), *accounts)
    kept = sorted((*key, held) for key, held in changes.parts.items() if held)
    if kept:
        await connection.execute(sql.keep_holds, *columns(kept, 4))
    used = sorted(key for key, held in changes.parts.items() if not held)
    if used:
        await connection.execute(sql.drop_holds, *columns(used, 3), *accounts)
    if changes.lines:
        await connection.execute(sql.count_lines, *columns(list(changes.line_rows()), 6))
    await _write_past(connection, sql, changes)


async def _write_past(connection: Connection, sql: Statements, changes: LeaseChanges) -> None:
    if changes.past_events:
        await connection.execute(sql.past_events, *columns(list(changes.event_rows()), 14))
        await connection.execute(sql.past_usage, *columns(list(changes.used_rows()), 5))
    if changes.past_overage:
        await connection.execute(sql.past_overage, *columns(list(changes.overage_rows()), 4))
