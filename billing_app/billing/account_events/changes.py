"""What a change of an account is to others: the events between two records of it.

A use case that changes an account wraps its change in `telling`, within its transaction and after
it has locked the account. What executions change is told by the hot path (outbox.py).
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.account_events.account_record import (
    NEWS_DAYS,
    AccountRecord,
    InvoiceRecord,
    PlanRecord,
    SubscriptionRecord,
    read_record,
)
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import (
    NewEvent,
    append,
    plan_ended_key,
    plan_started_key,
)
from billing_app.billing.executions.state import NEVER
from billing_app.db.enums import EndReason, InvoiceStatus

# What `subscription.updated` calls what changed.
PARTS: Final = {
    "offer_version_id": "offer",
    "next_offer_version_id": "next_offer",
    "quantity": "quantity",
    "period_end": "period",
    "status": "status",
}


@asynccontextmanager
async def telling(session: AsyncSession, account_id: int, now: datetime) -> AsyncGenerator[None]:
    """Append the events of what the block changes; nothing when it raises."""
    before = await read_record(session, account_id, now)
    yield
    after = await read_record(session, account_id, now)
    for event in events_between(account_id, before, after, now):
        await append(session, account_id, event, now)


def events_between(
    account_id: int, before: AccountRecord, after: AccountRecord, now: datetime
) -> list[NewEvent]:
    """In the order in which they are told; the state's own change last."""
    events = [
        *_plans(account_id, before, after, now),
        *_subscriptions(account_id, before, after),
        *_invoices(before, after),
    ]
    changed = _changed(before, after)
    if after.closed_at is not None and before.closed_at is None:
        events.append(NewEvent(EventType.ACCOUNT_CLOSED, {"closed_at": after.closed_at}))
    if changed:
        events.append(NewEvent(EventType.ACCOUNT_STATE_CHANGED, {"changed": changed}))
    return events


def events_of_time(
    account_id: int, record: AccountRecord, *, since: datetime, now: datetime
) -> list[NewEvent]:
    """What plans began or ended because time passed between the two. Each has a key."""
    events: list[NewEvent] = []
    for plan in record.plans.values():
        ended_at, because = _ending(plan, now)
        if ended_at is not None and since < ended_at <= now:
            events.append(_ended(account_id, plan, ended_at, because))
    first = _first_in_line(record, now)
    if first is not None and first != _first_in_line(record, since):
        events.append(_started(account_id, record.plans[first]))
    if events:
        key = f"{EventType.ACCOUNT_STATE_CHANGED}:{events[-1].dedup_key}"
        data = {"changed": ["plans"]}
        events.append(NewEvent(EventType.ACCOUNT_STATE_CHANGED, data, key))
    return events


def _changed(before: AccountRecord, after: AccountRecord) -> list[str]:
    parts = {
        "plans": before.plans != after.plans,
        "subscription": _live(before) != _live(after),
        "limit": before.limit != after.limit,
        "blocked": before.blocked_at != after.blocked_at,
        "closed": before.closed_at != after.closed_at,
    }
    return [name for name, is_changed in parts.items() if is_changed]


def _live(record: AccountRecord) -> list[SubscriptionRecord]:
    return [each for each in record.subscriptions.values() if each.is_live]


def _plans(
    account_id: int, before: AccountRecord, after: AccountRecord, now: datetime
) -> Iterator[NewEvent]:
    for sequence, plan in after.plans.items():
        old = before.plans.get(sequence)
        ended_at, because = _ending(plan, now)
        was_open = old is not None and old.ended_at is None
        if was_open and ended_at is not None and now - ended_at < NEWS_DAYS:
            yield _ended(account_id, plan, ended_at, because)
    first = _first_in_line(after, now)
    if first is not None and _first_in_line(before, now) != first:
        yield _started(account_id, after.plans[first])


def _ended(account_id: int, plan: PlanRecord, ended_at: datetime, because: str | None) -> NewEvent:
    data = _plan(account_id, plan) | {"ended_at": ended_at, "ended_because": because}
    return NewEvent(EventType.PLAN_ENDED, data, plan_ended_key(plan.sequence, ended_at))


def _started(account_id: int, plan: PlanRecord) -> NewEvent:
    data = _plan(account_id, plan)
    return NewEvent(EventType.PLAN_STARTED, data, plan_started_key(plan.sequence))


def _ending(plan: PlanRecord, now: datetime) -> tuple[datetime | None, str | None]:
    """Also when no decision has noticed it yet."""
    if plan.ended_at is not None:
        return plan.ended_at, plan.ended_because
    if plan.ends_at is not None and plan.ends_at <= now:
        return plan.ends_at, EndReason.PERIOD_ENDED
    return None, None


def _first_in_line(record: AccountRecord, now: datetime) -> int | None:
    """The plan that executions are taken of: by the rule of executions/state.py."""
    usable = [plan for plan in record.plans.values() if plan.is_usable(now)]
    first = min(usable, key=_queue_order, default=None)
    return first.sequence if first else None


def _queue_order(plan: PlanRecord) -> tuple[int, datetime, int]:
    return plan.priority, plan.ends_at or NEVER, plan.sequence


def _plan(account_id: int, plan: PlanRecord) -> dict[str, Any]:
    plan_id = ids.encode(ids.PLAN, account_id, plan.sequence)
    return {"plan": {"id": plan_id, "type": plan.type, "name": plan.name, "source": plan.source}}


def _subscriptions(
    account_id: int, before: AccountRecord, after: AccountRecord
) -> Iterator[NewEvent]:
    for provider_id, row in after.subscriptions.items():
        old = before.subscriptions.get(provider_id)
        types = list(_subscription_types(old, row))
        subscription_id = ids.encode("sub_", account_id, row.number)
        members = {"id": subscription_id, "status": row.status, "period_end": row.period_end}
        for event_type in types:
            data: dict[str, Any] = {"subscription": members}
            if event_type is EventType.SUBSCRIPTION_UPDATED and old is not None:
                data["changed"] = _changed_parts(old, row)
            yield NewEvent(event_type, data)


def _changed_parts(old: SubscriptionRecord, row: SubscriptionRecord) -> list[str]:
    return [part for name, part in PARTS.items() if getattr(old, name) != getattr(row, name)]


def _subscription_types(
    old: SubscriptionRecord | None, row: SubscriptionRecord
) -> Iterator[EventType]:
    if old is None or not old.is_live:
        if row.is_live:
            yield EventType.SUBSCRIPTION_CREATED
        return
    if not row.is_live:
        yield EventType.SUBSCRIPTION_ENDED
        return
    told = old
    if row.cancel_at_period_end != old.cancel_at_period_end:
        is_cancelled = row.cancel_at_period_end
        yield (EventType.SUBSCRIPTION_CANCELLED if is_cancelled else EventType.SUBSCRIPTION_RESUMED)
        told = told._replace(cancel_at_period_end=row.cancel_at_period_end, cancel_at=row.cancel_at)
    if (row.past_due_since is None) != (old.past_due_since is None):
        is_past_due = row.past_due_since is not None
        yield (EventType.SUBSCRIPTION_PAST_DUE if is_past_due else EventType.SUBSCRIPTION_RECOVERED)
        told = told._replace(past_due_since=row.past_due_since, status=row.status)
    if told != row:
        yield EventType.SUBSCRIPTION_UPDATED


def _invoices(before: AccountRecord, after: AccountRecord) -> Iterator[NewEvent]:
    for provider_id, row in after.invoices.items():
        old = before.invoices.get(provider_id)
        was_paid = old is not None and old.status == InvoiceStatus.PAID
        if row.status == InvoiceStatus.PAID and not was_paid:
            yield invoice_event(EventType.INVOICE_PAID, row, f"invoice.paid:{provider_id}")


def invoice_event(event_type: EventType, row: InvoiceRecord, key: str) -> NewEvent:
    """Amounts are in minor units."""
    members = {
        "number": row.number,
        "status": row.status,
        "currency": row.currency,
        "amount_due_minor": row.amount_due_minor,
        "amount_paid_minor": row.amount_paid_minor,
        "issued_at": row.issued_at,
    }
    return NewEvent(event_type, {"invoice": members}, key)
