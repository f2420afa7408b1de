"""Carrying repairs out: the change and its audit entry are committed together, or neither.

The steps are the same on both drivers. The account's row is locked first, then its plans by
sequence, as everywhere, so that nothing deadlocks. A repeated key gets the first entry again.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import msgspec
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.account_events.changes import telling
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ConflictError,
    IdempotencyKeyReusedError,
    InvalidInputError,
)
from billing_app.billing.executions.requests import Decision
from billing_app.billing.executions.service import Ledger
from billing_app.billing.staff.access.ownership import IS_OWN, is_own
from billing_app.billing.staff.access.permissions import OwnAccountError, may_repair_own
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, entry_of
from billing_app.billing.staff.repairs.repair import (
    F,
    RepairRequest,
    RepairResult,
    RepairServices,
)
from billing_app.db.tables import Account, AuditEntry

MAX_KEY_LENGTH: Final = 255
OWN: Final = IS_OWN.format(account="$1", person="$2")
COLUMNS: Final = (
    "at, actor_id, actor_name, role, action, account_id, own_account, subject, reason, before,"
    " after, undoes, request_key, request_hash"
)
WITH_KEY: Final = f"""
SELECT id, {COLUMNS} FROM audit_entries WHERE actor_id = $1 AND request_key = $2
"""  # noqa: S608
INSERT: Final = f"""
INSERT INTO audit_entries ({COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11::jsonb, $12, $13, $14) RETURNING id
"""  # noqa: S608
LOCK_PLANS: Final = """
SELECT sequence FROM plans WHERE account_id = $1 ORDER BY sequence FOR UPDATE
"""
KEY_CONSTRAINT: Final = "uq_audit_entries_request_key"


class AlreadyUndoneError(ConflictError):
    code = "already_undone"
    title = "Already undone"


class RehearsedError(Exception):
    """Rolls a transaction back after a rehearsal."""


class Transaction(Protocol):
    """What the steps need of an open transaction."""

    async def lock_account(self, account_id: int) -> bool: ...
    async def is_own(self, account_id: int, person_id: str) -> bool: ...
    async def entry_with_key(self, person_id: str, key: str) -> AuditEntry | None: ...
    async def is_undone(self, entry_id: int) -> bool: ...
    async def add(self, entry: AuditEntry) -> None: ...


async def carry_out(
    transaction: Transaction,
    request: RepairRequest[Any],
    change: Callable[[], Awaitable[RepairResult]],
) -> EntryView:
    """Make the change and its entry, with the account locked.

    Raises AccountNotFoundError, OwnAccountError, IdempotencyKeyReusedError, AlreadyUndoneError,
    and what the change raises.
    """
    await _lock(transaction, request)
    known = await known_entry(transaction, request)
    if known is not None:
        return view_of(known)
    await require_not_undone(transaction, request)
    return view_of(await write_entry(transaction, request, await change()))


async def rehearse(
    transaction: Transaction,
    request: RepairRequest[Any],
    change: Callable[[], Awaitable[RepairResult]],
) -> RepairResult:
    """Make the change alone, to be rolled back. Raises as `carry_out`."""
    await _lock(transaction, request)
    await require_not_undone(transaction, request)
    return await change()


async def _lock(transaction: Transaction, request: RepairRequest[Any]) -> None:
    if not await transaction.lock_account(request.account_id):
        raise AccountNotFoundError
    await require_not_own(transaction, request)


def check_request(request: RepairRequest[Any]) -> None:
    """Raises InvalidInputError without a reason, or with an unusable key."""
    clean_reason(request.reason)
    key = request.key
    if key is not None and not (1 <= len(key) <= MAX_KEY_LENGTH and key.isprintable()):
        raise InvalidInputError(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable characters.",
            field="idempotency_key",
        )


async def require_not_own(transaction: Transaction, request: RepairRequest[Any]) -> None:
    """Raises OwnAccountError when the account is the actor's own, and their role is not admin."""
    staff = request.staff
    if not may_repair_own(staff.role) and await transaction.is_own(
        request.account_id, staff.actor_id
    ):
        raise OwnAccountError


async def known_entry(transaction: Transaction, request: RepairRequest[Any]) -> AuditEntry | None:
    """The entry of an earlier request with this key.

    Raises IdempotencyKeyReusedError when that one asked for something else.
    """
    if request.key is None:
        return None
    entry = await transaction.entry_with_key(request.staff.actor_id, request.key)
    if entry is not None and entry.request_hash != request.fingerprint():
        raise IdempotencyKeyReusedError
    return entry


async def require_not_undone(transaction: Transaction, request: RepairRequest[Any]) -> None:
    if request.undoes is not None and await transaction.is_undone(request.undoes):
        raise AlreadyUndoneError


async def write_entry(
    transaction: Transaction, request: RepairRequest[Any], result: RepairResult
) -> AuditEntry:
    audit_record = AuditRecord(
        action=request.action,
        reason=request.reason,
        account_id=request.account_id,
        subject=result.subject,
        before=result.before,
        after=result.after,
        undoes=request.undoes,
        request_key=request.key,
        request_hash=request.fingerprint() if request.key else None,
    )
    is_theirs = await transaction.is_own(request.account_id, request.staff.actor_id)
    entry = entry_of(request.staff, audit_record, request.now, own_account=is_theirs)
    await transaction.add(entry)
    return entry


@dataclass(frozen=True, slots=True)
class SessionTransaction:
    session: AsyncSession

    async def lock_account(self, account_id: int) -> bool:
        return await self.session.get(Account, account_id, with_for_update=True) is not None

    async def is_own(self, account_id: int, person_id: str) -> bool:
        return await is_own(self.session, account_id, person_id)

    async def entry_with_key(self, person_id: str, key: str) -> AuditEntry | None:
        query = select(AuditEntry).where(AuditEntry.actor_id == person_id)
        return (await self.session.exec(query.where(AuditEntry.request_key == key))).first()

    async def is_undone(self, entry_id: int) -> bool:
        query = select(AuditEntry.id).where(col(AuditEntry.undoes) == entry_id)
        return (await self.session.exec(query)).first() is not None

    async def add(self, entry: AuditEntry) -> None:
        self.session.add(entry)
        try:
            await self.session.flush()
        except IntegrityError as error:
            if KEY_CONSTRAINT in str(error.orig):
                raise IdempotencyKeyReusedError from None
            raise


@dataclass(frozen=True, slots=True)
class LedgerTransaction:
    ledger: Ledger

    async def lock_account(self, account_id: int) -> bool:
        fetch = self.ledger.connection.fetch
        rows = await fetch("SELECT id FROM accounts WHERE id = $1 FOR UPDATE", account_id)
        await fetch(LOCK_PLANS, account_id)
        return bool(rows)

    async def is_own(self, account_id: int, person_id: str) -> bool:
        return bool(await self.ledger.connection.fetch(OWN, account_id, person_id))

    async def entry_with_key(self, person_id: str, key: str) -> AuditEntry | None:
        rows = await self.ledger.connection.fetch(WITH_KEY, person_id, key)
        if not rows:
            return None
        values: dict[str, Any] = {name: rows[0][name] for name in ("id", *COLUMNS.split(", "))}
        values |= {name: msgspec.json.decode(values[name]) for name in ("before", "after")}
        return AuditEntry(**values)

    async def is_undone(self, entry_id: int) -> bool:
        query = "SELECT 1 FROM audit_entries WHERE undoes = $1"
        return bool(await self.ledger.connection.fetch(query, entry_id))

    async def add(self, entry: AuditEntry) -> None:
        values = [getattr(entry, name) for name in COLUMNS.split(", ")]
        values = [
            msgspec.json.encode(value).decode() if isinstance(value, dict) else value
            for value in values
        ]
        try:
            entry.id = (await self.ledger.connection.fetch(INSERT, *values))[0]["id"]
        except asyncpg.UniqueViolationError as error:
            if KEY_CONSTRAINT in str(error):
                raise IdempotencyKeyReusedError from None
            raise


@dataclass(frozen=True, slots=True)
class InSession(Generic[F]):
    """A change of rows, in a transaction that holds the account's lock."""

    change: Callable[[AsyncSession, RepairRequest[F]], Awaitable[RepairResult]]

    async def run(self, services: RepairServices, request: RepairRequest[F]) -> EntryView:
        async with services.database.transaction() as session:
            return await carry_out(
                SessionTransaction(session), request, lambda: self._told(session, request)
            )

    async def _told(self, session: AsyncSession, request: RepairRequest[F]) -> RepairResult:
        async with telling(session, request.account_id, request.now):
            return await self.change(session, request)

    async def rehearse(self, services: RepairServices, request: RepairRequest[F]) -> RepairResult:
        results: list[RepairResult] = []
        with suppress(RehearsedError):
            async with services.database.transaction() as session:
                transaction = SessionTransaction(session)
                results.append(
                    await rehearse(transaction, request, lambda: self.change(session, request))
                )
                raise RehearsedError
        return results[0]


@dataclass(frozen=True, slots=True)
class InLedger(Generic[F]):
    """A correction of the ledger, by the rules of counting and on the ledger's own connection."""

    change: Callable[[Ledger, RepairRequest[F]], Awaitable[RepairResult]]

    async def run(self, services: RepairServices, request: RepairRequest[F]) -> EntryView:
        async with services.executions.ledger() as ledger:
            return await carry_out(
                LedgerTransaction(ledger), request, lambda: self.change(ledger, request)
            )

    async def rehearse(self, services: RepairServices, request: RepairRequest[F]) -> RepairResult:
        results: list[RepairResult] = []
        with suppress(RehearsedError):
            async with services.executions.ledger() as ledger:
                transaction = LedgerTransaction(ledger)
                results.append(
                    await rehearse(transaction, request, lambda: self.change(ledger, request))
                )
                raise RehearsedError
        return results[0]


def answer_of(decision: Decision) -> dict[str, Any]:
    """What the ledger answered to a correction. Raises its refusal."""
    if isinstance(decision, BillingError):
        raise decision
    return msgspec.json.decode(decision.answer)


def event_number(event_id: str) -> int:
    """Of an id that we made."""
    pair = ids.decode(ids.EVENT, event_id)
    assert pair is not None
    return pair[1]
