"""Leases: executions that a service decides about itself, settled exactly.

A lease holds executions as a reservation does. Its service reports how many it has decided, by
workflow, user and day; what is new of each line becomes one execution event. Totals only grow, so
reports may be repeated and come in any order.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from billing_app.billing import ids
from billing_app.billing.errors import (
    BillingError,
    InvalidInputError,
    LeaseEndedError,
    LeaseExceededError,
    LeaseNotFoundError,
    LeaseTokenInvalidError,
)
from billing_app.billing.executions import lease_tokens
from billing_app.billing.executions.event_rows import Part
from billing_app.billing.executions.lease_answers import (
    CountedLine,
    LeaseAnswer,
    LeaseBrief,
    LeasePlan,
    LeaseSettlement,
    LeaseStatus,
    lease_id,
    status_of,
)
from billing_app.billing.executions.lease_state import LeaseRow, LeaseState, LineKey
from billing_app.billing.executions.requests import (
    Accepted,
    CheckRequest,
    Decision,
    LeaseRequest,
    Renewal,
    SettleLease,
)
from billing_app.billing.executions.reservations import (
    first_of,
    free,
    in_queue_order,
    reserve,
    shares_of,
    take,
)
from billing_app.billing.executions.state import (
    AccountState,
    Changes,
    EventFields,
    LedgerState,
    PlanBalance,
    ReservationState,
    Share,
    balance_of,
    event_row,
    remaining_of,
)
from billing_app.db.enums import EventKind, ReservationStatus

MAX_SECONDS: Final = 86_400
LAST_MOMENT: Final = timedelta(days=1) - timedelta(microseconds=1)

_encode: Final = msgspec.json.Encoder().encode


def takes_less(request: CheckRequest, usable: list[PlanBalance]) -> bool:
    """Whether a request for more than is left is a lease that takes what there is."""
    return isinstance(request, LeaseRequest) and remaining_of(usable) >= request.at_least


def open_lease(
    request: LeaseRequest, account: AccountState, usable: list[PlanBalance], changes: Changes
) -> bytes:
    """Hold executions until the settle window is over. The plans have at least one."""
    now = changes.now
    executions = min(request.executions, remaining_of(usable))
    expires_at = now + timedelta(seconds=request.seconds)
    settle_until = expires_at + timedelta(seconds=request.settle_seconds)
    shares = take(usable, executions)
    number = reserve(request, account, shares, settle_until, changes)
    changes.leases.opened.append(
        LeaseRow(account.id, number, request.secret, executions, expires_at)
    )
    plan = shares[-1][0]
    name = lease_id(account.id, number)
    brief = LeaseBrief(
        name,
        LeaseStatus.OPEN,
        executions,
        0,
        now,
        expires_at,
        settle_until,
    )
    return _encode(
        LeaseAnswer(
            brief,
            lease_tokens.sign(request.secret, name, executions, expires_at),
            LeasePlan(ids.encode(ids.PLAN, account.id, plan.sequence), plan.type, plan.name),
            ids.encode_account(account.id),
            *balance_of(account, now).members(),
        )
    )


def settle_lease(request: SettleLease, ledger: LedgerState, changes: Changes) -> Decision:
    """Count what is new, then renew or close. All of a report is counted or nothing."""
    account = ledger.accounts.get(request.account_id)
    lease = ledger.leases.get((request.account_id, request.number))
    if account is None or lease is None or not account.may_be_used_by(request.caller):
        return LeaseNotFoundError()
    if not lease_tokens.is_signed(lease.secret, lease_id(account.id, lease.number), request.token):
        return LeaseTokenInvalidError()
    totals = _totals(request)
    invalid = _invalid(lease, totals, changes.now)
    if invalid is not None:
        return invalid
    added = {
        key: total - lease.lines.get(key, 0)
        for key, total in totals.items()
        if total > lease.lines.get(key, 0)
    }
    refusal = _refusal(lease, sum(added.values()), changes)
    if refusal is not None:
        return refusal
    return Accepted(_settle(request, account, lease, added, changes))


def _totals(request: SettleLease) -> dict[LineKey, int]:
    totals: dict[LineKey, int] = {}
    for line in request.totals:
        key = LineKey(line.workflow, line.user_id, line.day)
        totals[key] = max(line.executions, totals.get(key, 0))
    return totals


def _invalid(
    lease: LeaseState, totals: dict[LineKey, int], now: datetime
) -> InvalidInputError | None:
    first, last = lease.opened_at.date(), min(lease.expires_at, now).date()
    for key in totals:
        if not first <= key.day <= last:
            detail = f"The lease decided from {first} to {last}, not on {key.day}."
            return InvalidInputError(detail, field="day")
        if lease.workflow and key.workflow != lease.workflow:
            detail = f"The lease is for the workflow {lease.workflow}."
            return InvalidInputError(detail, field="workflow")
        if lease.user_id and key.user_id != lease.user_id:
            return InvalidInputError("The lease is for another user.", field="user_id")
    return None


def _refusal(lease: LeaseState, added: int, changes: Changes) -> BillingError | None:
    """Why nothing of the report is counted. That is a difference, which staff see."""
    if not added:
        return None
    beyond = added if not _is_held(lease, changes.now) else added - lease.rest
    if beyond <= 0:
        return None
    lease.unsettled = max(lease.unsettled, beyond)
    lease.unsettled_at = lease.unsettled_at or changes.now
    changes.leases.changed[lease.account_id, lease.number] = lease
    kind = LeaseExceededError if _is_held(lease, changes.now) else LeaseEndedError
    return kind(
        f"{lease.settled + added:,} executions were reported in all: {lease.settled:,} are counted,"
        f" {lease.rest if kind is LeaseExceededError else 0:,} more are held.",
        executions=lease.executions,
        executions_settled=lease.settled,
        executions_reported=lease.settled + added,
    )


def _is_held(lease: LeaseState, now: datetime) -> bool:
    return lease.status == ReservationStatus.HELD and now < lease.settle_until


def _settle(
    request: SettleLease,
    account: AccountState,
    lease: LeaseState,
    added: dict[LineKey, int],
    changes: Changes,
) -> bytes:
    changes.leases.changed[lease.account_id, lease.number] = lease
    lines = [
        _count(request, account, lease, key, executions, changes)
        for key, executions in sorted(added.items())
    ]
    renewed = released = 0
    denied_because = None
    if request.sequence >= lease.sequence:
        lease.sequence = request.sequence
        if request.closes:
            released = _close(account, lease, lines, changes)
        elif request.renewal is not None:
            renewed, denied_because = _renew(request, request.renewal, account, lease, changes)
    name = lease_id(account.id, lease.number)
    return _encode(
        LeaseSettlement(
            brief_of(lease, changes.now),
            lease_tokens.sign(lease.secret, name, lease.executions, lease.expires_at),
            sum(added.values()),
            renewed,
            released,
            denied_because,
            lines,
            ids.encode_account(account.id),
            *balance_of(account, changes.now).members(),
        )
    )


def _count(
    request: SettleLease,
    account: AccountState,
    lease: LeaseState,
    key: LineKey,
    executions: int,
    changes: Changes,
) -> CountedLine:
    """One execution event, on the line's day."""
    now = changes.now
    parts = first_of(in_queue_order(account, lease.parts), executions)
    shares = shares_of(account, parts)
    for plan, used in shares:
        plan.release(used)
        plan.use(used, now)
    _drop(lease, parts, changes)
    fields = EventFields(
        kind=EventKind.COMMIT,
        workflow=key.workflow,
        user_id=key.user_id,
        idempotency_key=lease.idempotency_key,
        api_key_id=request.caller.api_key_id,
        refers_to=lease.number,
    )
    left = balance_of(account, now).left
    if key.day == now.astimezone(UTC).date():
        number = changes.add_event(account, shares, fields, left)
    else:
        end_of_day = datetime(key.day.year, key.day.month, key.day.day, tzinfo=UTC) + LAST_MOMENT
        occurred_at = min(end_of_day, lease.expires_at)
        number = _add_past_event(account, shares, fields, left, occurred_at, changes)
    changes.leases.count(lease, key, lease.lines.get(key, 0) + executions)
    lease.settled += executions
    event_id = ids.encode(ids.EVENT, account.id, number)
    return CountedLine(event_id, key.workflow or None, key.user_id or None, key.day, executions)


def _add_past_event(
    account: AccountState,
    shares: list[Share],
    fields: EventFields,
    left: int,
    occurred_at: datetime,
    changes: Changes,
) -> int:
    """It is recorded now, and counts on the day on which it happened."""
    number = account.next_number(max(changes.now_microseconds, (fields.refers_to or 0) + 1))
    day = occurred_at.date()
    for plan, executions in shares:
        event = event_row(account, number, plan, executions, fields, left)
        changes.leases.past_events.append((event, occurred_at))
        key = LineKey(fields.workflow, fields.user_id, day)
        changes.leases.past_used[account.id, key] += executions
        if plan.is_overage:
            changes.leases.past_overage[account.id, plan.sequence, day] += executions
    return number


def _drop(lease: LeaseState, used: list[Part], changes: Changes) -> None:
    by_plan = {part.plan_sequence: part.executions for part in used}
    for part in lease.parts:
        if part.plan_sequence in by_plan:
            part.executions -= by_plan[part.plan_sequence]
            changes.leases.hold(lease, part.plan_sequence, part.executions)
    lease.parts = [part for part in lease.parts if part.executions]


def _renew(
    request: SettleLease,
    renewal: Renewal,
    account: AccountState,
    lease: LeaseState,
    changes: Changes,
) -> tuple[int, str | None]:
    """Executions added, and why not all. What it held already stays, whatever is left."""
    now = changes.now
    if now >= lease.expires_at or not _is_held(lease, now):
        return 0, "lease_expired"
    usable = account.usable(now)
    if not usable:
        return 0, "no_usable_plan"
    longest = lease.opened_at + timedelta(seconds=MAX_SECONDS)
    wanted = min(now + timedelta(seconds=renewal.seconds), longest)
    lease.expires_at = max(lease.expires_at, wanted)
    lease.settle_until = lease.expires_at + timedelta(seconds=request.settle_seconds)
    missing = max(0, renewal.executions - lease.rest)
    executions = min(missing, remaining_of(usable))
    for plan, taken in take(usable, executions):
        plan.hold(taken, now)
        part = next((each for each in lease.parts if each.plan_sequence == plan.sequence), None)
        if part is None:
            part = Part(plan.sequence, 0)
            lease.parts.append(part)
        part.executions += taken
        changes.leases.hold(lease, plan.sequence, part.executions)
    lease.executions += executions
    return executions, "insufficient_executions" if executions < missing else None


def _close(
    account: AccountState, lease: LeaseState, lines: list[CountedLine], changes: Changes
) -> int:
    """Give the rest back; how many executions. A lease that has ended stays as it is."""
    if not _is_held(lease, changes.now):
        return 0
    free(account, lease.parts)
    last = _last_event(lines)
    reservation = ReservationState(
        lease.account_id,
        lease.number,
        lease.status,
        lease.executions,
        lease.settle_until,
        lease.workflow,
        lease.user_id,
        lease.idempotency_key,
        is_lease=True,
        parts=lease.parts,
    )
    status = ReservationStatus.RELEASED if last is None else ReservationStatus.COMMITTED
    changes.settle(reservation, status, at=changes.now, event_number=last)
    lease.status = status
    return lease.rest


def _last_event(lines: list[CountedLine]) -> int | None:
    pair = ids.decode(ids.EVENT, lines[-1].event_id) if lines else None
    return None if pair is None else pair[1]


def brief_of(lease: LeaseState, now: datetime) -> LeaseBrief:
    return LeaseBrief(
        lease_id(lease.account_id, lease.number),
        status_of(
            lease.status, expires_at=lease.expires_at, settle_until=lease.settle_until, now=now
        ),
        lease.executions,
        lease.settled,
        lease.opened_at,
        lease.expires_at,
        lease.settle_until,
    )
