"""The rules of counting, without a database: requests and balances in, decisions and changes out.

`decide` owns the ledger state it is given and moves its balances as it goes, so that each
request sees what the ones before it in the batch left.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from billing_app.billing import ids
from billing_app.billing.errors import (
    AccountBlockedError,
    BillingError,
    BudgetExceededError,
    DeniedError,
    EventNotFoundError,
    IdempotencyKeyReusedError,
    InsufficientExecutionsError,
    InvalidInputError,
    PaymentPastDueError,
    PlanNotFoundError,
    PlanPausedError,
    RefundExceedsError,
    ReservationExpiredError,
    ReservationNotFoundError,
    ReservationSettledError,
    TrialEndedError,
)
from billing_app.billing.executions.adjusting import adjust
from billing_app.billing.executions.answers import (
    Balance,
    CheckAnswer,
    RefundAnswer,
    ReservationBrief,
    SettleAnswer,
    SettledReservation,
    balance_of,
    encode,
    plan_brief,
)
from billing_app.billing.executions.changes import (
    Changes,
    DenialKey,
    EventFacts,
    HoldRow,
    KeyRow,
    ReservationRow,
    Share,
)
from billing_app.billing.executions.requests import (
    CHECK,
    CONSUME,
    Adjust,
    Ask,
    Caller,
    Commit,
    Refund,
    Release,
    Request,
    digest,
)
from billing_app.billing.executions.state import (
    AccountState,
    EventState,
    KnownAnswer,
    LedgerState,
    Part,
    PlanBalance,
    ReservationState,
    queue_order,
    remaining_of,
)
from billing_app.db.words import DenialReason, EndReason, EventKind, PlanType, ReservationStatus

_CONSUMED: Final = EventKind.CONSUME


class Accepted(msgspec.Struct, gc=False):
    """Allowed, with the answer's bytes; `replayed` when it is the first answer once more."""

    answer: bytes
    replayed: bool = False


Decision = Accepted | BillingError


def decide(requests: Sequence[Request], ledger: LedgerState) -> tuple[list[Decision], Changes]:
    """Decide the requests one after another. Never raises for what a caller sent."""
    changes = Changes(ledger.now)
    _expire_reservations(ledger, changes)
    _end_periods(ledger)
    return [_decide_one(request, ledger, changes) for request in requests], changes


def _decide_one(request: Request, ledger: LedgerState, changes: Changes) -> Decision:
    if isinstance(request, Ask):
        return _ask(request, ledger, changes)
    if isinstance(request, Refund):
        return _refund(request, ledger, changes)
    if isinstance(request, Adjust):
        answer = adjust(request, ledger, changes)
        return answer if isinstance(answer, BillingError) else Accepted(answer)
    return _settle(request, ledger, changes)


def client_key(idempotency_key: str) -> str:
    """The stored key for a caller's Idempotency-Key."""
    return "k:" + idempotency_key


def natural_key(request: Commit | Release | Refund) -> str:
    """The stored key of an operation: the caller's, or one made of what the operation names."""
    if not isinstance(request, Refund):
        return f"r:{request.number:x}"
    if request.idempotency_key:
        return client_key(request.idempotency_key)
    return f"f:{request.number:x}:{request.fingerprint().hex()}"


def _expire_reservations(ledger: LedgerState, changes: Changes) -> None:
    for reservation in ledger.reservations.values():
        if reservation.status != ReservationStatus.HELD or ledger.now < reservation.expires_at:
            continue
        account = ledger.accounts[reservation.account_id]
        plans = [account.plan(part.plan_sequence) for part in reservation.holds]
        if None in plans:
            continue  # one of its plans is not locked here; a later decision will free it
        _free(account, reservation.holds)
        changes.settle(reservation, ReservationStatus.EXPIRED, at=reservation.expires_at)


def _end_periods(ledger: LedgerState) -> None:
    for account in ledger.accounts.values():
        for plan in account.plans:
            over = plan.ends_at is not None and plan.ends_at <= ledger.now
            if over and plan.ended_at is None and plan.held == 0:
                assert plan.ends_at is not None
                plan.end(plan.ends_at, EndReason.PERIOD_ENDED)


def _ask(ask: Ask, ledger: LedgerState, changes: Changes) -> Decision:
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
        return _replay(known, fingerprint)
    usable = account.usable(ledger.now)
    if remaining_of(usable) < ask.executions:
        error = _denial(ask, account, ledger.now)
        reason = DenialReason(error.code)
        changes.denied[DenialKey(account.id, ask.workflow, ask.user_id, reason)] += 1
        return error
    act = _consume if ask.mode is CONSUME else _reserve
    answer = act(ask, account, usable, changes)
    return _remember(ledger, changes, account.id, key, fingerprint, answer)


def _replay(known: KnownAnswer, fingerprint: bytes) -> Decision:
    if known.request_hash == fingerprint:
        return Accepted(known.answer, replayed=True)
    return IdempotencyKeyReusedError()


def _remember(
    ledger: LedgerState,
    changes: Changes,
    account_id: int,
    key: str,
    fingerprint: bytes,
    answer: bytes,
) -> Accepted:
    ledger.known[account_id, key] = KnownAnswer(fingerprint, answer)
    changes.keys.append(KeyRow(account_id, key, fingerprint, answer))
    return Accepted(answer)


def _check(ask: Ask, account: AccountState, now: datetime) -> Decision:
    usable = account.usable(now)
    if remaining_of(usable) < ask.executions:
        return _denial(ask, account, now)
    current = next(plan for plan in usable if plan.remaining)
    return Accepted(_answer(ask, account, current, balance_of(account, now)))


def _consume(ask: Ask, account: AccountState, usable: list[PlanBalance], changes: Changes) -> bytes:
    now = changes.now
    shares = _take(usable, ask.executions)
    for plan, executions in shares:
        plan.use(executions, now)
    facts = EventFacts(
        _CONSUMED, ask.workflow, ask.user_id, ask.idempotency_key, ask.caller.api_key_id
    )
    balance = balance_of(account, now)
    number = changes.add_event(account, shares, facts, balance.remaining)
    return _answer(ask, account, shares[-1][0], balance, event_number=number)


def _reserve(ask: Ask, account: AccountState, usable: list[PlanBalance], changes: Changes) -> bytes:
    now = changes.now
    shares = _take(usable, ask.executions)
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


def _take(usable: list[PlanBalance], executions: int) -> list[Share]:
    """Split executions over plans in the order of the queue. They suffice."""
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


def _shares(account: AccountState, parts: list[Part]) -> list[Share]:
    shares: list[Share] = []
    for part in parts:
        plan = account.plan(part.plan_sequence)
        assert plan is not None
        shares.append((plan, part.executions))
    return shares


def _free(account: AccountState, holds: list[Part]) -> None:
    for plan, executions in _shares(account, holds):
        plan.release(executions)


def _answer(
    ask: Ask,
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


def _denial(ask: Ask, account: AccountState, now: datetime) -> DeniedError:
    usable = account.usable(now)
    last = account.plans[-1] if account.plans else account.last_closed
    remaining = remaining_of(usable)
    current = usable[0] if usable else last
    period_end = current.ends_at if current else None
    if last is None:
        kind, detail = PlanNotFoundError, "This account holds no plan."
    elif (stop := _stop(account, now)) is not None:
        kind, detail = stop
    elif not usable and _is_ended_trial(last, now):
        kind, detail = TrialEndedError, f"The trial ended at {period_end}."
    else:
        kind = InsufficientExecutionsError
        detail = f"{remaining:,} executions are left, {ask.executions:,} were requested."
    return kind(detail, remaining=remaining, requested=ask.executions, period_end=period_end)


def _stop(account: AccountState, now: datetime) -> tuple[type[DeniedError], str] | None:
    """Why a plan that has executions left gives none; or that even overage is used up."""
    in_period = [plan for plan in account.plans if plan.is_in_period(now)]
    stopped = [plan for plan in in_period if plan.remaining]
    if any(plan.blocked_at is not None for plan in in_period):
        return AccountBlockedError, "This account is blocked. Ask support."
    if any(plan.is_suspended(now) for plan in stopped):
        return PaymentPastDueError, "A payment is overdue. Pay it, and runs go on at once."
    if any(plan.paused_at is not None for plan in stopped):
        return PlanPausedError, "The plan is paused. Ask support to resume it."
    if any(plan.is_overage for plan in in_period):
        return BudgetExceededError, "The limit for executions beyond the plan is reached."
    return None


def _is_ended_trial(plan: PlanBalance, now: datetime) -> bool:
    return (
        plan.type == PlanType.TRIAL
        and plan.ends_at is not None
        and plan.ends_at <= now
        and plan.ended_because != EndReason.DEPLETED
    )


def _is_callers(caller: Caller, account: AccountState) -> bool:
    return caller.organization_id in (None, account.organization_id)


def _settle(request: Commit | Release, ledger: LedgerState, changes: Changes) -> Decision:
    account = ledger.accounts.get(request.account_id)
    reservation = ledger.reservations.get((request.account_id, request.number))
    if account is None or reservation is None or not _is_callers(request.caller, account):
        return ReservationNotFoundError()
    executions = _to_commit(request, reservation)
    key = natural_key(request)
    fingerprint = digest(type(request).__name__, str(executions))
    known = ledger.known.get((account.id, key))
    if known is not None and known.request_hash == fingerprint:
        return Accepted(known.answer, replayed=True)
    if reservation.status == ReservationStatus.EXPIRED:
        return ReservationExpiredError(
            f"The reservation expired at {reservation.expires_at.isoformat()};"
            " its executions were freed. Consume instead.",
            expires_at=reservation.expires_at,
        )
    if reservation.status != ReservationStatus.HELD:
        return ReservationSettledError(
            f"The reservation is {reservation.status} already.",
            reservation_status=reservation.status,
        )
    if executions > reservation.executions:
        return InvalidInputError(
            f"The reservation holds {reservation.executions:,} executions,"
            f" {executions:,} cannot be committed.",
            field="executions",
        )
    answer = _settle_held(request.caller, account, reservation, executions, changes)
    return _remember(ledger, changes, account.id, key, fingerprint, answer)


def _to_commit(request: Commit | Release, reservation: ReservationState) -> int:
    if isinstance(request, Release):
        return 0
    return reservation.executions if request.executions is None else request.executions


def _settle_held(
    caller: Caller,
    account: AccountState,
    reservation: ReservationState,
    executions: int,
    changes: Changes,
) -> bytes:
    now = changes.now
    _free(account, reservation.holds)
    event_number = None
    if executions:
        shares = _shares(account, _first_of(_as_paid(account, reservation.holds), executions))
        for plan, used in shares:
            plan.use(used, now)
        facts = EventFacts(
            kind=EventKind.COMMIT,
            workflow=reservation.workflow,
            user_id=reservation.user_id,
            idempotency_key=reservation.idempotency_key,
            api_key_id=caller.api_key_id,
            refers_to=reservation.number,
        )
        remaining = balance_of(account, now).remaining
        event_number = changes.add_event(account, shares, facts, remaining)
    status = ReservationStatus.COMMITTED if executions else ReservationStatus.RELEASED
    changes.settle(reservation, status, at=now, event_number=event_number)
    return _settle_answer(account, reservation, executions, event_number, now)


def _as_paid(account: AccountState, parts: list[Part]) -> list[Part]:
    """In the order in which the plans were used; parts are kept in that of their sequence."""
    plans = {plan.sequence: plan for plan in account.plans}
    return sorted(parts, key=lambda part: queue_order(plans[part.plan_sequence]))


def _first_of(parts: list[Part], executions: int) -> list[Part]:
    taken: list[Part] = []
    for part in parts:
        share = min(part.executions, executions)
        if share:
            taken.append(Part(part.plan_sequence, share))
            executions -= share
    assert executions == 0
    return taken


def _settle_answer(
    account: AccountState,
    reservation: ReservationState,
    executions: int,
    event_number: int | None,
    now: datetime,
) -> bytes:
    balance = balance_of(account, now)
    reservation_id = ids.encode(ids.RESERVATION, account.id, reservation.number)
    return encode(
        SettleAnswer(
            SettledReservation(reservation_id, ReservationStatus(reservation.status)),
            ids.encode(ids.EVENT, account.id, event_number) if event_number else None,
            executions,
            reservation.executions - executions,
            ids.encode_account(account.id),
            balance.total,
            balance.used,
            balance.held,
            balance.remaining,
            balance.period_end,
        )
    )


def _refund(request: Refund, ledger: LedgerState, changes: Changes) -> Decision:
    account = ledger.accounts.get(request.account_id)
    event = ledger.events.get((request.account_id, request.number))
    if account is None or event is None or not _is_callers(request.caller, account):
        return EventNotFoundError()
    key = natural_key(request)
    fingerprint = request.fingerprint()
    known = ledger.known.get((account.id, key))
    if known is not None:
        return _replay(known, fingerprint)
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
    return _remember(ledger, changes, account.id, key, fingerprint, answer)


def _refund_event(
    request: Refund,
    account: AccountState,
    event: EventState,
    executions: int,
    changes: Changes,
) -> bytes:
    """Give back to the plans that paid, the one that paid last first."""
    now = changes.now
    parts = _first_of(_as_paid(account, event.parts)[::-1], executions)
    shares = _shares(account, parts)
    for plan, used in shares:
        plan.give_back(used, now)
    event.parts = _subtract(event.parts, parts)
    facts = EventFacts(
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
    number = changes.add_event(account, given_back, facts, balance.remaining)
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
