"""Reservations: commit one in whole or in part, or release it; how its executions are split."""

from datetime import datetime

from billing_app.billing import ids
from billing_app.billing.errors import (
    InvalidInputError,
    ReservationExpiredError,
    ReservationNotFoundError,
    ReservationSettledError,
)
from billing_app.billing.executions.event_rows import Part
from billing_app.billing.executions.idempotency import natural_key, remember
from billing_app.billing.executions.requests import (
    Accepted,
    Caller,
    CheckRequest,
    Commit,
    Decision,
    LeaseRequest,
    Release,
    SettleAnswer,
    SettledReservation,
    digest,
    encode,
)
from billing_app.billing.executions.reservation_rows import ReservationPartRow, ReservationRow
from billing_app.billing.executions.state import (
    AccountState,
    Changes,
    EventFields,
    LedgerState,
    PlanBalance,
    ReservationState,
    Share,
    balance_of,
    queue_order,
)
from billing_app.billing.quantities import counted
from billing_app.db.enums import EventKind, ReservationStatus


def settle(request: Commit | Release, ledger: LedgerState, changes: Changes) -> Decision:
    """Commit or release a reservation, once. It is honoured whatever happened to its plans."""
    account = ledger.accounts.get(request.account_id)
    reservation = _reservation(request, ledger)
    if account is None or reservation is None or not account.may_be_used_by(request.caller):
        return ReservationNotFoundError()
    executions = _to_commit(request, reservation)
    key = natural_key(request)
    fingerprint = digest(type(request).__name__, str(executions))
    known = ledger.known.get((account.id, key))
    if known is not None and known.request_hash == fingerprint:
        return Accepted(known.answer, replayed=True)
    if reservation.status == ReservationStatus.EXPIRED:
        return ReservationExpiredError(
            f"The reservation expired at {reservation.expires_at.isoformat()}"
            " and its executions were released. Consume them instead.",
            expires_at=reservation.expires_at,
        )
    if reservation.status != ReservationStatus.HELD:
        return ReservationSettledError(
            f"The reservation has already been {reservation.status}.",
            reservation_status=reservation.status,
        )
    if executions > reservation.executions:
        return InvalidInputError(
            f"Cannot commit {counted(executions, 'execution')}:"
            f" the reservation holds {reservation.executions:,}.",
            field="executions",
        )
    answer = _settle_held(request.caller, account, reservation, executions, changes)
    return remember(ledger, changes, account.id, key, fingerprint, answer)


def _reservation(request: Commit | Release, ledger: LedgerState) -> ReservationState | None:
    """A lease is settled line by line: leases.py."""
    reservation = ledger.reservations.get((request.account_id, request.number))
    return None if reservation is None or reservation.is_lease else reservation


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
    free(account, reservation.parts)
    event_number = None
    if executions:
        shares = shares_of(
            account, first_of(in_queue_order(account, reservation.parts), executions)
        )
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
            *balance.members(),
        )
    )


def reserve(
    request: CheckRequest,
    account: AccountState,
    shares: list[Share],
    expires_at: datetime,
    changes: Changes,
) -> int:
    """Hold the shares until then; the reservation's number."""
    for plan, executions in shares:
        plan.hold(executions, changes.now)
    number = account.next_number(changes.now_microseconds)
    changes.reservations.append(
        ReservationRow(
            account.id,
            number,
            sum([executions for _, executions in shares]),
            request.workflow,
            request.user_id,
            request.idempotency_key,
            request.caller.api_key_id,
            expires_at,
            isinstance(request, LeaseRequest),
        )
    )
    changes.reservation_parts.extend(
        ReservationPartRow(account.id, number, plan.sequence, executions)
        for plan, executions in shares
    )
    return number


def take(usable: list[PlanBalance], executions: int) -> list[Share]:
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


def shares_of(account: AccountState, parts: list[Part]) -> list[Share]:
    shares: list[Share] = []
    for part in parts:
        plan = account.plan(part.plan_sequence)
        assert plan is not None
        shares.append((plan, part.executions))
    return shares


def free(account: AccountState, parts: list[Part]) -> None:
    """Make the executions that a reservation holds available again."""
    for plan, executions in shares_of(account, parts):
        plan.release(executions)


def in_queue_order(account: AccountState, parts: list[Part]) -> list[Part]:
    """In the order in which plans are used; parts are stored by plan sequence."""
    plans = {plan.sequence: plan for plan in account.plans}
    return sorted(parts, key=lambda part: queue_order(plans[part.plan_sequence]))


def first_of(parts: list[Part], executions: int) -> list[Part]:
    """The first so many executions of the parts, which have enough."""
    taken: list[Part] = []
    for part in parts:
        share = min(part.executions, executions)
        if share:
            taken.append(Part(part.plan_sequence, share))
            executions -= share
    assert executions == 0
    return taken
