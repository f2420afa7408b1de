"""The staff themselves over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from billing_app.api.parameters import NO_CONTROL, PathName
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.api.staff.page_params import PageParams, Text, page_body, sorted_by
from billing_app.billing.identity.sessions import MAX_EMAIL_LENGTH, PUBLISHED_EMAIL
from billing_app.billing.lists.sorting import Order
from billing_app.billing.staff.access import members
from billing_app.billing.staff.access.members import MemberSort
from billing_app.billing.staff.access.permissions import LIMITS, actions_of
from billing_app.db.enums import StaffRole

router = APIRouter(route_class=JsonRoute, prefix=ADMIN_PREFIX, tags=["staff"], responses=PROBLEMS)

Role = Annotated[StaffRole, Field(strict=False)]


class AddMember(ReasonBody):
    email: Annotated[
        str,
        Field(
            min_length=3,
            max_length=MAX_EMAIL_LENGTH,
            pattern=NO_CONTROL,
            json_schema_extra={"pattern": PUBLISHED_EMAIL},
        ),
    ]
    role: Role


class ChangeRole(ReasonBody):
    role: Role


@router.get("/me")
async def me(call: StaffCall) -> dict[str, Any]:
    """The caller, with the actions and execution limits of their role."""
    limits = LIMITS[call.actor.role]
    return {
        "actor_id": call.actor.actor_id,
        "name": call.actor.name,
        "role": call.actor.role,
        "actions": actions_of(call.actor),
        "limit_executions": limits.each,
        "limit_executions_per_day": limits.per_day,
    }


@router.get("/staff")
async def list_members(
    call: StaffCall,
    page: Annotated[PageParams[MemberSort], sorted_by(MemberSort.NAME, Order.ASCENDING)],
    query: Text = None,
    role: StaffRole | None = None,
) -> dict[str, Any]:
    """All staff members. `query` matches part of the name or email address."""
    return page_body(
        await members.search_members(
            call.database, call.actor, query=query or "", role=role, **page
        )
    )


@router.post("/staff", status_code=201)
async def add_member(body: AddMember, call: StaffCall) -> dict[str, Any]:
    """Add a staff member. `password` is returned once, for new users only; otherwise null."""
    added = await members.add_member(
        call.database,
        call.actor,
        email=body.email,
        role=body.role,
        reason=body.reason,
        now=call.now,
    )
    return {"user_id": added.user_id, "password": added.password}


@router.put("/staff/{user_id}", status_code=204)
async def change_role(user_id: PathName, body: ChangeRole, call: StaffCall) -> None:
    """Change a member's role. The last admin cannot be demoted."""
    await members.change_role(
        call.database, call.actor, user_id=user_id, role=body.role, reason=body.reason, now=call.now
    )


@router.post("/staff/{user_id}/remove", status_code=204)
async def remove_member(user_id: PathName, body: ReasonBody, call: StaffCall) -> None:
    """Remove a staff member. The last admin cannot be removed."""
    await members.remove_member(
        call.database, call.actor, user_id=user_id, reason=body.reason, now=call.now
    )
