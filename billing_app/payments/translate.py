"""From Stripe's objects (API 2026-10-28.endive) to billing's facts. No Stripe type goes further.

Sources: docs.stripe.com/api/subscriptions/object, /invoices/object, /checkout/sessions/object.
"""

from datetime import UTC, datetime
from typing import Any

from billing_app.billing.subscriptions.provider import (
    CheckoutFacts,
    EventFacts,
    InvoiceFacts,
    PaymentMethodFacts,
    PreviewFacts,
    PreviewLine,
    SubscriptionFacts,
)
from billing_app.db.words import InvoiceStatus, SubscriptionStatus


def subscription_facts(subscription: Any) -> SubscriptionFacts:
    """The period stands on the item; a schedule, expanded, tells what price comes next."""
    item = subscription.items.data[0]
    return SubscriptionFacts(
        provider_id=subscription.id,
        customer_id=_id(subscription.customer),
        status=SubscriptionStatus(subscription.status),
        price_id=item.price.id,
        next_price_id=_next_price(subscription),
        period_start=instant(item.current_period_start),
        period_end=instant(item.current_period_end),
        cancel_at_period_end=bool(subscription.cancel_at_period_end or subscription.cancel_at),
        ended_at=instant(subscription.ended_at) if subscription.ended_at else None,
        latest_invoice_id=_id(subscription.latest_invoice) or None,
    )


def invoice_facts(invoice: Any) -> InvoiceFacts:
    line = _subscription_line(invoice)
    issued_at = invoice.status_transitions.finalized_at or invoice.created
    return InvoiceFacts(
        provider_id=invoice.id or "",
        customer_id=_id(invoice.customer),
        subscription_id=_subscription_of(invoice),
        number=invoice.number or "",
        status=InvoiceStatus(invoice.status or InvoiceStatus.DRAFT),
        billing_reason=invoice.billing_reason or "",
        currency=invoice.currency.upper(),
        amount_due_minor=invoice.amount_due,
        amount_paid_minor=invoice.amount_paid,
        price_id=_price_of(line) if line else None,
        period_start=instant(line.period.start) if line else None,
        period_end=instant(line.period.end) if line else None,
        attempts=invoice.attempt_count,
        page_url=invoice.hosted_invoice_url or "",
        pdf_url=invoice.invoice_pdf or "",
        issued_at=instant(issued_at),
    )


def checkout_facts(session: Any) -> CheckoutFacts:
    return CheckoutFacts(
        provider_id=session.id,
        customer_id=_id(session.customer),
        status=session.status or "open",
        url=session.url,
        subscription_id=_id(session.subscription) or None,
    )


def preview_facts(invoice: Any) -> PreviewFacts:
    return PreviewFacts(
        currency=invoice.currency.upper(),
        amount_due_minor=invoice.amount_due,
        lines=[PreviewLine(line.description or "", line.amount) for line in invoice.lines.data],
    )


def payment_method_facts(method: Any) -> PaymentMethodFacts:
    card = method.card
    if card is None:
        return PaymentMethodFacts(brand=method.type, last4="", expires="")
    return PaymentMethodFacts(
        brand=(card.display_brand or card.brand).replace("_", " ").title(),
        last4=card.last4,
        expires=f"{card.exp_month:02d}/{card.exp_year}",
    )


def event_facts(event: Any) -> EventFacts:
    """Takes an event of the SDK; `payload` is its plain JSON."""
    return event_facts_of(event.to_dict())


def event_facts_of(payload: dict[str, Any]) -> EventFacts:
    found = payload["data"]["object"]
    customer = found["id"] if found.get("object") == "customer" else found.get("customer")
    return EventFacts(
        id=payload["id"],
        type=payload["type"],
        object_id=str(found.get("id") or ""),
        customer_id=customer if isinstance(customer, str) else "",
        occurred_at=instant(payload["created"]),
        payload=payload,
    )


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _id(reference: Any) -> str:
    if reference is None or isinstance(reference, str):
        return reference or ""
    return reference.id


def _next_price(subscription: Any) -> str | None:
    schedule = subscription.schedule
    if schedule is None or isinstance(schedule, str) or schedule.current_phase is None:
        return None
    end = schedule.current_phase.end_date
    for phase in schedule.phases:
        if phase.start_date >= end:
            return _id(phase.items[0].price)
    return None


def _subscription_of(invoice: Any) -> str | None:
    parent = invoice.parent
    details = parent.subscription_details if parent is not None else None
    return _id(details.subscription) if details is not None else None


def _subscription_line(invoice: Any) -> Any | None:
    """The line of the period that the invoice bills: not a proration, the latest end."""
    lines = [
        line
        for line in invoice.lines.data
        if line.parent is not None
        and line.parent.type == "subscription_item_details"
        and not line.parent.subscription_item_details.proration
    ]
    return max(lines, key=lambda line: line.period.end) if lines else None


def _price_of(line: Any) -> str | None:
    pricing = line.pricing
    return _id(pricing.price_details.price) if pricing and pricing.price_details else None
