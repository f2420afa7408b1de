"""The audit log over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.callers import ServicesNow
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, StaffNow
from billing_app.billing.paging import DEFAULT_LIMIT
from billing_app.billing.staff import audit_log

router = APIRouter(prefix=ADMIN_PREFIX, tags=["audit"], responses=PROBLEMS)

Filter = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00-\x1f]*$")]


@router.get("/audit")
async def list_entries(
    services: ServicesNow,
    actor: StaffNow,
    by: Annotated[Filter, Query(alias="actor")] = None,
    action: Filter = None,
    account_id: Filter = None,
    limit: Annotated[int, Query()] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """What staff did and why, newest first."""
    page = await audit_log.list_entries(
        services.database,
        actor,
        by=by,
        action=action,
        account_id=account_id,
        limit=limit,
        cursor=cursor,
    )
    return {"items": page.items, "next_cursor": page.next_cursor}
