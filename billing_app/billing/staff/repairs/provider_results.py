"""What became of a repair that the payment provider carries out; its request names its entry."""

from datetime import datetime
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError, ConflictError
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import AuditRecord, record
from billing_app.billing.staff.repairs.repairs import RepairRequest, known_entry
from billing_app.billing.subscriptions.provider_request_recovery import NeverArrivedError
from billing_app.db.enums import ProviderRequestState, StaffRole
from billing_app.db.tables import AuditEntry, ProviderRequest

# Names the audit entry in the request that belongs to it.
ENTRY: Final = "audit_entry_id"


class RequestFailedError(ConflictError):
    """Whoever asks again with the same key is told what became of the first request."""

    code = "request_failed"
    title = "The request with this key came to nothing"


async def known_outcome(session: AsyncSession, order: RepairRequest) -> EntryView | None:
    """What an earlier request with this key did; None also while that is not certain.

    Raises IdempotencyKeyReusedError, RequestFailedError.
    """
    entry = await known_entry(session, order)
    if entry is None:
        return None
    query = (
        select(ProviderRequest)
        .where(ProviderRequest.account_id == entry.account_id)
        .where(col(ProviderRequest.parameters)[ENTRY].as_integer() == entry.id)
    )
    request = (await session.exec(query)).first()
    if request is None or request.state == ProviderRequestState.DONE:
        return view_of(entry)
    if request.state == ProviderRequestState.FAILED:
        raise RequestFailedError(
            "It came to nothing. Ask again with a new key.", problem=request.problem
        )
    return None


async def request_failure(
    session: AsyncSession, row: ProviderRequest, error: BillingError, now: datetime
) -> None:
    """A move that came to nothing is undone by that; of an undoing it is only said."""
    entry_id = row.parameters.get(ENTRY)
    if entry_id is None:
        return
    entry = await session.get(AuditEntry, entry_id)
    assert entry is not None
    never_arrived = isinstance(error, NeverArrivedError)
    why = error.title if never_arrived else f"The payment provider refused: {error.title}"
    audit_record = AuditRecord(
        action=Action.UNDO,
        reason=why,
        account_id=entry.account_id,
        subject=entry.subject,
        before=entry.after,
        after=entry.before | {"refused": error.code},
        undoes=entry.id if entry.action == Action.MOVE_OFFER else None,
    )
    actor = StaffActor(entry.actor_id, entry.actor_name, StaffRole(entry.role))
    await record(session, actor, audit_record, now)
