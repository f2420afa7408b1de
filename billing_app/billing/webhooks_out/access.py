"""Who may see and change webhook endpoints.

The platform's (organization None): platform keys with the scope `webhooks`, and staff. An
organization's: its owners and billing admins, its keys with that scope, platform keys, and staff.
"""

from typing import Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import MANAGING_ROLES, ReadOnlyError
from billing_app.billing.actors import (
    Actor,
    OperatorActor,
    PortalActor,
    ServiceActor,
    StaffActor,
    ViewingActor,
    require_scope,
)
from billing_app.billing.errors import (
    ForbiddenError,
    NotFoundError,
    OrganizationNotFoundError,
)
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.db.enums import AccountKind, Scope
from billing_app.db.tables import Account, Membership, WebhookEndpoint

MANAGERS_ONLY: Final = "Only owners and billing admins can manage webhooks."


class EndpointNotFoundError(NotFoundError):
    code = "webhook_endpoint_not_found"
    title = "Webhook endpoint not found"


async def authorize(
    session: AsyncSession, actor: Actor, organization_id: str | None, *, reading: bool = False
) -> Account | None:
    """The organization's account; None for the platform's endpoints.

    Raises OrganizationNotFoundError, where the actor may not know of it too; ForbiddenError,
    ScopeMissingError, StaffRoleMissingError, ReadOnlyError.
    """
    if isinstance(actor, StaffActor):
        require(actor, Action.READ if reading else Action.MANAGE_WEBHOOKS)
    elif isinstance(actor, ServiceActor):
        require_scope(actor, Scope.WEBHOOKS)
        if actor.organization_id not in (None, organization_id) or actor.account_number:
            raise ForbiddenError("This API key belongs to another organization.")
    elif not isinstance(actor, OperatorActor) and organization_id is None:
        raise ForbiddenError("Only staff and platform keys can do this.")
    if organization_id is None:
        return None
    account = await _account(session, organization_id)
    if not isinstance(actor, (StaffActor, ServiceActor, OperatorActor)):
        await _authorize_person(session, actor, account, reading=reading)
    return account


async def authorize_endpoint(
    session: AsyncSession, actor: Actor, endpoint_id: str, *, reading: bool = False
) -> WebhookEndpoint:
    """The endpoint, locked unless it is only read. Raises EndpointNotFoundError where the actor may
    not know of it, ForbiddenError, ScopeMissingError, StaffRoleMissingError, ReadOnlyError."""
    if isinstance(actor, ServiceActor):
        require_scope(actor, Scope.WEBHOOKS)
    row = await session.get(WebhookEndpoint, endpoint_id, with_for_update=not reading)
    if row is None:
        raise EndpointNotFoundError
    if isinstance(actor, ServiceActor) and actor.organization_id not in (
        None,
        row.organization_id,
    ):
        raise EndpointNotFoundError
    is_person = not isinstance(actor, (StaffActor, ServiceActor, OperatorActor))
    if is_person and row.organization_id is None:
        raise EndpointNotFoundError
    try:
        await authorize(session, actor, row.organization_id, reading=reading)
    except OrganizationNotFoundError:
        raise EndpointNotFoundError from None
    return row


async def _account(session: AsyncSession, organization_id: str) -> Account:
    query = select(Account).where(Account.organization_id == organization_id)
    account = (await session.exec(query.where(Account.kind == AccountKind.ORGANIZATION))).first()
    if account is None:
        raise OrganizationNotFoundError(organization_id=organization_id)
    return account


async def _authorize_person(
    session: AsyncSession, actor: Actor, account: Account, *, reading: bool
) -> None:
    if isinstance(actor, (ViewingActor, PortalActor)):
        if actor.account_number != account.id:
            raise OrganizationNotFoundError(organization_id=account.organization_id)
        if isinstance(actor, PortalActor) and actor.role not in MANAGING_ROLES:
            raise ForbiddenError(MANAGERS_ONLY)
        if isinstance(actor, ViewingActor) and not reading:
            raise ReadOnlyError
        return
    assert not isinstance(actor, (ServiceActor, StaffActor, OperatorActor))
    membership = await session.get(Membership, (account.organization_id, actor.user_id))
    if membership is None:
        raise OrganizationNotFoundError(organization_id=account.organization_id)
    if membership.role not in MANAGING_ROLES:
        raise ForbiddenError(MANAGERS_ONLY)
