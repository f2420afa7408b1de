"""One batch, one transaction: lock, read with a new snapshot, decide, apply, commit."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from billing_app.billing.errors import DeniedError
from billing_app.billing.executions import changes_store
from billing_app.billing.executions.by_shard import by_shard, targets_of
from billing_app.billing.executions.crossings import watch_accounts
from billing_app.billing.executions.decide import decide
from billing_app.billing.executions.directory import Directory, Targets
from billing_app.billing.executions.driver import Connection, Row, array, columns
from billing_app.billing.executions.event_rows import Part
from billing_app.billing.executions.idempotency import client_key, natural_key
from billing_app.billing.executions.kept_events import kept_numbers
from billing_app.billing.executions.lease_store import read_leases
from billing_app.billing.executions.requests import (
    CHECK,
    Adjust,
    CheckRequest,
    Commit,
    Decision,
    Refund,
    Release,
    Request,
    SettleLease,
)
from billing_app.billing.executions.shards import MisroutedError, Node, Shard, ShardMap
from billing_app.billing.executions.state import (
    AccountState,
    EventState,
    KnownAnswer,
    LedgerState,
    PlanBalance,
    ReservationState,
)
from billing_app.billing.executions.statements import PLAIN, ROUTED, Statements
from billing_app.db import poolers

SESSION_SETTINGS: Final = {
    "application_name": "billing executions",
    "timezone": "UTC",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "lock_timeout": "1000",
    "statement_timeout": "5000",
    "idle_in_transaction_session_timeout": "10000",
}
# Poolers rewrite the others themselves.
CHECKED_SETTINGS: Final = frozenset(SESSION_SETTINGS) - {"application_name", "timezone"}
# Citus hides its shards from whoever reads pg_class, which the driver does before it first sends an
# array: on each connection that would take seconds.
SHOW_SHARDS: Final = "citus.show_shards_for_app_name_prefixes = 'billing'"
CUSTOM_PLANS: Final = "plan_cache_mode = force_custom_plan"
# The columns after the account id, in the order of PlanBalance's first fields.
PLAN_COLUMNS: Final = slice(1, 17)
CONNECT_TIMEOUT_SECONDS: Final = 3.0
COMMAND_TIMEOUT_SECONDS: Final = 8.0


async def connect(url: str, node: Node | None = None) -> Connection:
    """A connection for the hot path only: every statement reads a few rows by index.

    To `node` of a cluster, or to where the URL says.
    """
    place = {"host": node.host, "port": node.port} if node and node.host else {}
    open_connection: Any = getattr(asyncpg, "connect")  # noqa: B009 - asyncpg has no types
    return await open_connection(
        url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings=SESSION_SETTINGS,
        **place,
    )


async def unready_because(url: str) -> str:
    """Why a connection of the hot path cannot decide, in one line; "" when it can.

    A pooler refuses its settings, or loses them.
    """
    wanted = {name: value for name, value in SESSION_SETTINGS.items() if name in CHECKED_SETTINGS}
    query = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"
    try:
        connection = await connect(url)
        try:
            rows = await connection.fetch(query, list(wanted))
        finally:
            await connection.close(timeout=1)
    except Exception as error:
        # Whatever it is, the decisions meet it too.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        return f"cannot decide: {poolers.explain(reason)}"
    lost = [row["name"] for row in rows if wanted[row["name"]] != row["setting"]]
    return poolers.lost(lost) if lost else ""


class KnownKeyError(Exception):
    """A request that was assumed to be new, and was denied, already has a stored answer."""


async def transact(
    connection: Connection,
    directory: Directory,
    requests: Sequence[Request],
    *,
    at: datetime | None = None,
) -> list[Decision]:
    """Decide a batch and make it durable. Either all of its changes are committed or none.

    The time of a decision is the database's, read after the locks; `at` overrides it to generate
    a history.
    """
    async with connection.transaction():
        shards = await find_shards(connection, directory)
        targets, new = await resolve(connection, directory, requests)
        decisions = await _decide_anywhere(connection, directory, requests, targets, shards, at=at)
    directory.keep(new)
    return decisions


async def decide_beside(
    connection: Connection, directory: Directory, requests: Sequence[Refund | Adjust]
) -> list[Decision]:
    """Decide in the caller's transaction, next to its other writes; the caller commits."""
    shards = await find_shards(connection, directory)
    return await _decide_anywhere(connection, directory, requests, {}, shards)


async def find_shards(connection: Connection, directory: Directory) -> ShardMap | None:
    """None on a plain PostgreSQL. The transaction may use what the coordinator can route."""
    shards = await directory.find_shards(connection)
    if shards is not None:
        await connection.execute(f"SET LOCAL {CUSTOM_PLANS}; SET LOCAL {SHOW_SHARDS}")
    return shards


async def _decide_anywhere(
    connection: Connection,
    directory: Directory,
    requests: Sequence[Request],
    targets: Targets,
    shards: ShardMap | None,
    *,
    at: datetime | None = None,
) -> list[Decision]:
    if shards is None:
        return await decide_in_transaction(connection, directory, requests, targets, at=at)

    async def decide_part(_: Shard, part: Sequence[Request], owned: Targets) -> list[Decision]:
        return await decide_in_transaction(connection, directory, part, owned, at=at, sql=ROUTED)

    return await by_shard(shards, requests, targets, decide_part)


async def resolve(
    connection: Connection, directory: Directory, requests: Iterable[Request]
) -> tuple[Targets, Targets]:
    """The accounts that requests name, and those of them that were not cached yet.

    Some may have been created just now: call `directory.keep` after the commit.
    """
    return await directory.resolve(connection, targets_of(requests))


async def decide_in_transaction(
    connection: Connection,
    directory: Directory,
    requests: Sequence[Request],
    targets: Targets,
    *,
    at: datetime | None = None,
    read_keys_first: bool = True,
    sql: Statements = PLAIN,
    alerted: set[int] | None = None,
) -> list[Decision]:
    """Lock, decide, write. The caller has begun the transaction, and commits.

    Accounts with new alerts that no worker has heard of are added to `alerted`.

    On a cluster, all requests are about accounts of one shard, and `sql` reaches that. Without
    `read_keys_first`, the keys of check requests are assumed to be new. When one is not, this
    raises KnownKeyError or asyncpg.UniqueViolationError, and the caller rolls back.
    """
    ledger = await _load(
        connection, sql, directory, requests, targets, at, read_keys_first=read_keys_first
    )
    ledger.now = at or ledger.now
    watch_accounts(ledger, directory.rule_book)
    decisions, changes = decide(requests, ledger)
    if not read_keys_first:
        await _require_new_keys_of_denied(connection, sql, requests, targets, decisions)
    is_shown = await changes_store.apply(connection, sql, ledger, changes)
    if sql.shard and not is_shown:
        _require_here(await connection.fetch(sql.clock))
    if alerted is not None and sql.shard:
        alerted.update(crossing.account_id for crossing in changes.crossings)
    return decisions


def _require_here(rows: Sequence[Row]) -> None:
    if not rows[-1]["is_here"]:
        raise MisroutedError


async def _require_new_keys_of_denied(
    connection: Connection,
    sql: Statements,
    requests: Sequence[Request],
    targets: Targets,
    decisions: Sequence[Decision],
) -> None:
    """A denial writes no key that could collide, but a retry of an accepted request must not be
    denied."""
    denied = [
        request
        for request, decision in zip(requests, decisions, strict=True)
        if isinstance(decision, DeniedError)
    ]
    keys = _keys(denied, targets)
    if keys and await _known(connection, sql, keys):
        raise KnownKeyError


async def check(
    connection: Connection, directory: Directory, requests: Sequence[CheckRequest]
) -> list[Decision]:
    """Decide checks of accounts that `directory` has cached: one read, no lock, no change."""
    targets: Targets = {}
    for request in requests:
        target = (request.organization_id, request.user_id)
        account_id = directory.known(target)
        if account_id is None:
            return await transact(connection, directory, requests)
        targets[target] = account_id
    return await check_without_locks(connection, directory, requests, targets)


async def check_without_locks(
    connection: Connection,
    directory: Directory,
    requests: Sequence[CheckRequest],
    targets: Targets,
    sql: Statements = PLAIN,
) -> list[Decision]:
    """Decide checks of the accounts that `targets` name; on a cluster, of one shard."""
    account_ids = sorted({account for account in targets.values() if isinstance(account, int)})
    rows = await connection.fetch(
        sql.read_plans, array(account_ids), array([]), None, *sql.accounts(account_ids)
    )
    if sql.shard:
        _require_here(rows or await connection.fetch(sql.clock))
    ledger = await _ledger(connection, sql, directory, account_ids, rows)
    ledger.targets = targets
    if any(row["held"] for row in rows):
        ledger.reservations = await _reservations(connection, sql, account_ids, ledger.now, [])
    decisions, _ = decide(requests, ledger)
    return decisions


async def _load(
    connection: Connection,
    sql: Statements,
    directory: Directory,
    requests: Sequence[Request],
    targets: Targets,
    at: datetime | None,
    *,
    read_keys_first: bool,
) -> LedgerState:
    others = [request for request in requests if not isinstance(request, CheckRequest)]
    settling = [request for request in others if isinstance(request, (Commit, Release))]
    refunds = [request for request in others if isinstance(request, Refund)]
    leases = [request for request in others if isinstance(request, SettleLease)]
    with_closed = sorted({request.account_id for request in others})
    checked = {account for account in targets.values() if isinstance(account, int)}
    account_ids = sorted(checked.union(with_closed))
    rows = await connection.fetch(
        sql.lock_plans, array(account_ids), array(with_closed), at, *sql.accounts(account_ids)
    )
    ledger = await _ledger(connection, sql, directory, account_ids, rows, at)
    ledger.targets = targets
    if read_keys_first and (keys := _keys(requests, targets)):
        ledger.known = await _known(connection, sql, keys)
    if settling or any(row["held"] for row in rows):
        named = [(request.account_id, request.number) for request in settling]
        ledger.reservations = await _reservations(connection, sql, account_ids, ledger.now, named)
    if leases:
        ledger.leases = await read_leases(connection, sql, leases)
    if refunds:
        ledger.events = await _events(connection, sql, refunds)
        missing = {r.account_id for r in refunds if (r.account_id, r.number) not in ledger.events}
        ledger.kept_from = await kept_numbers(connection, sql, missing) if missing else {}
    return ledger


def _keys(requests: Sequence[Request], targets: Targets) -> list[tuple[int, str]]:
    keys: list[tuple[int, str]] = []
    for request in requests:
        if isinstance(request, CheckRequest):
            if request.mode is not CHECK:
                account_id = targets[request.organization_id, request.user_id]
                if isinstance(account_id, int):
                    keys.append((account_id, client_key(request.idempotency_key)))
        elif not isinstance(request, (Adjust, SettleLease)):
            keys.append((request.account_id, natural_key(request)))
    return keys


async def _ledger(
    connection: Connection,
    sql: Statements,
    directory: Directory,
    account_ids: list[int],
    rows: Sequence[Row],
    at: datetime | None = None,
) -> LedgerState:
    clock = rows[-1] if rows else (await connection.fetch(sql.clock))[0]
    owners = directory.kept_owners
    if not sql.shard:
        owners = await directory.owners(connection, account_ids)
    elif any(account not in owners for account in account_ids):
        raise MisroutedError
    accounts = {
        account_id: AccountState(account_id, owners[account_id], [])
        for account_id in account_ids
        if account_id in owners
    }
    for row in rows:
        accounts[row[0]].plans.append(_plan(row))
    without_open = [
        account.id
        for account in accounts.values()
        if all(plan.ended_at is not None for plan in account.plans)
    ]
    if without_open:
        for row in await connection.fetch(
            sql.last_closed_plans, array(without_open), at, *sql.accounts(without_open)
        ):
            accounts[row[0]].last_closed = _plan(row)
    ledger = LedgerState.empty(clock["now"])
    ledger.accounts = accounts
    return ledger


def _plan(row: Row) -> PlanBalance:
    return PlanBalance(*row[PLAN_COLUMNS])


async def _known(
    connection: Connection, sql: Statements, keys: list[tuple[int, str]]
) -> dict[tuple[int, str], KnownAnswer]:
    accounts = sql.accounts({account for account, _ in keys})
    rows = await connection.fetch(sql.known_keys, *columns(keys, 2), *accounts)
    return {(row[0], row[1]): KnownAnswer(row[2], row[3]) for row in rows}


async def _reservations(
    connection: Connection,
    sql: Statements,
    account_ids: list[int],
    now: datetime,
    named: list[tuple[int, int]],
) -> dict[tuple[int, int], ReservationState]:
    """Those that have expired, and those that requests commit or release."""
    rows = await connection.fetch(
        sql.reservations,
        array(account_ids),
        now,
        *columns(named, 2),
        *sql.accounts(account_ids),
    )
    reservations: dict[tuple[int, int], ReservationState] = {}
    for row in rows:
        state = reservations.setdefault((row[0], row[1]), ReservationState(*row[:9], parts=[]))
        if row["plan_sequence"] is not None:
            state.parts.append(Part(row["plan_sequence"], row["held"]))
    return reservations


async def _events(
    connection: Connection, sql: Statements, refunds: list[Refund]
) -> dict[tuple[int, int], EventState]:
    named = sorted({(refund.account_id, refund.number) for refund in refunds})
    accounts = sql.accounts({account for account, _ in named})
    numbers = [number for _, number in named]
    rows = await connection.fetch(
        sql.events, *columns(named, 2), min(numbers), max(numbers), *accounts
    )
    events: dict[tuple[int, int], EventState] = {}
    for row in rows:
        state = events.setdefault(
            (row[0], row[1]), EventState(row[0], row[1], 0, row[2], row[3], parts=[])
        )
        state.executions += row["executions"]
        state.parts.append(Part(row["plan_sequence"], row["executions"] - row["refunded"]))
    return events
