"""What every repair of an account shares: one transaction holds the change and its audit entry.

The account's row is locked first, then its plans by sequence: as everybody does it, so that
nobody deadlocks. Asked again with the same key, a repair gives its first entry once more.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ConflictError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    PlanUnknownError,
)
from billing_app.billing.staff.access.ownership import is_own
from billing_app.billing.staff.access.permissions import (
    MAX_EXECUTIONS,
    OwnAccountError,
    may_repair_own,
)
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.db.engine import Database
from billing_app.db.tables import Account, AuditEntry, Plan

MAX_KEY_LENGTH: Final = 255


class AlreadySoError(ConflictError):
    code = "already_so"
    title = "It is so already"


class AlreadyUndoneError(ConflictError):
    code = "already_undone"
    title = "It was undone already"


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """A repair as somebody asks for it. `asked` is all that was asked for beside the account.

    The same `key` by the same person is the same repair.
    """

    actor: StaffActor
    action: str
    account_id: int
    reason: str
    key: str | None = None
    asked: tuple[object, ...] = ()
    undoes: int | None = None

    def fingerprint(self) -> bytes:
        asked = repr((self.action, self.account_id, self.asked, self.undoes, self.reason))
        return blake2b(asked.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What a repair changed: `subject` within the account, and its figures."""

    subject: str
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    after: dict[str, Any] = field(default_factory=dict[str, Any])


Change = Callable[[AsyncSession, Account], Awaitable[RepairResult]]


async def repair(
    database: Database, order: RepairRequest, change: Change, now: datetime
) -> EntryView:
    """Make the change and its entry in one transaction, with the account locked.

    Raises AccountNotFoundError, InvalidInputError without a reason, AlreadyUndoneError, and what
    the change raises.
    """
    check_order(order)
    try:
        async with database.transaction() as session:
            account = await session.get(Account, order.account_id, with_for_update=True)
            if account is None:
                raise AccountNotFoundError
            await refuse_own(session, order)
            known = await known_entry(session, order)
            if known is not None:
                return view_of(known)
            await refuse_second_undo(session, order)
            done = await change(session, account)
            entry = await record(session, order.actor, audit_record_of(order, done), now)
    except IntegrityError as error:
        if "uq_audit_entries_request_key" in str(error.orig):
            raise IdempotencyKeyReusedError from None
        raise
    return view_of(entry)


def audit_record_of(order: RepairRequest, done: RepairResult) -> AuditRecord:
    return AuditRecord(
        action=order.action,
        reason=clean_reason(order.reason),
        account_id=order.account_id,
        subject=done.subject,
        before=done.before,
        after=done.after,
        undoes=order.undoes,
        request_key=order.key,
        request_hash=order.fingerprint() if order.key else None,
    )


def check_order(order: RepairRequest) -> None:
    """Raises InvalidInputError without a reason, or with a key that is none."""
    clean_reason(order.reason)
    if order.key is not None and not (
        1 <= len(order.key) <= MAX_KEY_LENGTH and order.key.isprintable()
    ):
        raise InvalidInputError(
            f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable characters.",
            field="idempotency_key",
        )


async def known_entry(session: AsyncSession, order: RepairRequest) -> AuditEntry | None:
    """The entry that an earlier request with this key made.

    Raises IdempotencyKeyReusedError when that one asked for something else.
    """
    if order.key is None:
        return None
    query = (
        select(AuditEntry)
        .where(AuditEntry.actor_id == order.actor.actor_id)
        .where(AuditEntry.request_key == order.key)
    )
    entry = (await session.exec(query)).first()
    if entry is not None and entry.request_hash != order.fingerprint():
        raise IdempotencyKeyReusedError
    return entry


async def refuse_own(session: AsyncSession, order: RepairRequest) -> None:
    """Raises OwnAccountError when the actor holds the account, or is a member of its
    organization, and is no admin."""
    if may_repair_own(order.actor.role):
        return
    if await is_own(session, order.account_id, order.actor.actor_id):
        raise OwnAccountError


async def refuse_second_undo(session: AsyncSession, order: RepairRequest) -> None:
    if order.undoes is None:
        return
    query = select(AuditEntry.id).where(AuditEntry.undoes == order.undoes)
    if (await session.exec(query)).first() is not None:
        raise AlreadyUndoneError


def account_number(account_id: str) -> int:
    """Raises AccountNotFoundError for what is no account's id."""
    number = ids.decode_account(account_id)
    if number is None:
        raise AccountNotFoundError
    return number


def plan_numbers(plan_id: str) -> tuple[int, int]:
    """Account and sequence. Raises PlanUnknownError for what is no plan's id."""
    pair = ids.decode(ids.PLAN, plan_id)
    if pair is None or pair[1] >= 2**31:
        raise PlanUnknownError
    return pair


async def lock_plan(session: AsyncSession, account_id: int, sequence: int) -> Plan:
    """Raises PlanUnknownError."""
    plan = await session.get(
        Plan, (account_id, sequence), with_for_update=True, populate_existing=True
    )
    if plan is None:
        raise PlanUnknownError
    return plan


async def lock_plans(session: AsyncSession, account_id: int) -> list[Plan]:
    """All of the account's plans, locked by sequence."""
    query = (
        select(Plan)
        .where(Plan.account_id == account_id)
        .order_by(col(Plan.sequence))
        .with_for_update()
    )
    return list((await session.exec(query)).all())


async def lock_person(session: AsyncSession, actor: StaffActor) -> None:
    """One repair of this person at a time, where a sum over theirs is limited."""
    statement = text("SELECT pg_advisory_xact_lock(hashtextextended('staff ' || :id, 0))")
    await (await session.connection()).execute(statement, {"id": actor.actor_id})


def plan_id_of(plan: Plan) -> str:
    return ids.encode(ids.PLAN, plan.account_id, plan.sequence)


def check_executions(executions: int, *, least: int = 1) -> None:
    """Raises InvalidInputError unless from `least` to MAX_EXECUTIONS."""
    if not least <= executions <= MAX_EXECUTIONS:
        raise InvalidInputError(
            f"executions must be from {least:,} to {MAX_EXECUTIONS:,}.", field="executions"
        )


def moment(at: datetime | None) -> str | None:
    """A time as audit entries keep it."""
    return at.astimezone(UTC).isoformat() if at is not None else None


def moment_of(words: str | None) -> datetime | None:
    return datetime.fromisoformat(words) if words is not None else None
