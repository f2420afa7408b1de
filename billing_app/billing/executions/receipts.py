"""Receipts: which plans paid for an event, balances before and after, caller, and refunds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import AccountNotFoundError, EventNotFoundError
from billing_app.billing.executions.kept_events import require_kept
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, EventKind, PlanSource
from billing_app.db.tables import Account, ApiKey, ExecutionEvent, Plan

CORRECTIONS: Final = (EventKind.REFUND, EventKind.ADJUSTMENT)


@dataclass(frozen=True, slots=True)
class PaidPart:
    """Executions of one plan, and its use before and after."""

    plan_id: str
    plan_type: str
    plan_name: str
    executions: int
    plan_executions: int
    plan_used_before: int
    plan_used_after: int


@dataclass(frozen=True, slots=True)
class RefundLine:
    """Executions given back; negative: a refund, or a part of one, was undone."""

    event_id: str
    executions: int
    reason: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """`executions` is negative for a refund; remaining before and after are of the account's
    purchased executions, without overage."""

    event_id: str
    kind: EventKind
    account_id: str
    organization_id: str
    executions: int
    executions_refunded: int
    executions_remaining_before: int
    executions_remaining_after: int
    parts: list[PaidPart]
    workflow: str | None
    user_id: str | None
    idempotency_key: str | None
    api_key_id: int | None
    api_key_name: str | None
    refers_to: str | None
    reason: str | None
    occurred_at: datetime
    refunds: list[RefundLine]


async def read_receipt(database: Database, actor: Actor, event_id: str) -> Receipt:
    """Raises EventNotFoundError, also for another account's event, EventRemovedError, and
    ScopeMissingError."""
    pair = ids.decode(ids.EVENT, event_id)
    if pair is None:
        raise EventNotFoundError
    account_number, number = pair
    async with database.reading() as session:
        try:
            account_id = ids.encode_account(account_number)
            account = await authorize_reading(session, actor, account_id)
        except AccountNotFoundError:
            raise EventNotFoundError from None
        rows = await _rows(session, account_number, number)
        own = [(event, plan) for event, plan in rows if event.number == number]
        if not own:
            await require_kept(session, account_number, EPOCH + number * MICROSECOND)
            raise EventNotFoundError
        refunds = [event for event, _ in rows if event.number != number]
        key_id = own[0][0].api_key_id
        key = await session.get(ApiKey, key_id) if key_id is not None else None
    return _receipt(account, own, refunds, key)


async def _rows(
    session: AsyncSession, account_number: int, number: int
) -> list[tuple[ExecutionEvent, Plan]]:
    query = (
        select(ExecutionEvent, Plan)
        .join(
            Plan,
            (col(Plan.account_id) == ExecutionEvent.account_id)
            & (col(Plan.sequence) == ExecutionEvent.plan_sequence),
        )
        .where(ExecutionEvent.account_id == account_number)
        .where(ExecutionEvent.number >= number)
        .where(
            or_(
                ExecutionEvent.number == number,
                (col(ExecutionEvent.refers_to) == number)
                & (col(ExecutionEvent.kind).in_(CORRECTIONS)),
            )
        )
        .order_by(col(ExecutionEvent.number), col(ExecutionEvent.plan_sequence))
    )
    return list((await session.exec(query)).all())


def _receipt(
    account: Account,
    own: list[tuple[ExecutionEvent, Plan]],
    refunds: list[ExecutionEvent],
    key: ApiKey | None,
) -> Receipt:
    event = own[0][0]
    executions = sum(part.executions for part, _ in own)
    kind = EventKind(event.kind)
    prefix = ids.RESERVATION if kind is EventKind.COMMIT else ids.EVENT
    return Receipt(
        event_id=ids.encode(ids.EVENT, account.id, event.number),
        kind=kind,
        account_id=ids.encode_account(account.id),
        organization_id=account.organization_id,
        executions=executions,
        executions_refunded=-sum(refund.executions for refund in refunds),
        executions_remaining_before=event.remaining_after + _taken(own),
        executions_remaining_after=event.remaining_after,
        parts=[_part(account.id, part, plan) for part, plan in own],
        workflow=event.workflow or None,
        user_id=event.user_id or None,
        idempotency_key=event.idempotency_key or None,
        api_key_id=event.api_key_id,
        api_key_name=key.name if key else None,
        refers_to=ids.encode(prefix, account.id, event.refers_to) if event.refers_to else None,
        reason=event.reason or None,
        occurred_at=event.occurred_at,
        refunds=_refund_lines(account.id, refunds),
    )


def _taken(own: list[tuple[ExecutionEvent, Plan]]) -> int:
    """By how much an event reduced the account's remaining executions; negative: it raised them.

    A commit uses what was already held. A correction counts only where the plan could be used at
    that time. Overage is not part of what remains.
    """
    event = own[0][0]
    if event.kind == EventKind.COMMIT:
        return 0
    corrects = event.kind in CORRECTIONS
    return sum(
        part.executions
        for part, plan in own
        if plan.source != PlanSource.OVERAGE and (not corrects or _counted(plan, event.occurred_at))
    )


def _counted(plan: Plan, at: datetime) -> bool:
    """Whether the plan could be used at that time."""
    ends = (plan.ends_at, plan.suspended_at, _cancelled_at(plan))
    return plan.starts_at <= at and all(end is None or at < end for end in ends)


def _cancelled_at(plan: Plan) -> datetime | None:
    return plan.ended_at if plan.ended_because == EndReason.CANCELLED else None


def _part(account_id: int, part: ExecutionEvent, plan: Plan) -> PaidPart:
    return PaidPart(
        plan_id=ids.encode(ids.PLAN, account_id, plan.sequence),
        plan_type=plan.type,
        plan_name=plan.name,
        executions=part.executions,
        plan_executions=plan.executions,
        plan_used_before=part.plan_used_after - part.executions,
        plan_used_after=part.plan_used_after,
    )


def _refund_lines(account_id: int, refunds: list[ExecutionEvent]) -> list[RefundLine]:
    lines: dict[int, RefundLine] = {}
    for refund in refunds:
        earlier = lines.get(refund.number)
        lines[refund.number] = RefundLine(
            event_id=ids.encode(ids.EVENT, account_id, refund.number),
            executions=-refund.executions + (earlier.executions if earlier else 0),
            reason=refund.reason,
            occurred_at=refund.occurred_at,
        )
    return list(lines.values())
