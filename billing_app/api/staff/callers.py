"""Authenticates staff: by their session, or by a service key with the scope `staff`."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import ConfigDict, Field

from billing_app.api.callers import Now, ServicesNow, Shown, now, visiting
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import REASON
from billing_app.billing.actors import StaffActor, require_scope
from billing_app.billing.errors import ForbiddenError, NotAuthenticatedError
from billing_app.billing.staff.audit.audit_writing import MAX_REASON_LENGTH
from billing_app.composition import Services, get_services
from billing_app.db.engine import Database
from billing_app.db.enums import Scope

ADMIN_PREFIX = "/billing/admin"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        401: "Authentication required",
        403: "Not staff, the role does not allow it, or it exceeds the limit of the role",
        404: "Not found",
        409: "The state has changed; the response has the current figures",
        422: "Invalid input; a reason is always required",
    }.items()
}

Reason = Annotated[
    str,
    Field(min_length=1, max_length=MAX_REASON_LENGTH, json_schema_extra={"pattern": REASON}),
]


class ReasonBody(JsonBody):
    """The body of every change by staff."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


async def authenticate_staff(request: Request, shown: Shown = None) -> StaffActor:
    """The role is read anew for each request. Raises NotAuthenticatedError, ForbiddenError."""
    services = get_services()
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await _of_key(services, secret.strip())
    staff = (await visiting(request, services)).staff
    if staff is None:
        raise ForbiddenError("Only staff can do this.")
    return staff


async def _of_key(services: Services, secret: str) -> StaffActor:
    key = await services.keys.find(secret, now())
    if key is None:
        raise NotAuthenticatedError("This key is unknown, revoked or expired.")
    require_scope(key, Scope.STAFF)
    if key.staff_role is None:
        raise ForbiddenError("This key has no staff role.")
    return StaffActor(f"key:{key.key_id}", key.name, key.staff_role)


@dataclass
class Caller:
    """Who asks, what answers, and when."""

    services: ServicesNow
    actor: Annotated[StaffActor, Depends(authenticate_staff)]
    now: Now

    @property
    def database(self) -> Database:
        return self.services.database


StaffCall = Annotated[Caller, Depends()]
