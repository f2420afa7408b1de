"""What became of a repair that the payment provider carries out; its intent names its entry."""

from datetime import datetime
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError, ConflictError
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import Deed, record
from billing_app.billing.staff.repairs.repairs import Order, known_entry
from billing_app.billing.subscriptions.provider_request_recovery import NeverArrivedError
from billing_app.db.enums import StaffRole, WriteState
from billing_app.db.tables import AuditEntry, ProviderWrite

# Names the audit entry in the intent that belongs to it.
ENTRY: Final = "audit_entry_id"


class RequestFailedError(ConflictError):
    """Whoever asks again with the same key is told what became of the first request."""

    code = "request_failed"
    title = "The request with this key came to nothing"


async def known_outcome(session: AsyncSession, order: Order) -> EntryView | None:
    """What an earlier request with this key did; None also while that is not certain.

    Raises IdempotencyKeyReusedError, RequestFailedError.
    """
    entry = await known_entry(session, order)
    if entry is None:
        return None
    query = (
        select(ProviderWrite)
        .where(ProviderWrite.account_id == entry.account_id)
        .where(col(ProviderWrite.parameters)[ENTRY].as_integer() == entry.id)
    )
    intent = (await session.exec(query)).first()
    if intent is None or intent.state == WriteState.DONE:
        return view_of(entry)
    if intent.state == WriteState.FAILED:
        raise RequestFailedError(
            "It came to nothing. Ask again with a new key.", problem=intent.problem
        )
    return None


async def write_failure(
    session: AsyncSession, row: ProviderWrite, error: BillingError, now: datetime
) -> None:
    """A move that came to nothing is undone by that; of an undoing it is only said."""
    entry_id = row.parameters.get(ENTRY)
    if entry_id is None:
        return
    entry = await session.get(AuditEntry, entry_id)
    assert entry is not None
    never_arrived = isinstance(error, NeverArrivedError)
    why = error.title if never_arrived else f"The payment provider refused: {error.title}"
    deed = Deed(
        action=Action.UNDO,
        reason=why,
        account_id=entry.account_id,
        subject=entry.subject,
        before=entry.after,
        after=entry.before | {"refused": error.code},
        undoes=entry.id if entry.action == Action.MOVE_OFFER else None,
    )
    actor = StaffActor(entry.actor_id, entry.actor_name, StaffRole(entry.role))
    await record(session, actor, deed, now)
