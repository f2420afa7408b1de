"""The audit log of webhook endpoints: one action, whoever does it."""

from datetime import datetime
from typing import Any, Final

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
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_writing import BY_CUSTOMER, BY_SERVICE
from billing_app.db.enums import AuditRole
from billing_app.db.tables import Account, AuditEntry, WebhookEndpoint

BY_STAFF: Final = "Changed by staff."
COMMAND_LINE: Final = ("operator", "Command line", AuditRole.ADMIN, BY_STAFF)


def add_entry(
    session: AsyncSession,
    actor: Actor,
    account: Account | None,
    endpoint: WebhookEndpoint,
    change: str,
    now: datetime,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add an entry in the caller's transaction. `change`: such as "created"."""
    actor_id, name, role, reason = _who(actor)
    session.add(
        AuditEntry(
            at=now,
            actor_id=actor_id,
            actor_name=name[:255],
            role=role,
            own_account=isinstance(actor, (UserActor, PortalActor)),
            action=Action.MANAGE_WEBHOOKS,
            account_id=account.id if account else None,
            subject=endpoint.id,
            reason=reason,
            before=before or {},
            after={"change": change, **(after or {})},
        )
    )


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
