"""Repairs that the payment provider carries out.

The provider request and its audit entry are committed together, then the provider is asked
(subscriptions/provider_requests.py). A request that fails is written down as undone.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError, ConflictError
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import EntryView, view_of
from billing_app.billing.staff.audit.audit_writing import AuditRecord, record
from billing_app.billing.staff.repairs.drivers import (
    InSession,
    SessionTransaction,
    known_entry,
    require_not_own,
    require_not_undone,
    write_entry,
)
from billing_app.billing.staff.repairs.repair import (
    AlreadyInStateError,
    F,
    RepairRequest,
    RepairResult,
    RepairServices,
)
from billing_app.billing.subscriptions.provider_request_recovery import (
    NeverArrivedError,
    RequestTarget,
)
from billing_app.db.enums import ProviderRequestState, StaffRole
from billing_app.db.tables import AuditEntry, ProviderCustomer, ProviderRequest

# Names the audit entry in the request that belongs to it.
ENTRY: Final = "audit_entry_id"


class RequestFailedError(ConflictError):
    """The answer to a repeated key whose first request failed."""

    code = "request_failed"
    title = "The request with this key failed"


@dataclass(frozen=True, slots=True)
class ProviderStep:
    """What to ask of the provider. `decide` gives the parameters and the result from the rows,
    with the account locked; it may refuse."""

    wanted: RequestTarget
    decide: Callable[[AsyncSession], Awaitable[tuple[dict[str, Any], RepairResult]]]


@dataclass(frozen=True, slots=True)
class AtProvider(Generic[F]):
    """`prepare` reads, and makes at the provider what the step needs; it writes no decision."""

    prepare: Callable[[RepairServices, RepairRequest[F]], Awaitable[ProviderStep]]

    async def run(self, services: RepairServices, request: RepairRequest[F]) -> EntryView:
        async with services.database.reading() as session:
            transaction = SessionTransaction(session)
            await require_not_own(transaction, request)
            known = await _known_outcome(session, request)
            if known is not None:
                return known
            if await known_entry(transaction, request) is None:
                await require_not_undone(transaction, request)
        return await _carry_out(services, request, await self.prepare(services, request))

    async def rehearse(self, services: RepairServices, request: RepairRequest[F]) -> RepairResult:
        step = await self.prepare(services, request)

        async def change(session: AsyncSession, _: RepairRequest[F]) -> RepairResult:
            return (await step.decide(session))[1]

        return await InSession(change).rehearse(services, request)


async def provider_customer(services: RepairServices, account_id: int) -> str:
    """The id that the provider knows the account by."""
    async with services.database.reading() as session:
        customer = await session.get(ProviderCustomer, account_id)
    assert customer is not None
    return customer.customer_id


async def record_failure(
    session: AsyncSession, row: ProviderRequest, error: BillingError, now: datetime
) -> None:
    """A move that failed is undone by an entry that says why; of a failed undo, the entry only
    says why."""
    entry_id = row.parameters.get(ENTRY)
    if entry_id is None:
        return
    entry = await session.get(AuditEntry, entry_id)
    assert entry is not None
    never_arrived = isinstance(error, NeverArrivedError)
    audit_record = AuditRecord(
        action=Action.UNDO,
        reason=error.title
        if never_arrived
        else f"The payment provider refused the request: {error.title}",
        account_id=entry.account_id,
        subject=entry.subject,
        before=entry.after,
        after=entry.before | {"refused": error.code},
        undoes=None if entry.action == Action.UNDO else entry.id,
    )
    actor = StaffActor(entry.actor_id, entry.actor_name, StaffRole(entry.role))
    await record(session, actor, audit_record, now)


async def _carry_out(
    services: RepairServices, request: RepairRequest[Any], step: ProviderStep
) -> EntryView:
    account_id, now = request.account_id, request.now
    requests = services.provider_requests
    customer_id = await provider_customer(services, account_id)
    written: list[AuditEntry] = []

    async def decide(session: AsyncSession) -> dict[str, Any]:
        transaction = SessionTransaction(session)
        await require_not_undone(transaction, request)
        parameters, result = await step.decide(session)
        written.append(await write_entry(transaction, request, result))
        return parameters | {ENTRY: written[0].id}

    row = await requests.resolve(account_id, customer_id, now, wanted=step.wanted)
    if row is not None:
        return await _entry_of(services, request, row)
    async with services.database.reading() as session:
        await _known_outcome(session, request)
    await requests.carry_out(account_id, customer_id, step.wanted, decide, now)
    if written:
        return view_of(written[0])
    return await _entry_of(services, request, await _resumed(services, account_id, step.wanted))


async def _known_outcome(session: AsyncSession, request: RepairRequest[Any]) -> EntryView | None:
    """What an earlier request with this key did; None also while that is uncertain.

    Raises IdempotencyKeyReusedError, RequestFailedError.
    """
    entry = await known_entry(SessionTransaction(session), request)
    if entry is None:
        return None
    query = (
        select(ProviderRequest)
        .where(ProviderRequest.account_id == entry.account_id)
        .where(col(ProviderRequest.parameters)[ENTRY].as_integer() == entry.id)
    )
    row = (await session.exec(query)).first()
    if row is None or row.state == ProviderRequestState.DONE:
        return view_of(entry)
    if row.state == ProviderRequestState.FAILED:
        raise RequestFailedError(
            "The first request failed. Send it again with a new key.", problem=row.problem
        )
    return None


async def _resumed(
    services: RepairServices, account_id: int, wanted: RequestTarget
) -> ProviderRequest:
    """The request that was pending for the same thing: the newest one."""
    query = (
        select(ProviderRequest)
        .where(ProviderRequest.account_id == account_id)
        .where(ProviderRequest.operation == wanted.operation)
        .order_by(col(ProviderRequest.created_at).desc())
    )
    async with services.database.reading() as session:
        return next(row for row in await session.exec(query) if wanted.is_of(row))


async def _entry_of(
    services: RepairServices, request: RepairRequest[Any], row: ProviderRequest
) -> EntryView:
    """The entry of an interrupted request that took effect. Raises AlreadyInStateError when it was
    not this person's: the customer's, or that of a colleague."""
    entry_id = row.parameters.get(ENTRY)
    async with services.database.reading() as session:
        entry = await session.get(AuditEntry, entry_id) if entry_id is not None else None
    if entry is None or entry.actor_id != request.staff.actor_id:
        by = entry.actor_name if entry is not None else "the customer"
        raise AlreadyInStateError(f"{by[:1].upper()}{by[1:]} has done the same in the meantime.")
    return view_of(entry)
