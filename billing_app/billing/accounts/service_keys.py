"""Which keys may provision."""

from billing_app.billing.actors import Actor, ServiceActor, require_scope
from billing_app.billing.errors import ForbiddenError
from billing_app.db.enums import Scope


def require_service(actor: Actor, scope: Scope) -> ServiceActor:
    """The key, when it has the scope. Raises ForbiddenError for people, ScopeMissingError."""
    if not isinstance(actor, ServiceActor):
        raise ForbiddenError("Only services can do this, with an API key.")
    require_scope(actor, scope)
    return actor


def require_key(actor: Actor, scope: Scope, organization_id: str) -> ServiceActor:
    """The key, when it has the scope and may act for the organization. Raises as
    `require_service`, and ForbiddenError for another organization's key, or a person's."""
    key = require_service(actor, scope)
    if key.account_number is not None:
        raise ForbiddenError("This API key belongs to one person's account.")
    if key.organization_id not in (None, organization_id):
        raise ForbiddenError("This API key belongs to another organization.")
    return key
