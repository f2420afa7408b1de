"""Committing a reservation, in whole or in part, and releasing it."""

from datetime import datetime

from billing_app.billing import ids
from billing_app.billing.errors import (
    InvalidInputError,
    ReservationExpiredError,
    ReservationNotFoundError,
    ReservationSettledError,
)
from billing_app.billing.executions.answers import (
    SettleAnswer,
    SettledReservation,
    balance_of,
    encode,
)
from billing_app.billing.executions.changes import Changes, EventFields
from billing_app.billing.executions.decisions import (
    Accepted,
    Decision,
    is_callers,
    natural_key,
    remember,
)
from billing_app.billing.executions.parts import as_paid, first_of, free, shares_of
from billing_app.billing.executions.requests import Caller, Commit, Release, digest
from billing_app.billing.executions.state import AccountState, LedgerState, ReservationState
from billing_app.db.enums import EventKind, ReservationStatus


def settle(request: Commit | Release, ledger: LedgerState, changes: Changes) -> Decision:
    account = ledger.accounts.get(request.account_id)
    reservation = ledger.reservations.get((request.account_id, request.number))
    if account is None or reservation is None or not is_callers(request.caller, account):
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
    return remember(ledger, changes, account.id, key, fingerprint, answer)


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
    free(account, reservation.holds)
    event_number = None
    if executions:
        shares = shares_of(account, first_of(as_paid(account, reservation.holds), executions))
        for plan, used in shares:
            plan.use(used, now)
        fields = EventFields(
            kind=EventKind.COMMIT,
            workflow=reservation.workflow,
            user_id=reservation.user_id,
            idempotency_key=reservation.idempotency_key,
            api_key_id=caller.api_key_id,
            refers_to=reservation.number,
        )
        left = balance_of(account, now).left
        event_number = changes.add_event(account, shares, fields, left)
    status = ReservationStatus.COMMITTED if executions else ReservationStatus.RELEASED
    changes.settle(reservation, status, at=now, event_number=event_number)
    return _settle_answer(account, reservation, executions, event_number, now)


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
