"""The rules of counting, without a database: requests and balances in, decisions and changes out.

`decide` owns the ledger state it is given and moves its balances as it goes, so that each
request sees what the ones before it in the batch left.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.adjusting import adjust
from billing_app.billing.executions.answers import (
    Balance,
    CheckAnswer,
    ReservationBrief,
    balance_of,
    encode,
    plan_brief,
)
from billing_app.billing.executions.changes import (
    Changes,
    DenialKey,
    EventFields,
    HoldRow,
    ReservationRow,
)
from billing_app.billing.executions.decisions import (
    Accepted,
    Decision,
    client_key,
    remember,
    replay,
)
from billing_app.billing.executions.denials import denial
from billing_app.billing.executions.parts import free, take
from billing_app.billing.executions.refunding import refund
from billing_app.billing.executions.requests import (
    CHECK,
    CONSUME,
    Adjust,
    CheckRequest,
    Refund,
    Request,
)
from billing_app.billing.executions.reservations import settle
from billing_app.billing.executions.state import (
    AccountState,
    LedgerState,
    PlanBalance,
    remaining_of,
)
from billing_app.db.enums import DenialReason, EndReason, EventKind, ReservationStatus

_CONSUMED: Final = EventKind.CONSUME


def decide(requests: Sequence[Request], ledger: LedgerState) -> tuple[list[Decision], Changes]:
    """Decide the requests one after another. Never raises for what a caller sent."""
    changes = Changes(ledger.now)
    _expire_reservations(ledger, changes)
    _end_periods(ledger)
    return [_decide_one(request, ledger, changes) for request in requests], changes


def _decide_one(request: Request, ledger: LedgerState, changes: Changes) -> Decision:
    if isinstance(request, CheckRequest):
        return _ask(request, ledger, changes)
    if isinstance(request, Refund):
        return refund(request, ledger, changes)
    if isinstance(request, Adjust):
        answer = adjust(request, ledger, changes)
        return answer if isinstance(answer, BillingError) else Accepted(answer)
    return settle(request, ledger, changes)


def _expire_reservations(ledger: LedgerState, changes: Changes) -> None:
    for reservation in ledger.reservations.values():
        if reservation.status != ReservationStatus.HELD or ledger.now < reservation.expires_at:
            continue
        free(ledger.accounts[reservation.account_id], reservation.holds)
        changes.settle(reservation, ReservationStatus.EXPIRED, at=reservation.expires_at)


def _end_periods(ledger: LedgerState) -> None:
    for account in ledger.accounts.values():
        for plan in account.plans:
            over = plan.ends_at is not None and plan.ends_at <= ledger.now
            if over and plan.ended_at is None and plan.held == 0:
                assert plan.ends_at is not None
                plan.end(plan.ends_at, EndReason.PERIOD_ENDED)


def _ask(ask: CheckRequest, ledger: LedgerState, changes: Changes) -> Decision:
    account_id = ledger.account_id(ask.organization_id, ask.user_id)
    if isinstance(account_id, BillingError):
        return account_id
    account = ledger.accounts[account_id]
    if ask.mode is CHECK:
        return _check(ask, account, ledger.now)
    key = client_key(ask.idempotency_key)
    fingerprint = ask.fingerprint()
    known = ledger.known.get((account.id, key))
    if known is not None:
        return replay(known, fingerprint)
    usable = account.usable(ledger.now)
    if remaining_of(usable) < ask.executions:
        error = denial(ask, account, ledger.now)
        reason = DenialReason(error.code)
        changes.denied[DenialKey(account.id, ask.workflow, ask.user_id, reason)] += 1
        return error
    act = _consume if ask.mode is CONSUME else _reserve
    answer = act(ask, account, usable, changes)
    return remember(ledger, changes, account.id, key, fingerprint, answer)


def _check(ask: CheckRequest, account: AccountState, now: datetime) -> Decision:
    usable = account.usable(now)
    if remaining_of(usable) < ask.executions:
        return denial(ask, account, now)
    current = next(plan for plan in usable if plan.remaining)
    return Accepted(_answer(ask, account, current, balance_of(account, now)))


def _consume(
    ask: CheckRequest, account: AccountState, usable: list[PlanBalance], changes: Changes
) -> bytes:
    now = changes.now
    shares = take(usable, ask.executions)
    for plan, executions in shares:
        plan.use(executions, now)
    fields = EventFields(
        _CONSUMED, ask.workflow, ask.user_id, ask.idempotency_key, ask.caller.api_key_id
    )
    balance = balance_of(account, now)
    number = changes.add_event(account, shares, fields, balance.left)
    return _answer(ask, account, shares[-1][0], balance, event_number=number)


def _reserve(
    ask: CheckRequest, account: AccountState, usable: list[PlanBalance], changes: Changes
) -> bytes:
    now = changes.now
    shares = take(usable, ask.executions)
    for plan, executions in shares:
        plan.hold(executions, now)
    number = account.next_number(changes.now_microseconds)
    expires_at = now + timedelta(seconds=ask.hold_seconds)
    changes.reservations.append(
        ReservationRow(
            account.id,
            number,
            ask.executions,
            ask.workflow,
            ask.user_id,
            ask.idempotency_key,
            ask.caller.api_key_id,
            expires_at,
        )
    )
    changes.holds.extend(
        HoldRow(account.id, number, plan.sequence, executions) for plan, executions in shares
    )
    brief = ReservationBrief(ids.encode(ids.RESERVATION, account.id, number), expires_at)
    balance = balance_of(account, now)
    return _answer(ask, account, shares[-1][0], balance, reservation=brief)


def _answer(
    ask: CheckRequest,
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
            ask.mode,
            ask.executions,
            event_id,
            reservation,
            plan_brief(account, plan),
            ids.encode_account(account.id),
            balance.total,
            balance.used,
            balance.held,
            balance.remaining,
            balance.period_end,
        )
    )
