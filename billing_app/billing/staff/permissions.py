"""Which role of the house may do what."""

from typing import Final

from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.errors import ForbiddenError
from billing_app.db.words import StaffRole

RANKS: Final = {role: rank for rank, role in enumerate(StaffRole)}


class StaffRoleMissingError(ForbiddenError):
    code = "staff_role_missing"
    title = "Your role does not allow this"


def require_staff(actor: Actor, least: StaffRole = StaffRole.SUPPORT) -> StaffActor:
    """The actor, when it is staff with this role or a higher one.

    Raises ForbiddenError for others, StaffRoleMissingError for a lower role.
    """
    if not isinstance(actor, StaffActor):
        raise ForbiddenError("Only staff can do this.")
    if RANKS[actor.role] < RANKS[least]:
        raise StaffRoleMissingError(f"This takes the role {least}; yours is {actor.role}.")
    return actor
