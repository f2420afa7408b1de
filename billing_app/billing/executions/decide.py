"""The rules of counting, without a database: requests and balances in, decisions and changes out.

`decide` owns the ledger state that it is given and updates its balances as it goes, so that each
request sees what earlier requests of the batch left.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from billing_app.billing import ids
from billing_app.billing.errors import (
    AccountBlockedError,
    BillingError,
    BudgetExceededError,
    DeniedError,
    InsufficientExecutionsError,
    PaymentPastDueError,
    PlanNotFoundError,
    PlanPausedError,
    TrialEndedError,
)
from billing_app.billing.executions.corrections import adjust, refund
from billing_app.billing.executions.crossings import begin, follow
from billing_app.billing.executions.idempotency import client_key, remember, replay
from billing_app.billing.executions.requests import (
    CHECK,
    CONSUME,
    Accepted,
    Adjust,
    CheckAnswer,
    CheckRequest,
    Decision,
    PlanBrief,
    Refund,
    Request,
    ReservationBrief,
    encode,
)
from billing_app.billing.executions.reservations import free, settle
from billing_app.billing.executions.state import (
    AccountState,
    Balance,
    Changes,
    DenialKey,
    EventFields,
    LedgerState,
    PlanBalance,
    ReservationPartRow,
    ReservationRow,
    Share,
    balance_of,
    remaining_of,
)
from billing_app.billing.quantities import counted
from billing_app.db.enums import DenialReason, EndReason, EventKind, PlanType, ReservationStatus

_CONSUMED: Final = EventKind.CONSUME


def decide(requests: Sequence[Request], ledger: LedgerState) -> tuple[list[Decision], Changes]:
    """Decide the requests one after another. Never raises for what a caller sent."""
    changes = Changes(ledger.now)
    _expire_reservations(ledger, changes)
    _end_periods(ledger)
    is_watched = False
    for account in ledger.accounts.values():
        if account.watched is not None:
            begin(account, account.watched, ledger.now)
            is_watched = True
    decide_one = _decide_watched if is_watched else _decide_one
    return [decide_one(request, ledger, changes) for request in requests], changes


def _decide_watched(request: Request, ledger: LedgerState, changes: Changes) -> Decision:
    events = len(changes.events)
    decision = _decide_one(request, ledger, changes)
    if len(changes.events) > events:
        account = ledger.accounts[changes.events[-1].account_id]
        if account.watched is not None:
            follow(account, account.watched, changes)
    return decision


def _decide_one(request: Request, ledger: LedgerState, changes: Changes) -> Decision:
    if isinstance(request, CheckRequest):
        return _decide_check_request(request, ledger, changes)
    if isinstance(request, Refund):
        return refund(request, ledger, changes)
    if isinstance(request, Adjust):
        return adjust(request, ledger, changes)
    return settle(request, ledger, changes)


def _expire_reservations(ledger: LedgerState, changes: Changes) -> None:
    for reservation in ledger.reservations.values():
        if reservation.status != ReservationStatus.HELD or ledger.now < reservation.expires_at:
            continue
        free(ledger.accounts[reservation.account_id], reservation.parts)
        changes.settle(reservation, ReservationStatus.EXPIRED, at=reservation.expires_at)


def _end_periods(ledger: LedgerState) -> None:
    for account in ledger.accounts.values():
        for plan in account.plans:
            has_ended = plan.ends_at is not None and plan.ends_at <= ledger.now
            if has_ended and plan.ended_at is None and plan.held == 0:
                assert plan.ends_at is not None
                plan.end(plan.ends_at, EndReason.PERIOD_ENDED)


def _decide_check_request(request: CheckRequest, ledger: LedgerState, changes: Changes) -> Decision:
    account_id = ledger.account_id(request.organization_id, request.user_id)
    if isinstance(account_id, BillingError):
        return account_id
    account = ledger.accounts[account_id]
    if request.mode is CHECK:
        return _check(request, account, ledger.now)
    key = client_key(request.idempotency_key)
    fingerprint = request.fingerprint()
    known = ledger.known.get((account.id, key))
    if known is not None:
        return replay(known, fingerprint)
    usable = account.usable(ledger.now)
    if remaining_of(usable) < request.executions:
        error = _denial(request, account, ledger.now)
        reason = DenialReason(error.code)
        changes.denied[DenialKey(account.id, request.workflow, request.user_id, reason)] += 1
        return error
    act = _consume if request.mode is CONSUME else _reserve
    answer = act(request, account, usable, changes)
    return remember(ledger, changes, account.id, key, fingerprint, answer)


def _check(request: CheckRequest, account: AccountState, now: datetime) -> Decision:
    usable = account.usable(now)
    if remaining_of(usable) < request.executions:
        return _denial(request, account, now)
    current = next(plan for plan in usable if plan.remaining)
    return Accepted(_answer(request, account, current, balance_of(account, now)))


def _consume(
    request: CheckRequest, account: AccountState, usable: list[PlanBalance], changes: Changes
) -> bytes:
    now = changes.now
    shares = _take(usable, request.executions)
    for plan, executions in shares:
        plan.use(executions, now)
    fields = EventFields(
        _CONSUMED,
        request.workflow,
        request.user_id,
        request.idempotency_key,
        request.caller.api_key_id,
    )
    balance = balance_of(account, now)
    number = changes.add_event(account, shares, fields, balance.left)
    return _answer(request, account, shares[-1][0], balance, event_number=number)


def _reserve(
    request: CheckRequest, account: AccountState, usable: list[PlanBalance], changes: Changes
) -> bytes:
    now = changes.now
    shares = _take(usable, request.executions)
    for plan, executions in shares:
        plan.hold(executions, now)
    number = account.next_number(changes.now_microseconds)
    expires_at = now + timedelta(seconds=request.hold_seconds)
    changes.reservations.append(
        ReservationRow(
            account.id,
            number,
            request.executions,
            request.workflow,
            request.user_id,
            request.idempotency_key,
            request.caller.api_key_id,
            expires_at,
        )
    )
    changes.reservation_parts.extend(
        ReservationPartRow(account.id, number, plan.sequence, executions)
        for plan, executions in shares
    )
    brief = ReservationBrief(ids.encode(ids.RESERVATION, account.id, number), expires_at)
    balance = balance_of(account, now)
    return _answer(request, account, shares[-1][0], balance, reservation=brief)


def _answer(
    request: CheckRequest,
    account: AccountState,
    plan: PlanBalance,
    balance: Balance,
    *,
    event_number: int | None = None,
    reservation: ReservationBrief | None = None,
) -> bytes:
    event_id = ids.encode(ids.EVENT, account.id, event_number) if event_number else None
    return encode(
        CheckAnswer(
            True,
            request.mode,
            request.executions,
            event_id,
            reservation,
            PlanBrief(ids.encode(ids.PLAN, account.id, plan.sequence), plan.type, plan.name),
            ids.encode_account(account.id),
            balance.total,
            balance.used,
            balance.held,
            balance.remaining,
            balance.period_end,
        )
    )


def _take(usable: list[PlanBalance], executions: int) -> list[Share]:
    """Split executions over plans in queue order. The plans have enough."""
    shares: list[Share] = []
    for plan in usable:
        taken = min(plan.remaining, executions)
        if taken:
            shares.append((plan, taken))
            executions -= taken
        if not executions:
            break
    assert executions == 0
    return shares


def _denial(request: CheckRequest, account: AccountState, now: datetime) -> DeniedError:
    """Why the request is denied: the reason that the customer can do something about."""
    usable = account.usable(now)
    last = account.last()
    remaining = remaining_of(usable)
    current = usable[0] if usable else last
    period_end = current.ends_at if current else None
    if last is None:
        kind, detail = PlanNotFoundError, "This account has no plan."
    elif (stop := _stop(account, now)) is not None:
        kind, detail = stop
    elif not usable and _is_ended_trial(last, now):
        kind, detail = TrialEndedError, f"The trial ended at {period_end}."
    else:
        kind = InsufficientExecutionsError
        detail = f"{counted(request.executions, 'execution')} requested, {remaining:,} left."
    return kind(detail, remaining=remaining, requested=request.executions, period_end=period_end)


def _stop(account: AccountState, now: datetime) -> tuple[type[DeniedError], str] | None:
    """Why executions that are left cannot be used; or that the overage limit is reached."""
    in_period = [plan for plan in account.plans if plan.is_in_period(now)]
    stopped = [plan for plan in in_period if plan.remaining]
    if any(plan.blocked_at is not None for plan in in_period):
        return AccountBlockedError, "This account is blocked. Contact support."
    if any(plan.is_suspended(now) for plan in stopped):
        return PaymentPastDueError, "A payment is overdue. Pay it to resume executions."
    if any(plan.paused_at is not None for plan in stopped):
        return PlanPausedError, "The plan is paused. Contact support to resume it."
    if any(plan.is_overage for plan in in_period):
        return BudgetExceededError, "The overage limit has been reached."
    return None


def _is_ended_trial(plan: PlanBalance, now: datetime) -> bool:
    return (
        plan.type == PlanType.TRIAL
        and plan.ends_at is not None
        and plan.ends_at <= now
        and plan.ended_because != EndReason.DEPLETED
    )
