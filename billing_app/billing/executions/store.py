"""One batch, one transaction: lock, read with a new snapshot, decide, apply, commit."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from msgspec.structs import astuple

from billing_app.billing.errors import DeniedError
from billing_app.billing.executions import statements
from billing_app.billing.executions.decide import decide
from billing_app.billing.executions.directory import Directory, Target, Targets
from billing_app.billing.executions.driver import Connection, Row, array, columns
from billing_app.billing.executions.idempotency import client_key, natural_key
from billing_app.billing.executions.kept_events import kept_numbers
from billing_app.billing.executions.requests import (
    CHECK,
    HASH_BYTES,
    Adjust,
    CheckRequest,
    Commit,
    Decision,
    Refund,
    Release,
    Request,
)
from billing_app.billing.executions.state import (
    AccountState,
    Changes,
    EventState,
    KeyRow,
    KnownAnswer,
    LedgerState,
    Part,
    PlanBalance,
    ReservationState,
)

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
DIRECT: Final = "connect directly, or through a pooler in session mode"
# The columns after the account id, in the order of PlanBalance's first fields.
PLAN_COLUMNS: Final = slice(1, 16)
CONNECT_TIMEOUT_SECONDS: Final = 3.0
COMMAND_TIMEOUT_SECONDS: Final = 8.0


async def connect(url: str) -> Connection:
    """A connection for the hot path only: every statement reads a few rows by index."""
    open_connection: Any = getattr(asyncpg, "connect")  # noqa: B009 - asyncpg has no types
    return await open_connection(
        url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings=SESSION_SETTINGS,
    )


async def unready_because(url: str) -> str:
    """Why a connection of the hot path cannot decide, in one line; "" when it can.

    A pooler in transaction mode refuses its settings, or loses them with the transaction.
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
        return f"cannot decide: {str(error).splitlines()[0] if str(error) else repr(error)}"
    lost = sorted(row["name"] for row in rows if wanted[row["name"]] != row["setting"])
    if not lost:
        return ""
    return f"session settings are lost ({', '.join(lost)}): {DIRECT}"


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
        targets, new = await resolve(connection, directory, requests)
        decisions = await decide_in_transaction(connection, directory, requests, targets, at=at)
    directory.keep(new)
    return decisions


async def decide_beside(
    connection: Connection, directory: Directory, requests: Sequence[Refund | Adjust]
) -> list[Decision]:
    """Decide in the caller's transaction, next to its other writes; the caller commits."""
    return await decide_in_transaction(connection, directory, requests, {})


async def resolve(
    connection: Connection, directory: Directory, requests: Iterable[Request]
) -> tuple[Targets, Targets]:
    """The accounts that requests name, and those of them that were not cached yet.

    Some may have been created just now: call `directory.keep` after the commit.
    """
    return await directory.resolve(connection, _targets(requests))


async def decide_in_transaction(
    connection: Connection,
    directory: Directory,
    requests: Sequence[Request],
    targets: Targets,
    *,
    at: datetime | None = None,
    read_keys_first: bool = True,
) -> list[Decision]:
    """Lock, decide, write. The caller has begun the transaction, and commits.

    Without `read_keys_first`, the keys of check requests are assumed to be new. When one is not,
    this raises KnownKeyError or asyncpg.UniqueViolationError, and the caller rolls back.
    """
    ledger = await _load(
        connection, directory, requests, targets, at, read_keys_first=read_keys_first
    )
    ledger.now = at or ledger.now
    decisions, changes = decide(requests, ledger)
    if not read_keys_first:
        await _require_new_keys_of_denied(connection, requests, targets, decisions)
    await _apply(connection, ledger, changes)
    return decisions


async def _require_new_keys_of_denied(
    connection: Connection,
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
    if keys and await _known(connection, keys):
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
    account_ids = sorted({account for account in targets.values() if isinstance(account, int)})
    rows = await connection.fetch(statements.READ_PLANS, array(account_ids), array([]), None)
    ledger = await _ledger(connection, directory, account_ids, rows)
    ledger.targets = targets
    if any(row["held"] for row in rows):
        ledger.reservations = await _reservations(connection, account_ids, ledger.now, [])
    decisions, _ = decide(requests, ledger)
    return decisions


def _targets(requests: Iterable[Request]) -> set[Target]:
    return {
        (request.organization_id, request.user_id)
        for request in requests
        if isinstance(request, CheckRequest)
    }


async def _load(
    connection: Connection,
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
    with_closed = sorted({request.account_id for request in others})
    checked = {account for account in targets.values() if isinstance(account, int)}
    account_ids = sorted(checked.union(with_closed))
    rows = await connection.fetch(statements.LOCK_PLANS, array(account_ids), array(with_closed), at)
    ledger = await _ledger(connection, directory, account_ids, rows, at)
    ledger.targets = targets
    if read_keys_first and (keys := _keys(requests, targets)):
        ledger.known = await _known(connection, keys)
    if settling or any(row["held"] for row in rows):
        named = [(request.account_id, request.number) for request in settling]
        ledger.reservations = await _reservations(connection, account_ids, ledger.now, named)
    if refunds:
        ledger.events = await _events(connection, refunds)
        missing = {r.account_id for r in refunds if (r.account_id, r.number) not in ledger.events}
        ledger.kept_from = await kept_numbers(connection, missing) if missing else {}
    return ledger


def _keys(requests: Sequence[Request], targets: Targets) -> list[tuple[int, str]]:
    keys: list[tuple[int, str]] = []
    for request in requests:
        if isinstance(request, CheckRequest):
            if request.mode is not CHECK:
                account_id = targets[request.organization_id, request.user_id]
                if isinstance(account_id, int):
                    keys.append((account_id, client_key(request.idempotency_key)))
        elif not isinstance(request, Adjust):
            keys.append((request.account_id, natural_key(request)))
    return keys


async def _ledger(
    connection: Connection,
    directory: Directory,
    account_ids: list[int],
    rows: Sequence[Row],
    at: datetime | None = None,
) -> LedgerState:
    owners = await directory.owners(connection, account_ids)
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
        for row in await connection.fetch(statements.LAST_CLOSED_PLANS, array(without_open), at):
            accounts[row[0]].last_closed = _plan(row)
    clock = rows[-1] if rows else (await connection.fetch(statements.CLOCK))[0]
    ledger = LedgerState.empty(clock["now"])
    ledger.accounts = accounts
    return ledger


def _plan(row: Row) -> PlanBalance:
    return PlanBalance(*row[PLAN_COLUMNS])


async def _known(
    connection: Connection, keys: list[tuple[int, str]]
) -> dict[tuple[int, str], KnownAnswer]:
    rows = await connection.fetch(statements.KNOWN_KEYS, *columns(keys, 2))
    return {(row[0], row[1]): KnownAnswer(row[2], row[3]) for row in rows}


async def _reservations(
    connection: Connection,
    account_ids: list[int],
    now: datetime,
    named: list[tuple[int, int]],
) -> dict[tuple[int, int], ReservationState]:
    """Those that have expired, and those that requests commit or release."""
    rows = await connection.fetch(
        statements.RESERVATIONS,
        array(account_ids),
        now,
        *columns(named, 2),
    )
    reservations: dict[tuple[int, int], ReservationState] = {}
    for row in rows:
        state = reservations.setdefault((row[0], row[1]), ReservationState(*row[:8], parts=[]))
        state.parts.append(Part(row["plan_sequence"], row["held"]))
    return reservations


async def _events(
    connection: Connection, refunds: list[Refund]
) -> dict[tuple[int, int], EventState]:
    named = sorted({(refund.account_id, refund.number) for refund in refunds})
    rows = await connection.fetch(statements.EVENTS, *columns(named, 2))
    events: dict[tuple[int, int], EventState] = {}
    for row in rows:
        state = events.setdefault(
            (row[0], row[1]), EventState(row[0], row[1], 0, row[2], row[3], parts=[])
        )
        state.executions += row["executions"]
        state.parts.append(Part(row["plan_sequence"], row["executions"] - row["refunded"]))
    return events


async def _apply(connection: Connection, ledger: LedgerState, changes: Changes) -> None:
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
        await connection.execute(statements.TURN_PLANS, *columns(turned, 7))
    if moved or changes.events or changes.keys:
        await _apply_counts(connection, moved, changes)
    await _apply_reservations(connection, changes)
    await _apply_overage(connection, changes)
    if changes.denied:
        denied = sorted((*key, count) for key, count in changes.denied.items())
        await connection.execute(statements.DENY, changes.now, *columns(denied, 5))


async def _apply_counts(
    connection: Connection, moved: list[tuple[int, int, int, int]], changes: Changes
) -> None:
    await connection.execute(
        statements.APPLY,
        *columns(moved, 4),
        changes.now,
        *columns([astuple(event) for event in changes.events], 13),
        *_packed(changes.keys),
        *columns(_counts(changes.used, changes.refunded), 5),
    )


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


async def _apply_overage(connection: Connection, changes: Changes) -> None:
    if changes.overage_used or changes.overage_refunded:
        counts = _counts(changes.overage_used, changes.overage_refunded)
        await connection.execute(statements.COUNT_OVERAGE, changes.now, *columns(counts, 4))


async def _apply_reservations(connection: Connection, changes: Changes) -> None:
    if changes.reservations:
        reservations = columns(changes.reservations, 8)
        await connection.execute(statements.RESERVE, changes.now, *reservations)
        await connection.execute(statements.RESERVE_PARTS, *columns(changes.reservation_parts, 4))
    if changes.settled:
        await connection.execute(statements.SETTLE, *columns(changes.settled, 5))
