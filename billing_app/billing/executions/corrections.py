"""Corrections of the ledger: refunds of an event, and adjustments of a plan by staff."""

from billing_app.billing import ids
from billing_app.billing.errors import (
    AccountNotFoundError,
    AdjustmentExceedsError,
    BillingError,
    EventNotFoundError,
    EventRemovedError,
    InvalidInputError,
    PlanUnknownError,
    RefundExceedsError,
)
from billing_app.billing.executions.event_rows import Part
from billing_app.billing.executions.idempotency import natural_key, remember, replay
from billing_app.billing.executions.requests import (
    Accepted,
    Adjust,
    AdjustAnswer,
    Decision,
    Refund,
    RefundAnswer,
    encode,
)
from billing_app.billing.executions.reservations import first_of, in_queue_order, shares_of
from billing_app.billing.executions.state import (
    EPOCH,
    MICROSECOND,
    AccountState,
    Balance,
    Changes,
    EventFields,
    EventState,
    LedgerState,
    PlanBalance,
    Share,
    balance_of,
)
from billing_app.billing.quantities import counted
from billing_app.db.enums import EventKind


def refund(request: Refund, ledger: LedgerState, changes: Changes) -> Decision:
    """Give back executions of an event to the plans that paid for them."""
    account = ledger.accounts.get(request.account_id)
    event = ledger.events.get((request.account_id, request.number))
    if account is None or not account.may_be_used_by(request.caller):
        return EventNotFoundError()
    key = natural_key(request)
    fingerprint = request.fingerprint()
    known = ledger.known.get((account.id, key))
    if known is not None and (event is not None or known.request_hash == fingerprint):
        return replay(known, fingerprint)
    if event is None:
        return _missing(request, ledger)
    _limit_to_used(account, event)
    refundable = sum(part.executions for part in event.parts)
    executions = refundable if request.executions is None else request.executions
    if executions > event.executions:
        return InvalidInputError(
            f"Cannot refund {counted(executions, 'execution')}: the event used"
            f" {event.executions:,}.",
            field="executions",
        )
    if executions > refundable or not refundable:
        return RefundExceedsError(
            f"Of {counted(event.executions, 'execution')}, {refundable:,} can still be refunded.",
            executions_refundable=refundable,
        )
    answer = _refund_event(request, account, event, executions, changes)
    return remember(ledger, changes, account.id, key, fingerprint, answer)


def _missing(request: Refund, ledger: LedgerState) -> BillingError:
    kept_from = ledger.kept_from.get(request.account_id, 0)
    if request.number < kept_from:
        return EventRemovedError(kept_from=EPOCH + kept_from * MICROSECOND)
    return EventNotFoundError()


def _refund_event(
    request: Refund,
    account: AccountState,
    event: EventState,
    executions: int,
    changes: Changes,
) -> bytes:
    """Give back to the plans that paid, last payer first."""
    now = changes.now
    parts = first_of(in_queue_order(account, event.parts)[::-1], executions)
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
            *balance.members(),
        )
    )


def _limit_to_used(account: AccountState, event: EventState) -> None:
    """An adjustment may already have given back what the event used."""
    for part in event.parts:
        plan = account.plan(part.plan_sequence)
        assert plan is not None
        part.executions = min(part.executions, plan.used)


def _subtract(parts: list[Part], refunded: list[Part]) -> list[Part]:
    refunded_by_plan = {part.plan_sequence: part.executions for part in refunded}
    return [
        Part(part.plan_sequence, part.executions - refunded_by_plan.get(part.plan_sequence, 0))
        for part in parts
    ]


def adjust(request: Adjust, ledger: LedgerState, changes: Changes) -> Decision:
    """Change what plans have used, within their bounds: all parts or none.

    The account is loaded with all of its plans.
    """
    account = ledger.accounts.get(request.account_id)
    if account is None:
        return AccountNotFoundError()
    shares: list[Share] = []
    for sequence, executions in request.parts:
        plan = account.plan(sequence)
        if plan is None:
            return PlanUnknownError()
        if executions > plan.remaining or -executions > plan.used:
            return _exceeds(account, plan, executions)
        shares.append((plan, executions))
    now = changes.now
    for plan, executions in shares:
        if executions > 0:
            plan.use(executions, now)
        else:
            plan.give_back(-executions, now)
    fields = EventFields(
        kind=EventKind.ADJUSTMENT,
        workflow=request.workflow,
        user_id=request.user_id,
        refers_to=request.refers_to,
        reason=request.reason,
    )
    balance = balance_of(account, now)
    number = changes.add_event(account, shares, fields, balance.left)
    return Accepted(_adjust_answer(account, number, shares, balance))


def _exceeds(account: AccountState, plan: PlanBalance, executions: int) -> AdjustmentExceedsError:
    if executions > 0:
        problem = f"use {counted(executions, 'more execution')}: {max(0, plan.remaining):,} left"
    else:
        problem = f"give back {counted(-executions, 'execution')}: {plan.used:,} used"
    return AdjustmentExceedsError(
        f"{plan.name} cannot {problem}.",
        plan_id=ids.encode(ids.PLAN, account.id, plan.sequence),
        executions_requested=executions,
        executions_total=plan.executions,
        executions_used=plan.used,
        executions_held=plan.held,
        executions_remaining=plan.remaining,
    )


def _adjust_answer(
    account: AccountState, number: int, shares: list[Share], balance: Balance
) -> bytes:
    return encode(
        AdjustAnswer(
            ids.encode(ids.EVENT, account.id, number),
            sum(executions for _, executions in shares),
            ids.encode_account(account.id),
            *balance.members(),
        )
    )
