"""Giving executions back: of one event, or of all events of a workflow in a range."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ConflictError,
    EventRemovedError,
    InvalidInputError,
    RefundExceedsError,
)
from billing_app.billing.executions.kept_events import kept_numbers, require_kept
from billing_app.billing.executions.receipts import read_receipt
from billing_app.billing.executions.requests import Adjust, Caller, Decision, Refund
from billing_app.billing.executions.service import Ledger
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.billing.executions.statements import ROUTED
from billing_app.billing.quantities import counted
from billing_app.billing.staff.access.permissions import Action, require, require_within_limit
from billing_app.billing.staff.audit.audit_writing import one_line
from billing_app.billing.staff.repairs.drivers import InLedger, answer_of, event_number
from billing_app.billing.staff.repairs.fields import (
    Control,
    Input,
)
from billing_app.billing.staff.repairs.grants import require_not_taken_back
from billing_app.billing.staff.repairs.plan_rows import balance_of
from billing_app.billing.staff.repairs.refund_forms import (
    MAX_EVENTS,
    Range,
    RangePreview,
    RangeView,
    RefundOne,
    RefundPreview,
)
from billing_app.billing.staff.repairs.refund_statements import (
    FOUND_BY_NAME,
    FOUND_BY_POSITION,
    GIVEN_BACK,
    GIVEN_BACK_USABLE,
    LEFT_BY_PLAN,
    REFUNDED_BY_EVENT,
)
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    EVENT,
    Figures,
    PreviewRoute,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    account_of,
)
from billing_app.db.engine import Database
from billing_app.db.tables import Account, AuditEntry

STAFF: Final = Caller(api_key_id=None, organization_id=None)


class TooManyEventsError(InvalidInputError):
    code = "too_many_events"
    title = "Too many events for one refund"


class NothingToRefundError(ConflictError):
    code = "nothing_to_refund"
    title = "Nothing to refund"


async def preview_event(
    services: RepairServices, request: RepairRequest[RefundOne]
) -> RefundPreview:
    """Raises EventNotFoundError, OverLimitError, ConflictError when less is left to give back."""
    receipt = await read_receipt(services.database, request.staff, request.target_id)
    left = receipt.executions - receipt.executions_refunded
    count = left if request.form.executions is None else request.form.executions
    if not 0 < count <= left:
        raise ConflictError(
            f"Only {counted(left, 'execution')} of this event can be refunded."
            if left
            else "This event is already fully refunded."
        )
    require_within_limit(request.staff, count)
    return RefundPreview(
        receipt.workflow,
        receipt.occurred_at,
        receipt.executions,
        receipt.executions_refunded,
        count,
        await _usable_of_event(services, request, count),
    )


async def _usable_of_event(
    services: RepairServices, request: RepairRequest[RefundOne], count: int
) -> int:
    """How many of `count` executions go back to plans that have not ended."""
    values = {"account": request.account_id, "number": request.number, "now": request.now}
    usable = 0
    async with services.database.reading() as session:
        for left, is_usable in await (await session.connection()).execute(LEFT_BY_PLAN, values):
            given_back = min(left, count)
            count -= given_back
            usable += given_back if is_usable else 0
    return usable


async def refund_event(ledger: Ledger, request: RepairRequest[RefundOne]) -> RepairResult:
    """Raises OverLimitError, EventNotFoundError, RefundExceedsError."""
    refund = _refund(request, request.number, request.form.executions)
    answer = answer_of((await ledger.decide([refund]))[0])
    require_within_limit(request.staff, answer["executions"])
    after: Figures = {
        "events": 1,
        "executions": answer["executions"],
        "refunds": [event_number(answer["event_id"])],
    }
    after |= await _usable(ledger, request, after["refunds"])
    return RepairResult(request.target_id, after=after)


async def _usable(ledger: Ledger, request: RepairRequest[Any], refunds: list[int]) -> Figures:
    rows = await ledger.connection.fetch(
        GIVEN_BACK_USABLE, request.account_id, refunds, request.now
    )
    return {"executions_usable": rows[0][0]}


async def read_range(services: RepairServices, request: RepairRequest[Range]) -> RangeView:
    """How much a refund of this range would give back. Raises AccountNotFoundError,
    EventRemovedError."""
    names = ("since", "until", "workflow", "user_id")
    values = dict(zip(names, request.form.values(), strict=True))
    async with services.database.reading() as session:
        if await session.get(Account, request.account_id) is None:
            raise AccountNotFoundError
        await require_kept(session, request.account_id, request.form.since)
        connection = await session.connection()
        values |= {"account": request.account_id, "now": request.now}
        return _view((await connection.execute(FOUND_BY_NAME, values)).all())


async def preview_range(services: RepairServices, request: RepairRequest[Range]) -> RangePreview:
    """Raises AccountNotFoundError, and what `refund_range` raises."""
    view = await read_range(services, request)
    if not view.events:
        were = "was" if view.events_refunded == 1 else "were"
        raise NothingToRefundError(
            f"{counted(view.events_refunded, 'event')} in this range {were} already refunded."
            if view.events_refunded
            else "This workflow has no events in this range.",
            events_refunded=view.events_refunded,
        )
    _require_allowed(request, view)
    balance = await balance_of(services, request)
    return RangePreview(view, balance.executions_remaining)


async def refund_range(ledger: Ledger, request: RepairRequest[Range]) -> RepairResult:
    """Give back all that is left of the range's events, at most MAX_EVENTS.

    Raises OverLimitError, TooManyEventsError, NothingToRefundError, EventRemovedError.
    """
    form = request.form
    first = await _kept_from(ledger, request.account_id)
    if first is not None and form.since < first:
        raise EventRemovedError(kept_from=first)
    rows = await ledger.connection.fetch(
        FOUND_BY_POSITION, request.account_id, *form.values(), request.now
    )
    view = _view(rows)
    _require_allowed(request, view)
    refunds = [_refund(request, row[0], None) for row in rows if row[2] > 0]
    after = _given_back(await ledger.decide(refunds))
    if not after["events"]:
        raise NothingToRefundError(events_refunded=view.events_refunded)
    after |= await _usable(ledger, request, after["refunds"])
    after |= {
        "events_refunded": view.events_refunded,
        "events_left": view.events - after["events"],
        "executions_left": view.executions - after["executions"],
    }
    return RepairResult(form.workflow, after=after | form.as_json())


async def read_refunded(
    database: Database, actor: Actor, account_id: str, numbers: Sequence[int]
) -> dict[int, int]:
    """Executions given back of the ledger's events with these numbers; events of which none were
    are left out. Raises ForbiddenError, AccountNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        connection = await session.connection()
        values = {"account": account.id, "numbers": list(numbers)}
        return {row[0]: row[1] for row in await connection.execute(REFUNDED_BY_EVENT, values)}


async def undo(ledger: Ledger, request: RepairRequest[Any]) -> RepairResult:
    """Use again, from the same plans, what a refund gave back, so that it can be refunded once
    more. Raises AdjustmentExceedsError when it was used meanwhile, GrantTakenBackError,
    EventRemovedError."""
    entry, account_id = request.entry_undone(), request.account_id
    rows = await ledger.connection.fetch(GIVEN_BACK, account_id, entry.after["refunds"])
    if len({row["number"] for row in rows}) < len(entry.after["refunds"]):
        first = await _kept_from(ledger, account_id)
        assert first is not None
        raise EventRemovedError(kept_from=first)
    plans = sorted({row["plan_sequence"] for row in rows})
    await require_not_taken_back(ledger, account_id, plans)
    adjustments: dict[int, Adjust] = {}
    for row in rows:
        adjustment = adjustments.setdefault(
            row["number"],
            Adjust(
                account_id=account_id,
                parts=[],
                reason="Undone",
                workflow=row["workflow"],
                user_id=row["user_id"],
                refers_to=row["refers_to"],
            ),
        )
        adjustment.parts.append((row["plan_sequence"], -row["executions"]))
    decisions = await ledger.decide(list(adjustments.values()))
    taken = sum(answer_of(each)["executions"] for each in decisions)
    return RepairResult(
        entry.subject, {"executions": entry.after["executions"]}, {"executions": -taken}
    )


async def _kept_from(ledger: Ledger, account_id: int) -> datetime | None:
    number = (await kept_numbers(ledger.connection, ROUTED, [account_id])).get(account_id)
    return None if number is None else EPOCH + number * MICROSECOND


def again_event(entry: AuditEntry) -> tuple[str, RefundOne] | None:
    return None if "from" in entry.after else (entry.subject, RefundOne(entry.after["executions"]))


def again_range(entry: AuditEntry) -> tuple[str, Range] | None:
    if "from" not in entry.after:
        return None
    since, until = (datetime.fromisoformat(entry.after[name]) for name in ("from", "to"))
    return account_of(entry), Range(
        entry.after["workflow"], since, until, entry.after.get("user_id")
    )


def wording(_: Figures, after: Figures) -> str:
    text = f"{counted(after['executions'], 'execution')} refunded"
    if after["events"] != 1:
        workflow = f" of {after['workflow']}" if after.get("workflow") else ""
        text += f" for {counted(after['events'], 'event')}{workflow}"
    return text + usable_again(after["executions"], after.get("executions_usable"))


def usable_again(executions: int, usable: int | None) -> str:
    """What of a refund can be used again, unless all of it can; None: it was not recorded."""
    if usable in (None, executions):
        return ""
    if not usable:
        return "; none can be used again: the plan has ended"
    return f"; {usable:,} can be used again, the rest is of plans that have ended"


def _require_allowed(request: RepairRequest[Range], view: RangeView) -> None:
    """Raises TooManyEventsError, OverLimitError."""
    if view.events > MAX_EVENTS:
        raise TooManyEventsError(
            f"This range has {view.events:,} events. Refund at most {MAX_EVENTS:,} at once.",
            events=view.events,
            max_events=MAX_EVENTS,
        )
    require_within_limit(request.staff, view.executions)


def _refund(request: RepairRequest[Any], number: int, count: int | None) -> Refund:
    """With a key of its own: the repair's key says whether a request is repeated."""
    key = ids.new_id("staff-")
    return Refund(request.account_id, number, count, one_line(request.reason), key, STAFF)


def _given_back(decisions: Sequence[Decision]) -> Figures:
    """Without the events of which an adjustment left nothing to give back."""
    answers = [answer_of(each) for each in decisions if not isinstance(each, RefundExceedsError)]
    return {
        "events": len(answers),
        "executions": sum(answer["executions"] for answer in answers),
        "refunds": [event_number(answer["event_id"]) for answer in answers],
    }


def _view(rows: Sequence[Any]) -> RangeView:
    left = [row[2] for row in rows if row[2] > 0]
    return RangeView(
        events=len(left),
        executions=sum(left),
        events_refunded=len(rows) - len(left),
        executions_refunded=sum(row[1] - row[2] for row in rows),
        executions_refunded_partly=sum(row[1] - row[2] for row in rows if row[2] > 0),
        executions_usable=sum(row[3] for row in rows if row[2] > 0),
    )


WORDED: Final = frozenset({"events", "executions", "executions_usable", "workflow"})
REFUND: Final = Repair(
    name="refund",
    action=Action.REFUND,
    target=EVENT,
    title="Refund an event",
    explanation="Returns an event's executions to the plan that was charged, all by default.",
    form=RefundOne,
    preview=preview_event,
    apply=InLedger(refund_event),
    undo=InLedger(undo),
    wording=wording,
    worded=WORDED,
    counts_executions=True,
    target_input=Input("Event", Control.TEXT, "Event ID from the ledger: evt_…"),
    again=again_event,
)
REFUND_RANGE: Final = Repair(
    name="refund_range",
    action=Action.REFUND,
    target=ACCOUNT,
    path="refunds",
    title="Refund a workflow",
    explanation="Refunds a workflow's events in a time range, skipping those already refunded.",
    form=Range,
    preview=preview_range,
    apply=InLedger(refund_range),
    undo=InLedger(undo),
    wording=wording,
    worded=WORDED,
    counts_executions=True,
    preview_route=PreviewRoute(
        "preview_refunds",
        "Preview",
        "How many events and executions this would refund.",
        read_range,
    ),
    again=again_range,
)
