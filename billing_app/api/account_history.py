"""What staff did to an account, as its owner reads it, over HTTP."""

from typing import Any

from fastapi import APIRouter

from billing_app.api.callers import AccountNow, ActorNow, ServicesNow
from billing_app.api.parameters import Cursor, Limit
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.staff.audit.account_history import read_account_history
from billing_app.routes import ACCOUNT_HISTORY

router = APIRouter(tags=["accounts"])


@router.get(ACCOUNT_HISTORY)
async def account_history(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Support actions on the account, with reason and time, newest first."""
    page = await read_account_history(
        services.database, actor, account_id, limit=limit, cursor=cursor
    )
    return {"account_id": account_id, "items": page.items, "next_cursor": page.next_cursor}
