"""Writing the audit log, in the transaction of the change that it records."""

import re
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import ServiceActor, StaffActor, UserActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.identity.key_format import refuse_key
from billing_app.billing.staff.access.ownership import is_own
from billing_app.db.enums import AuditRole
from billing_app.db.tables import AuditEntry

MAX_REASON_LENGTH: Final = 500
SYSTEM: Final = "system"
SYSTEM_NAME: Final = "Billing"
has_control: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
BY_CUSTOMER: Final = "Changed by the customer."
BY_SERVICE: Final = "Requested by a service."


class CustomerAction(StrEnum):
    """What customers change of their own details, as the audit log names it."""

    CHANGE_NAME = "change_name"
    CHANGE_EMAIL = "change_email"
    CHANGE_BILLING_NAME = "change_billing_name"
    CHANGE_BILLING_EMAIL = "change_billing_email"
    CHANGE_PURCHASE_ORDER = "change_purchase_order"
    CREATE_KEY = "create_key"
    ROTATE_KEY = "rotate_key"
    REVOKE_KEY = "revoke_key"
    INVITE = "invite"
    WITHDRAW_INVITATION = "withdraw_invitation"
    JOIN = "join"
    CHANGE_MEMBER_ROLE = "change_member_role"
    REMOVE_MEMBER = "remove_member"
    LEAVE = "leave"


class SystemAction(StrEnum):
    """What happened to an account by itself: its bank decided on a debit."""

    DEBIT_PAID = "debit_paid"
    DEBIT_FAILED = "debit_failed"


class ServiceAction(StrEnum):
    """What services do to accounts over HTTP, by their key, and their people by portal links."""

    UPDATE_ACCOUNT = "update_account"
    ADD_PLAN = "add_plan"
    CREATE_PORTAL_LINK = "create_portal_link"
    OPEN_PORTAL = "open_portal"
    CLOSE_ACCOUNT = "close_account"
    IMPORT_ACCOUNT = "import_account"


@dataclass(frozen=True, slots=True)
class CustomerChange:
    """A detail before and after; "" without one."""

    action: CustomerAction
    detail: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What was done and why; see AuditEntry for `subject`, `before`, `after` and `undoes`."""

    action: str
    reason: str
    account_id: int | None = None
    subject: str = ""
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    after: dict[str, Any] = field(default_factory=dict[str, Any])
    undoes: int | None = None
    request_key: str | None = None
    request_hash: bytes | None = None


async def record(
    session: AsyncSession, actor: StaffActor, audit_record: AuditRecord, now: datetime
) -> AuditEntry:
    """Write an entry in the caller's transaction; its `id` is known when this returns.

    Raises InvalidInputError without a reason.
    """
    is_theirs = audit_record.account_id is not None and await is_own(
        session, audit_record.account_id, actor.actor_id
    )
    entry = entry_of(actor, audit_record, now, own_account=is_theirs)
    session.add(entry)
    await session.flush()
    return entry


async def record_own(
    session: AsyncSession,
    actor: UserActor,
    account_id: int | None,
    change: CustomerChange,
    now: datetime,
) -> None:
    """Write an entry about what a customer changed, in the caller's transaction."""
    session.add(
        AuditEntry(
            at=now,
            actor_id=actor.user_id,
            actor_name=(actor.name or actor.email)[:255],
            role=AuditRole.CUSTOMER,
            action=change.action,
            account_id=account_id,
            own_account=account_id is not None,
            subject=actor.user_id,
            reason=BY_CUSTOMER,
            before={change.detail: change.before},
            after={change.detail: change.after},
        )
    )
    await session.flush()


def system_entry(
    account_id: int,
    action: SystemAction,
    now: datetime,
    *,
    subject: str,
    reason: str,
    after: dict[str, Any],
) -> AuditEntry:
    """An entry about what happened by itself, to be added in the caller's transaction."""
    return AuditEntry(
        at=now,
        actor_id=SYSTEM,
        actor_name=SYSTEM_NAME,
        role=AuditRole.SYSTEM,
        own_account=False,
        action=action,
        account_id=account_id,
        subject=subject,
        reason=reason,
        before={},
        after=after,
    )


def service_entry(
    key: ServiceActor,
    account_id: int,
    action: ServiceAction,
    now: datetime,
    *,
    subject: str = "",
    reason: str = BY_SERVICE,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    """An entry about what a service did, to be added in the caller's transaction."""
    return AuditEntry(
        at=now,
        actor_id=f"key:{key.key_id}",
        actor_name=key.name,
        role=AuditRole.SERVICE,
        own_account=False,
        action=action,
        account_id=account_id,
        subject=subject,
        reason=reason,
        before=before or {},
        after=after or {},
    )


def entry_of(
    actor: StaffActor, audit_record: AuditRecord, now: datetime, *, own_account: bool
) -> AuditEntry:
    """The entry, not written yet. Raises InvalidInputError without a reason."""
    values: dict[str, Any] = asdict(audit_record)
    values["reason"] = clean_reason(audit_record.reason)
    return AuditEntry(
        at=now,
        actor_id=actor.actor_id,
        actor_name=actor.name,
        role=actor.role,
        own_account=own_account,
        **values,
    )


def clean_reason(reason: str) -> str:
    """Raises InvalidInputError unless it has 1 to MAX_REASON_LENGTH characters, and no control
    characters but tabs and line breaks, and holds no API key."""
    if has_control(reason):
        raise InvalidInputError("A reason must not contain control characters.", field="reason")
    refuse_key(reason, field="reason")
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        raise InvalidInputError(
            f"Enter a reason of 1 to {MAX_REASON_LENGTH} characters.", field="reason"
        )
    return reason


def one_line(reason: str) -> str:
    """For the ledger, whose texts have no line breaks."""
    return " ".join(reason.split())
