"""Giving back executions of an event, to the plans that paid."""

from billing_app.billing import ids
from billing_app.billing.errors import EventNotFoundError, InvalidInputError, RefundExceedsError
from billing_app.billing.executions.answers import RefundAnswer, balance_of, encode
from billing_app.billing.executions.changes import Changes, EventFields
from billing_app.billing.executions.decisions import (
    Decision,
    is_callers,
    natural_key,
    remember,
    replay,
)
from billing_app.billing.executions.parts import as_paid, first_of, shares_of
from billing_app.billing.executions.requests import Refund
from billing_app.billing.executions.state import AccountState, EventState, LedgerState, Part
from billing_app.db.enums import EventKind


def refund(request: Refund, ledger: LedgerState, changes: Changes) -> Decision:
    account = ledger.accounts.get(request.account_id)
    event = ledger.events.get((request.account_id, request.number))
    if account is None or event is None or not is_callers(request.caller, account):
        return EventNotFoundError()
    key = natural_key(request)
    fingerprint = request.fingerprint()
    known = ledger.known.get((account.id, key))
    if known is not None:
        return replay(known, fingerprint)
    _leave_out_taken_back(account, event)
    refundable = sum(part.executions for part in event.parts)
    executions = refundable if request.executions is None else request.executions
    if executions > event.executions:
        return InvalidInputError(
            f"The event used {event.executions:,} executions, {executions:,} cannot be refunded.",
            field="executions",
        )
    if executions > refundable or not refundable:
        return RefundExceedsError(
            f"{refundable:,} of {event.executions:,} executions can still be refunded.",
            executions_refundable=refundable,
        )
    answer = _refund_event(request, account, event, executions, changes)
    return remember(ledger, changes, account.id, key, fingerprint, answer)


def _refund_event(
    request: Refund,
    account: AccountState,
    event: EventState,
    executions: int,
    changes: Changes,
) -> bytes:
    """Give back to the plans that paid, the one that paid last first."""
    now = changes.now
    parts = first_of(as_paid(account, event.parts)[::-1], executions)
    shares = shares_of(account, parts)
    for plan, used in shares:
        plan.give_back(used, now)
    event.parts = _subtract(event.parts, parts)
    fields = EventFields(
        kind=EventKind.REFUND,
        workflow=event.workflow,
        user_id=event.user_id,
        idempotency_key=request.idempotency_key,
        api_key_id=request.caller.api_key_id,
        refers_to=event.number,
        reason=request.reason,
    )
    balance = balance_of(account, now)
    given_back = [(plan, -used) for plan, used in shares]
    number = changes.add_event(account, given_back, fields, balance.left)
    return encode(
        RefundAnswer(
            ids.encode(ids.EVENT, account.id, number),
            ids.encode(ids.EVENT, account.id, event.number),
            executions,
            sum(part.executions for part in event.parts),
            request.reason,
            ids.encode_account(account.id),
            balance.total,
            balance.used,
            balance.held,
            balance.remaining,
            balance.period_end,
        )
    )


def _leave_out_taken_back(account: AccountState, event: EventState) -> None:
    """No more is given back than the plan has used: an adjustment may have been there first."""
    for part in event.parts:
        plan = account.plan(part.plan_sequence)
        assert plan is not None
        part.executions = min(part.executions, plan.used)


def _subtract(parts: list[Part], refunded: list[Part]) -> list[Part]:
    less = {part.plan_sequence: part.executions for part in refunded}
    return [
        Part(part.plan_sequence, part.executions - less.get(part.plan_sequence, 0))
        for part in parts
    ]
