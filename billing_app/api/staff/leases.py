"""Leases of which a report could not be counted, for staff over HTTP."""

from typing import Any, Final

from fastapi import APIRouter

from billing_app.api.parameters import Cursor, Limit
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, StaffCall
from billing_app.api.staff.page_params import page_body
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.staff.operations.unsettled_leases import list_unsettled

UNSETTLED: Final = "/leases/unsettled"
router = APIRouter(
    route_class=JsonRoute, prefix=ADMIN_PREFIX, tags=["staff: leases"], responses=PROBLEMS
)


@router.get(UNSETTLED)
async def unsettled(
    call: StaffCall, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> dict[str, Any]:
    """Leases of which a report could not be counted, newest first. `executions_unsettled`: how many
    executions were decided and are not counted; adjust the account for them."""
    return page_body(
        await list_unsettled(call.database, call.actor, now=call.now, limit=limit, cursor=cursor)
    )
