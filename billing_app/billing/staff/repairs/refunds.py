"""Giving executions back: of one event, or of a range of a workflow that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ConflictError,
    EventNotFoundError,
    InvalidInputError,
    RefundExceedsError,
)
from billing_app.billing.executions.requests import Adjust, Caller, Decision, Refund
from billing_app.billing.executions.service import Executions, Ledger
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.billing.executions.statements import REFUNDED
from billing_app.billing.staff.access.permissions import Action, require, require_within_limit
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.grants import require_not_taken_back
from billing_app.billing.staff.repairs.ledger_repairs import answer_of, event_number, repair_ledger
from billing_app.billing.staff.repairs.repairs import (
    RepairRequest,
    RepairResult,
    account_number,
    check_executions,
    moment,
)
from billing_app.db.engine import Database
from billing_app.db.tables import Account, AuditEntry

MAX_EVENTS: Final = 1_000
STAFF: Final = Caller(api_key_id=None, organization_id=None)

FOUND: Final = f"""
SELECT e.number, sum(e.executions)::bigint, sum(e.executions - e.refunded)::bigint
FROM (
    SELECT e.number, e.executions, {REFUNDED} AS refunded
    FROM execution_events AS e
    WHERE e.account_id = {{account}} AND e.number >= {{since}} AND e.number < {{until}}
      AND e.kind IN ('consume', 'commit') AND e.workflow = {{workflow}}
      AND (CAST({{user_id}} AS text) IS NULL OR e.user_id = CAST({{user_id}} AS text))
) AS e
GROUP BY e.number ORDER BY e.number
"""  # noqa: S608
FOUND_BY_NAME: Final = text(
    FOUND.format(
        account=":account", since=":since", until=":until", workflow=":workflow", user_id=":user_id"
    )
)
FOUND_BY_PLACE: Final = FOUND.format(
    account="$1", since="$2", until="$3", workflow="$4", user_id="$5"
)
REFUNDED_BY_EVENT: Final = text(f"""
SELECT e.number, sum({REFUNDED})::bigint FROM execution_events AS e
WHERE e.account_id = :account AND e.number = ANY(:numbers)
GROUP BY e.number HAVING sum({REFUNDED}) <> 0
""")  # noqa: S608
GIVEN_BACK: Final = """
SELECT r.number, r.plan_sequence, r.executions, r.refers_to, r.workflow, r.user_id
FROM execution_events AS r WHERE r.account_id = $1 AND r.number = ANY($2::bigint[])
ORDER BY r.number, r.plan_sequence
"""


class TooManyEventsError(InvalidInputError):
    code = "too_many_events"
    title = "Too many events for one refund"


class NothingToRefundError(ConflictError):
    code = "nothing_to_refund"
    title = "There is nothing to refund"


@dataclass(frozen=True, slots=True)
class EventRange:
    """Events of a workflow ("" for those without one), of a user when named, from `since` until
    before `until`."""

    workflow: str
    since: datetime
    until: datetime
    user_id: str | None = None

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise InvalidInputError("from must be before to.", field="from")
        if not self.since >= EPOCH or self.until.year > 9000:
            raise InvalidInputError("The time is out of range.", field="from")

    def values(self) -> tuple[int, int, str, str | None]:
        """Since and until as event numbers, which are microseconds since 1970."""
        since, until = ((at - EPOCH) // MICROSECOND for at in (self.since, self.until))
        return since, until, self.workflow, self.user_id


@dataclass(frozen=True, slots=True)
class RangeView:
    """What a range holds: `events` with `executions` can be given back; those that were refunded
    whole are skipped. `executions_refunded_partly` are of the events that are not."""

    events: int
    executions: int
    events_refunded: int
    executions_refunded: int
    executions_refunded_partly: int
    max_events: int = MAX_EVENTS


async def refund_event(
    executions: Executions,
    actor: Actor,
    event_id: str,
    *,
    reason: str,
    now: datetime,
    count: int | None = None,
    key: str | None = None,
) -> EntryView:
    """Give back `count` executions of an event, or all that is left of it.

    Raises ForbiddenError, OverLimitError, InvalidInputError, EventNotFoundError,
    RefundExceedsError.
    """
    staff = require(actor, Action.REFUND)
    if count is not None:
        check_executions(count)
    pair = ids.decode(ids.EVENT, event_id)
    if pair is None:
        raise EventNotFoundError
    account_id, number = pair

    async def correct(ledger: Ledger) -> RepairResult:
        refund = _refund(account_id, number, count, reason)
        answer = answer_of((await ledger.decide([refund]))[0])
        require_within_limit(staff, answer["executions"])
        after = {
            "events": 1,
            "executions": answer["executions"],
            "refunds": [event_number(answer["event_id"])],
        }
        return RepairResult(event_id, after=after)

    order = RepairRequest(staff, Action.REFUND, account_id, reason, key, (event_id, count))
    try:
        return await repair_ledger(executions, order, correct, now)
    except AccountNotFoundError:
        raise EventNotFoundError from None


async def preview_range(
    database: Database, actor: Actor, account_id: str, found: EventRange
) -> RangeView:
    """How much a refund of this range would give back. Raises ForbiddenError,
    AccountNotFoundError. Changes nothing."""
    require(actor, Action.REFUND)
    number = account_number(account_id)
    names = ("since", "until", "workflow", "user_id")
    values = {"account": number, **dict(zip(names, found.values(), strict=True))}
    async with database.reading() as session:
        if await session.get(Account, number) is None:
            raise AccountNotFoundError
        return _view(await _fetch(session, values))


async def refund_range(
    executions: Executions,
    actor: Actor,
    account_id: str,
    found: EventRange,
    *,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> EntryView:
    """Give back all that is left of the range's events, at most MAX_EVENTS.

    Raises ForbiddenError, OverLimitError, AccountNotFoundError, TooManyEventsError,
    NothingToRefundError.
    """
    staff = require(actor, Action.REFUND)
    number = account_number(account_id)

    async def correct(ledger: Ledger) -> RepairResult:
        rows = await ledger.connection.fetch(FOUND_BY_PLACE, number, *found.values())
        view = _view(rows)
        require_few_events(view)
        require_within_limit(staff, view.executions)
        requests = [_refund(number, row[0], None, reason) for row in rows if row[2] > 0]
        after = _given_back(await ledger.decide(requests))
        if not after["events"]:
            raise NothingToRefundError(events_refunded=view.events_refunded)
        after |= {
            "events_refunded": view.events_refunded,
            "events_left": view.events - after["events"],
            "executions_left": view.executions - after["executions"],
        }
        return RepairResult(found.workflow, after=after | _as_json(found))

    order = RepairRequest(staff, Action.REFUND, number, reason, key, tuple(_as_json(found).items()))
    return await repair_ledger(executions, order, correct, now)


async def read_refunded(
    database: Database, actor: Actor, account_id: str, numbers: Sequence[int]
) -> dict[int, int]:
    """Executions given back of the ledger's events with these numbers, as their receipts say it;
    those of which nothing was are left out. Raises ForbiddenError, AccountNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        connection = await session.connection()
        values = {"account": account.id, "numbers": list(numbers)}
        return {row[0]: row[1] for row in await connection.execute(REFUNDED_BY_EVENT, values)}


def require_few_events(view: RangeView) -> None:
    """Raises TooManyEventsError."""
    if view.events > MAX_EVENTS:
        raise TooManyEventsError(
            f"{view.events:,} events are in this range; refund at most {MAX_EVENTS:,} at once.",
            events=view.events,
            max_events=MAX_EVENTS,
        )


async def take_refunds_back(ledger: Ledger, account_id: int, entry: AuditEntry) -> RepairResult:
    """Use again, from the same plans, what a refund gave back, so that it can be refunded once
    more. Raises AdjustmentExceedsError when it was used meanwhile, GrantTakenBackError."""
    rows = await ledger.connection.fetch(GIVEN_BACK, account_id, entry.after["refunds"])
    plans = sorted({row["plan_sequence"] for row in rows})
    await require_not_taken_back(ledger, account_id, plans)
    requests: dict[int, Adjust] = {}
    for row in rows:
        request = requests.setdefault(
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
        request.parts.append((row["plan_sequence"], -row["executions"]))
    decisions = await ledger.decide(list(requests.values()))
    taken = sum(answer_of(each)["executions"] for each in decisions)
    return RepairResult(
        entry.subject, {"executions": entry.after["executions"]}, {"executions": -taken}
    )


def _refund(account_id: int, number: int, count: int | None, reason: str) -> Refund:
    """With a key of its own: whether a request is repeated is known by the repair's."""
    key = ids.new_id("staff-")
    return Refund(account_id, number, count, reason.strip(), key, STAFF)


def _given_back(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Events of which an adjustment left nothing to give back are skipped."""
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
    )


def _as_json(found: EventRange) -> dict[str, Any]:
    return {
        "workflow": found.workflow,
        "user_id": found.user_id,
        "from": moment(found.since),
        "to": moment(found.until),
    }


async def _fetch(session: AsyncSession, values: dict[str, Any]) -> Sequence[Any]:
    connection = await session.connection()
    return (await connection.execute(FOUND_BY_NAME, values)).all()
