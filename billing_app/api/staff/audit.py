"""The audit log over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, StaffCall
from billing_app.api.staff.page_params import DaysNow, PageParams, Text, page_body, sorted_by
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.audit_reading import EntryQuery, EntrySort

router = APIRouter(route_class=JsonRoute, prefix=ADMIN_PREFIX, tags=["audit"], responses=PROBLEMS)


@router.get("/audit")
async def list_entries(
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[EntrySort], sorted_by(EntrySort.AT)],
    who: Annotated[Text, Query(alias="actor")] = None,
    action: Text = None,
    account_id: Text = None,
    words: Text = None,
) -> dict[str, Any]:
    """Staff actions with their reasons, newest first by default; `words` is a part of a name, a
    subject or a reason."""
    where = EntryQuery(actor_id=who, action=action, account_id=account_id, days=days, words=words)
    return page_body(await audit_reading.list_entries(call.database, call.actor, where, **page))
