"""Repairs that correct the ledger: decided by the rules of counting, on the ledger's own
connection, with their audit entry in the same transaction."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from billing_app.billing import ids
from billing_app.billing.errors import AccountNotFoundError, BillingError
from billing_app.billing.executions.requests import Decision
from billing_app.billing.executions.service import Executions, Ledger
from billing_app.billing.staff.access.ownership import IS_OWN
from billing_app.billing.staff.access.permissions import OwnAccountError, may_repair_own
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import entry_of
from billing_app.billing.staff.repairs.repairs import (
    AlreadyUndoneError,
    IdempotencyKeyReusedError,
    RepairRequest,
    RepairResult,
    audit_record_of,
    check_order,
)
from billing_app.db.tables import AuditEntry

LOCK_ACCOUNT: Final = "SELECT id FROM accounts WHERE id = $1 FOR UPDATE"
LOCK_ALL_PLANS: Final = """
SELECT sequence FROM plans WHERE account_id = $1 ORDER BY sequence FOR UPDATE
"""
OWN: Final = IS_OWN.format(account="$1", person="$2")
COLUMNS: Final = (
    "at, actor_id, actor_name, role, action, account_id, own_account, subject, reason, before,"
    " after, undoes, request_key, request_hash"
)
KNOWN: Final = f"""
SELECT id, {COLUMNS} FROM audit_entries WHERE actor_id = $1 AND request_key = $2
"""  # noqa: S608
UNDONE: Final = "SELECT 1 FROM audit_entries WHERE undoes = $1"
INSERT: Final = f"""
INSERT INTO audit_entries ({COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11::jsonb, $12, $13, $14) RETURNING id
"""  # noqa: S608
JSON_COLUMNS: Final = ("before", "after")

Correct = Callable[[Ledger], Awaitable[RepairResult]]


async def repair_ledger(
    executions: Executions, order: RepairRequest, correct: Correct, now: datetime
) -> EntryView:
    """Correct the ledger and write the entry in one transaction, with the account locked.

    Raises as `repair`, and CannotDecideError.
    """
    check_order(order)
    async with executions.ledger() as ledger:
        if not await ledger.connection.fetch(LOCK_ACCOUNT, order.account_id):
            raise AccountNotFoundError
        own_account = await _is_own(ledger, order)
        if own_account and not may_repair_own(order.actor.role):
            raise OwnAccountError
        known = await _known(ledger, order)
        if known is not None:
            return view_of(known)
        if order.undoes is not None and await ledger.connection.fetch(UNDONE, order.undoes):
            raise AlreadyUndoneError
        await ledger.connection.fetch(LOCK_ALL_PLANS, order.account_id)
        done = await correct(ledger)
        entry = entry_of(order.actor, audit_record_of(order, done), now, own_account=own_account)
        await _insert(ledger, entry)
    return view_of(entry)


def answer_of(decision: Decision) -> dict[str, Any]:
    """What was answered; raises what was refused."""
    if isinstance(decision, BillingError):
        raise decision
    return msgspec.json.decode(decision.answer)


def event_number(event_id: str) -> int:
    """Of an event of which we know that it is one."""
    pair = ids.decode(ids.EVENT, event_id)
    assert pair is not None
    return pair[1]


async def _is_own(ledger: Ledger, order: RepairRequest) -> bool:
    return bool(await ledger.connection.fetch(OWN, order.account_id, order.actor.actor_id))


async def _known(ledger: Ledger, order: RepairRequest) -> AuditEntry | None:
    if order.key is None:
        return None
    rows = await ledger.connection.fetch(KNOWN, order.actor.actor_id, order.key)
    if not rows:
        return None
    names = ["id", *COLUMNS.split(", ")]
    values = {name: rows[0][name] for name in names}
    values |= {name: msgspec.json.decode(values[name]) for name in JSON_COLUMNS}
    if values["request_hash"] != order.fingerprint():
        raise IdempotencyKeyReusedError
    return AuditEntry(**values)


async def _insert(ledger: Ledger, entry: AuditEntry) -> None:
    values = [getattr(entry, name) for name in COLUMNS.split(", ")]
    values = [
        msgspec.json.encode(value).decode() if isinstance(value, dict) else value
        for value in values
    ]
    entry.id = (await ledger.connection.fetch(INSERT, *values))[0]["id"]
