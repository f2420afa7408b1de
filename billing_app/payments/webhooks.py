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
from billing_app.billing.subscriptions.customer_sync import ANYTHING, CustomerSync
from billing_app.billing.subscriptions.mirror import ProviderChange
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
from billing_app.payments.rate_budget import Priority, at_priority

log = structlog.get_logger(__name__)


class Refetch(Enum):
    """CUSTOMER: the customer's subscriptions, and the invoices that may still change. CHECKOUT:
    that too, and the checkout session. INVOICE: the invoice. PAYMENT: what was refunded or disputed
    of a payment, of which the event may name only the charge."""

    CUSTOMER = auto()
    CHECKOUT = auto()
    INVOICE = auto()
    PAYMENT = auto()


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
    "invoice.created": Refetch.INVOICE,
    "invoice.finalized": Refetch.INVOICE,
    "invoice.paid": Refetch.INVOICE,
    "invoice.payment_succeeded": Refetch.INVOICE,
    "invoice.payment_failed": Refetch.INVOICE,
    "invoice.payment_action_required": Refetch.INVOICE,
    "invoice.updated": Refetch.INVOICE,
    "invoice.voided": Refetch.INVOICE,
    "invoice.marked_uncollectible": Refetch.INVOICE,
    # Fully refunded, a payment ends its plan.
    "charge.refunded": Refetch.PAYMENT,
    # A failed refund makes the money ours again.
    "refund.updated": Refetch.PAYMENT,
    "refund.failed": Refetch.PAYMENT,
    "charge.refund.updated": Refetch.PAYMENT,
    # A dispute suspends the plan while it is open, and ends it when it is lost.
    "charge.dispute.created": Refetch.PAYMENT,
    "charge.dispute.updated": Refetch.PAYMENT,
    "charge.dispute.closed": Refetch.PAYMENT,
    "charge.dispute.funds_withdrawn": Refetch.PAYMENT,
    "charge.dispute.funds_reinstated": Refetch.PAYMENT,
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
        with at_priority(Priority.WEBHOOK):
            if row.replays:
                await _everything(syncing, event, now)
            # After a failure, what was read may have been acted on in part.
            is_first = row.attempts == 1 and not row.replays
            arrival_number = row.arrival_number if is_first else None
            customer_id = await _refetch(syncing, event, now, arrival_number)
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
    match refetch:
        case Refetch.CHECKOUT:
            return refetch, event.object_id
        case Refetch.INVOICE:
            return refetch, event.object_id if event.customer_id else ""
        case Refetch.PAYMENT:
            return refetch, _charge_of(event)[0]
        case _:
            return refetch, event.customer_id


def _charge_of(event: ProviderEvent) -> tuple[str, str]:
    """The charge that was refunded or disputed, and its payment; "" when it is not named."""
    about = cast("dict[str, dict[str, object]]", event.payload["data"])["object"]
    charge_id = about["id"] if about.get("object") == "charge" else about.get("charge")
    return str(charge_id or ""), str(about.get("payment_intent") or "")


async def _refetch(
    syncing: CustomerSync, event: ProviderEvent, now: datetime, arrival_number: int | None
) -> str | None:
    """Returns the customer when the event itself does not name one."""
    customer_id = event.customer_id
    match _object_of(event):
        case (None, _) | (_, ""):
            return None
        case (Refetch.PAYMENT, charge_id):
            payment_id = _charge_of(event)[1]
            return await syncing.payment(payment_id, charge_id, now, arrival_number=arrival_number)
        case (Refetch.CHECKOUT, checkout_id):
            await syncing.checkout(checkout_id, now)
        case (Refetch.INVOICE, invoice_id):
            change = ProviderChange(invoice_id=invoice_id)
            await syncing.changed(customer_id, change, now, arrival_number=arrival_number)
        case (Refetch.CUSTOMER, _):
            await syncing.changed(customer_id, ANYTHING, now, arrival_number=arrival_number)
    return None


async def _everything(syncing: CustomerSync, event: ProviderEvent, now: datetime) -> None:
    """Staff replay an event when something went wrong: nothing that was read before is trusted."""
    if event.customer_id:
        await syncing.customer(event.customer_id, now)


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
