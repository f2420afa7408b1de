"""The receipt of an execution over HTTP."""

from fastapi import APIRouter

from billing_app.api.callers import ActorNow, ServicesNow
from billing_app.billing.executions.receipts import Receipt, read_receipt

router = APIRouter(prefix="/billing/executions", tags=["executions"])


@router.get("/{event_id}")
async def receipt(services: ServicesNow, actor: ActorNow, event_id: str) -> Receipt:
    """The receipt of an execution: plans charged, balance before and after, refunds."""
    return await read_receipt(services.database, actor, event_id)
