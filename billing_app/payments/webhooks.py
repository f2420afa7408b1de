"""Stripe's events: checked, stored once, and applied by handlers that fetch the object anew.

Order and duplicates do not matter then (docs.stripe.com/webhooks). Types that no handler knows
are stored and left alone.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, cast

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.provider import NotAtProviderError, ProviderEvent
from billing_app.db.engine import Database
from billing_app.db.enums import WebhookState
from billing_app.db.tables import WebhookEvent
from billing_app.payments import translate

log = structlog.get_logger(__name__)

# Returns whose event it is when the event itself does not name its customer.
Handler = Callable[[CustomerSync, ProviderEvent, datetime], Awaitable[str | None]]
HANDLERS: Final[dict[str, Handler]] = {}


async def store_event(database: Database, event: ProviderEvent, now: datetime) -> bool:
    """Keep an event before it is answered; False when there is nothing to do for it: it was
    there, or no handler knows its type."""
    is_known = event.type in HANDLERS
    values = {
        "id": event.id,
        "type": event.type,
        "object_id": event.object_id,
        "customer_id": event.customer_id,
        "payload": event.payload,
        "state": WebhookState.RECEIVED if is_known else WebhookState.PROCESSED,
        "attempts": 0,
        "occurred_at": event.occurred_at,
        "received_at": now,
    }
    statement = insert(WebhookEvent).values(values).on_conflict_do_nothing()
    async with database.transaction() as session:
        connection = await session.connection()
        stored = await connection.execute(statement.returning(col(WebhookEvent.id)))
        is_new = stored.first() is not None
    return is_known and is_new


async def process_event(
    database: Database, syncing: CustomerSync, event_id: str, now: datetime
) -> None:
    """Apply a stored event and mark it. Passes on what a handler raises, after noting it."""
    async with database.transaction() as session:
        row = await session.get(WebhookEvent, event_id, with_for_update=True)
        if row is None or row.state == WebhookState.PROCESSED:
            return
        row.attempts += 1
        session.add(row)
    event = translate.provider_event_of(row.payload)
    handler = HANDLERS.get(event.type)
    customer_id: str | None = None
    try:
        if handler is not None:
            customer_id = await handler(syncing, event, now)
    except NotAtProviderError:
        log.warning("webhook_object_gone", event_type=event.type, object_id=event.object_id)
    except Exception as error:
        problem = error.code if isinstance(error, BillingError) else type(error).__name__
        await mark(database, event_id, WebhookState.FAILED, now, problem=problem)
        raise
    await mark(database, event_id, WebhookState.PROCESSED, now, customer_id=customer_id)


async def process_missed(
    database: Database, syncing: CustomerSync, events: list[ProviderEvent], now: datetime
) -> None:
    """Apply stored events of which many may be about the same: what they are about is fetched once
    for all of them, since what is fetched is newer than each."""
    known = [event for event in events if event.type in HANDLERS]
    last_of = {_subject(event): event.id for event in known}
    wanted = set(last_of.values())
    for event in known:
        if event.id in wanted:
            await process_event(database, syncing, event.id, now)
    for event in known:
        if event.id not in wanted:
            await mark(database, event.id, WebhookState.PROCESSED, now)


def _subject(event: ProviderEvent) -> tuple[str, str]:
    """What the handler of an event fetches."""
    handler = HANDLERS[event.type]
    if handler is on_checkout:
        return "checkout", event.object_id
    if handler in {on_dispute, on_refund_settled}:
        return "charge", _named_charge(event)
    return "customer", event.customer_id or event.object_id


async def mark(
    database: Database,
    event_id: str,
    state: WebhookState,
    now: datetime,
    *,
    problem: str | None = None,
    customer_id: str | None = None,
) -> None:
    """`customer_id`: whose event it turned out to be."""
    async with database.transaction() as session:
        row = await session.get(WebhookEvent, event_id, with_for_update=True)
        assert row is not None
        row.state = state
        row.problem = problem
        row.customer_id = customer_id or row.customer_id
        row.finished_at = now if state is not WebhookState.FAILED else None
        session.add(row)


async def waiting_events(database: Database, before: datetime) -> list[WebhookEvent]:
    """Stored before then and never tried; oldest first, at most 500."""
    query = (
        select(WebhookEvent)
        .where(WebhookEvent.state == WebhookState.RECEIVED)
        .where(WebhookEvent.received_at < before)
        .order_by(col(WebhookEvent.received_at))
        .limit(500)
    )
    async with database.reading() as session:
        return list((await session.exec(query)).all())


def _handles(*types: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(types, handler))
        return handler

    return register


@_handles(
    "checkout.session.completed",
    "checkout.session.expired",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
)
async def on_checkout(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> None:
    await syncing.checkout(event.object_id, now)


@_handles(
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
)
async def on_subscription(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> None:
    await syncing.customer(event.customer_id, now)


@_handles(
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.updated",
    "invoice.voided",
    "invoice.marked_uncollectible",
)
async def on_invoice(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> None:
    await syncing.customer(event.customer_id, now)


@_handles("charge.refunded")
async def on_refund(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> None:
    """A payment that was given back in full ends its plan."""
    await syncing.customer(event.customer_id, now)


@_handles("refund.updated", "refund.failed", "charge.refund.updated")
async def on_refund_settled(
    syncing: CustomerSync, event: ProviderEvent, now: datetime
) -> str | None:
    """A refund that the bank sent back after all: its money is ours again. It names its charge."""
    charge_id = _named_charge(event)
    return await syncing.charge(charge_id, now) if charge_id else None


@_handles(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
async def on_dispute(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> str | None:
    """A dispute names its charge alone. While it is open the plan is suspended; lost, it ends."""
    charge_id = _named_charge(event)
    return await syncing.charge(charge_id, now) if charge_id else None


def _named_charge(event: ProviderEvent) -> str:
    found = cast("dict[str, dict[str, object]]", event.payload["data"])["object"]
    return str(found.get("charge") or "")


@_handles(
    "payment_method.attached",
    "payment_method.detached",
    "payment_method.updated",
    "payment_method.automatically_updated",
)
async def on_payment_method(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> None:
    """Cards are not kept here; a new one may be what an overdue invoice was waiting for."""
    if event.customer_id:
        await syncing.customer(event.customer_id, now)
