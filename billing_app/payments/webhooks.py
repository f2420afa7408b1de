"""Stripe's webhook events: one table says what to fetch again from Stripe for each type.

An event only tells that something changed. Its object is fetched again and applied, so the order
and the number of events do not matter (docs.stripe.com/webhooks). A type that is not in the
table is stored and ignored.
"""

from datetime import datetime
from enum import Enum, auto
from typing import Final, cast

import structlog
from sqlmodel import col, select

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.provider import (
    ProviderEvent,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
)
from billing_app.db.engine import Database
from billing_app.db.enums import WebhookState
from billing_app.db.tables import WebhookEvent
from billing_app.payments import translate

log = structlog.get_logger(__name__)


class Refetch(Enum):
    """CUSTOMER: everything the customer has. CHECKOUT: that too, and the checkout session.
    CHARGE: the charge, which names the customer that the event does not name."""

    CUSTOMER = auto()
    CHECKOUT = auto()
    CHARGE = auto()


REFETCH: Final[dict[str, Refetch]] = {
    "checkout.session.completed": Refetch.CHECKOUT,
    "checkout.session.expired": Refetch.CHECKOUT,
    "checkout.session.async_payment_succeeded": Refetch.CHECKOUT,
    "checkout.session.async_payment_failed": Refetch.CHECKOUT,
    "customer.subscription.created": Refetch.CUSTOMER,
    "customer.subscription.updated": Refetch.CUSTOMER,
    "customer.subscription.deleted": Refetch.CUSTOMER,
    "customer.subscription.paused": Refetch.CUSTOMER,
    "customer.subscription.resumed": Refetch.CUSTOMER,
    "customer.subscription.trial_will_end": Refetch.CUSTOMER,
    "customer.subscription.pending_update_applied": Refetch.CUSTOMER,
    "customer.subscription.pending_update_expired": Refetch.CUSTOMER,
    "invoice.created": Refetch.CUSTOMER,
    "invoice.finalized": Refetch.CUSTOMER,
    "invoice.paid": Refetch.CUSTOMER,
    "invoice.payment_succeeded": Refetch.CUSTOMER,
    "invoice.payment_failed": Refetch.CUSTOMER,
    "invoice.payment_action_required": Refetch.CUSTOMER,
    "invoice.updated": Refetch.CUSTOMER,
    "invoice.voided": Refetch.CUSTOMER,
    "invoice.marked_uncollectible": Refetch.CUSTOMER,
    # Fully refunded, a payment ends its plan.
    "charge.refunded": Refetch.CUSTOMER,
    # A failed refund makes the money ours again.
    "refund.updated": Refetch.CHARGE,
    "refund.failed": Refetch.CHARGE,
    "charge.refund.updated": Refetch.CHARGE,
    # A dispute suspends the plan while it is open, and ends it when it is lost.
    "charge.dispute.created": Refetch.CHARGE,
    "charge.dispute.updated": Refetch.CHARGE,
    "charge.dispute.closed": Refetch.CHARGE,
    "charge.dispute.funds_withdrawn": Refetch.CHARGE,
    "charge.dispute.funds_reinstated": Refetch.CHARGE,
    # A new card may be what an overdue invoice was waiting for.
    "payment_method.attached": Refetch.CUSTOMER,
    "payment_method.detached": Refetch.CUSTOMER,
    "payment_method.updated": Refetch.CUSTOMER,
    "payment_method.automatically_updated": Refetch.CUSTOMER,
}


async def process_event(
    database: Database, syncing: CustomerSync, event_id: str, now: datetime
) -> None:
    """Apply a stored event and record its state. A failure is recorded and raised again."""
    async with database.transaction() as session:
        row = await session.get(WebhookEvent, event_id, with_for_update=True)
        if row is None or row.state == WebhookState.PROCESSED:
            return
        row.attempts += 1
        session.add(row)
    event = translate.provider_event_of(row.payload)
    customer_id: str | None = None
    try:
        customer_id = await _refetch(syncing, event, now)
    except NotAtProviderError:
        log.warning("webhook_object_gone", event_type=event.type, object_id=event.object_id)
    except Exception as error:
        problem = error.code if isinstance(error, BillingError) else type(error).__name__
        await set_state(database, event_id, WebhookState.FAILED, now, problem=problem)
        raise
    await set_state(database, event_id, WebhookState.PROCESSED, now, customer_id=customer_id)


async def process_missed(
    database: Database, syncing: CustomerSync, events: list[ProviderEvent], now: datetime
) -> None:
    """Apply stored events. An object that several of them name is fetched once for all: what is
    fetched is newer than each of them."""
    known = [event for event in events if event.type in REFETCH]
    last_ids = set({_object_of(event): event.id for event in known}.values())
    for event in known:
        if event.id in last_ids:
            await process_event(database, syncing, event.id, now)
    for event in known:
        if event.id not in last_ids:
            await set_state(database, event.id, WebhookState.PROCESSED, now)


def _object_of(event: ProviderEvent) -> tuple[Refetch | None, str]:
    """What an event makes us fetch, and its id; "" when the event does not name it."""
    refetch = REFETCH.get(event.type)
    if refetch is Refetch.CHECKOUT:
        return refetch, event.object_id
    if refetch is Refetch.CHARGE:
        data = cast("dict[str, dict[str, object]]", event.payload["data"])
        return refetch, str(data["object"].get("charge") or "")
    return refetch, event.customer_id


async def _refetch(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> str | None:
    """Returns the customer when the event itself does not name one."""
    match _object_of(event):
        case (None, _) | (_, ""):
            return None
        case (Refetch.CHARGE, charge_id):
            return await syncing.charge(charge_id, now)
        case (Refetch.CHECKOUT, checkout_id):
            await syncing.checkout(checkout_id, now)
        case (Refetch.CUSTOMER, customer_id):
            await syncing.customer(customer_id, now)
    return None


async def set_state(
    database: Database,
    event_id: str,
    state: WebhookState,
    now: datetime,
    *,
    problem: str | None = None,
    customer_id: str | None = None,
) -> None:
    """`customer_id`: the customer, where the event itself does not name one."""
    async with database.transaction() as session:
        row = await session.get(WebhookEvent, event_id, with_for_update=True)
        assert row is not None
        row.state = state
        row.problem = problem
        row.customer_id = customer_id or row.customer_id
        row.finished_at = now if state is not WebhookState.FAILED else None
        session.add(row)


async def waiting_events(database: Database, before: datetime) -> list[WebhookEvent]:
    """Stored before that time and never processed; oldest first, at most 500."""
    query = (
        select(WebhookEvent)
        .where(WebhookEvent.state == WebhookState.RECEIVED)
        .where(WebhookEvent.received_at < before)
        .order_by(col(WebhookEvent.received_at))
        .limit(500)
    )
    async with database.reading() as session:
        return list((await session.exec(query)).all())
