"""What support did to an account, for its holder, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from billing_app.api.callers import AccountNow, ActorNow, ServicesNow
from billing_app.api.parameters import Limit
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
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """What support did, why and when, newest first."""
    page = await read_account_history(
        services.database, actor, account_id, limit=limit, cursor=cursor
    )
    return {"account_id": account_id, "items": page.items, "next_cursor": page.next_cursor}
