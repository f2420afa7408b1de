"""Requests of products that make organizations and users under their own ids.

An `external_id` is the product's own; it stands for `organization_id` and `user_id` everywhere.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import UNSET, UnsetType

from . import bodies, routes
from .answers import Page
from .bodies import PortalPage, PortalRole
from .operations import key_of
from .provisioned import GrantedPlan, Organization, PortalLink, User
from .routes import Operation


def put_organization(
    external_id: str,
    name: str,
    *,
    billing_email: str | UnsetType | None = UNSET,
    offer: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation[Organization]:
    """Make an organization, or update it. What is left out stays; `billing_email` None removes it.
    `offer`: a free one, or one with a trial, to begin with. Raises ConflictError."""
    body = bodies.PutOrganization(
        name=name, billing_email=billing_email, offer=offer, metadata=_dict(metadata)
    )
    return routes.PUT_ORGANIZATION.operation(external_id, body=body)


def organization(external_id: str) -> Operation[Organization]:
    """An organization, by the product's id or ours. Raises NotFoundError."""
    return routes.ORGANIZATION.operation(external_id)


def organizations(
    *, limit: int | None = None, cursor: str | None = None
) -> Operation[Page[Organization]]:
    """A page of all organizations that the key may see, newest first."""
    return routes.ORGANIZATIONS.operation(query=bodies.ListQuery(limit, cursor))


def close_organization(external_id: str) -> Operation[Organization]:
    """Cancel its subscription at once, end its plans and allow nothing more. Repeating it changes
    nothing. Raises ProviderError: Stripe is away, and nothing has happened."""
    return routes.CLOSE_ORGANIZATION.operation(external_id)


def put_user(
    external_id: str,
    *,
    name: str | None = None,
    billing_email: str | UnsetType | None = UNSET,
    offer: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation[User]:
    """Make a user of the public organization with a trial or with `offer`, or update them. What is
    left out stays. Raises ConflictError."""
    body = bodies.PutUser(
        name=name, billing_email=billing_email, offer=offer, metadata=_dict(metadata)
    )
    return routes.PUT_USER.operation(external_id, body=body)


def user(external_id: str) -> Operation[User]:
    """A user of the public organization. Raises NotFoundError."""
    return routes.USER.operation(external_id)


def grant_plan(  # noqa: PLR0913 - the body's
    organization_id: str,
    executions: int,
    *,
    user_id: str | None = None,
    name: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    priority: int | None = None,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Operation[GrantedPlan]:
    """Add a plan: executions that were sold elsewhere, once per key for good. `starts_at` None:
    now; `ends_at` None: never; plans with a lower `priority` are used first."""
    body = bodies.GrantPlan(
        organization_id=organization_id,
        user_id=user_id,
        executions=executions,
        name=name,
        starts_at=starts_at,
        ends_at=ends_at,
        priority=priority,
        reason=reason,
    )
    return routes.GRANT_PLAN.operation(body=body, key=key_of(idempotency_key))


def create_portal_link(
    organization_id: str,
    person: bodies.Person,
    role: PortalRole,
    return_url: str,
    *,
    user_id: str | None = None,
    page: PortalPage = "dashboard",
    expires_in_seconds: int | None = None,
) -> Operation[PortalLink]:
    """A link that opens the pages once, signed in for this account in this role. Send the browser
    to it, or frame it with `?embed=1`."""
    body = bodies.CreatePortalLink(
        organization_id=organization_id,
        user_id=user_id,
        person=person,
        role=role,
        return_url=return_url,
        page=page,
        expires_in_seconds=expires_in_seconds,
    )
    return routes.CREATE_PORTAL_LINK.operation(body=body)


def _dict(metadata: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if metadata is None else dict(metadata)
