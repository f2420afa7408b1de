"""The audit log of webhook endpoints: one action, whoever does it."""

from datetime import datetime
from typing import Any, Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import (
    Actor,
    OperatorActor,
    PortalActor,
    ServiceActor,
    StaffActor,
    UserActor,
    ViewingActor,
)
from billing_app.billing.staff.access import ownership
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_writing import BY_CUSTOMER, BY_SERVICE
from billing_app.db.enums import AccountKind, AuditRole
from billing_app.db.tables import Account, AuditEntry, WebhookEndpoint

BY_STAFF: Final = "Changed by staff."
COMMAND_LINE: Final = ("operator", "Command line", AuditRole.ADMIN, BY_STAFF)


async def add_entry(
    session: AsyncSession,
    actor: Actor,
    endpoint: WebhookEndpoint,
    change: str,
    now: datetime,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add an entry in the caller's transaction. `change`: such as "created"."""
    actor_id, name, role, reason = _who(actor)
    account = await _account(session, endpoint)
    is_own = isinstance(actor, (UserActor, PortalActor))
    if isinstance(actor, StaffActor) and account is not None:
        is_own = await ownership.is_own(session, account.id, actor_id)
    session.add(
        AuditEntry(
            at=now,
            actor_id=actor_id,
            actor_name=name[:255],
            role=role,
            own_account=is_own,
            action=Action.MANAGE_WEBHOOKS,
            account_id=account.id if account else None,
            subject=endpoint.id,
            reason=reason,
            before=before or {},
            after={"change": change, **(after or {})},
        )
    )


async def _account(session: AsyncSession, endpoint: WebhookEndpoint) -> Account | None:
    if endpoint.organization_id is None:
        return None
    query = select(Account).where(Account.organization_id == endpoint.organization_id)
    return (await session.exec(query.where(Account.kind == AccountKind.ORGANIZATION))).first()


def _who(actor: Actor) -> tuple[str, str, AuditRole, str]:
    match actor:
        case ServiceActor():
            return f"key:{actor.key_id}", actor.name, AuditRole.SERVICE, BY_SERVICE
        case StaffActor():
            return actor.actor_id, actor.name, AuditRole(actor.role), BY_STAFF
        case UserActor():
            return actor.user_id, actor.name or actor.email, AuditRole.CUSTOMER, BY_CUSTOMER
        case PortalActor():
            name = actor.name or actor.email or actor.person_id
            return actor.person_id, name, AuditRole.CUSTOMER, BY_CUSTOMER
        case OperatorActor():
            return COMMAND_LINE
        case ViewingActor():
            raise AssertionError("Who views an account changes nothing.")
