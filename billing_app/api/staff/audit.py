"""The audit log over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.callers import ServicesNow
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, StaffNow
from billing_app.api.staff.listing import Cursor, DaysNow, Limit, Text, listed
from billing_app.billing.paging import DEFAULT_LIMIT
from billing_app.billing.sorting import By, Order
from billing_app.billing.staff import audit_log
from billing_app.billing.staff.audit_log import EntryQuery, EntrySort

router = APIRouter(prefix=ADMIN_PREFIX, tags=["audit"], responses=PROBLEMS)


@router.get("/audit")
async def list_entries(
    services: ServicesNow,
    actor: StaffNow,
    days: DaysNow,
    who: Annotated[Text, Query(alias="actor")] = None,
    action: Text = None,
    account_id: Text = None,
    sort: EntrySort = EntrySort.AT,
    order: Order = Order.DESCENDING,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """What staff did and why, newest first unless told."""
    where = EntryQuery(actor_id=who, action=action, account_id=account_id, days=days)
    return listed(
        await audit_log.list_entries(
            services.database, actor, where, by=By.of(sort, order), limit=limit, cursor=cursor
        )
    )
