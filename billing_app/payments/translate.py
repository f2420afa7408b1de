"""Translates Stripe's objects (API 2026-10-28.endive) to billing's snapshots, without SDK types.

Sources: docs.stripe.com/api/subscriptions/object, /invoices/object, /checkout/sessions/object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from billing_app.billing.money import Money
from billing_app.billing.subscriptions.provider import (
    InvoiceLine,
    OfferPrices,
    PreviewLine,
    ProviderCheckout,
    ProviderEvent,
    ProviderInvoice,
    ProviderPaymentMethod,
    ProviderPreview,
    ProviderSubscription,
    Reversal,
    ReversalKind,
)
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus

ACCOUNT_METADATA: Final = "billing_account"
INSTALLATION_METADATA: Final = "billing_installation"
WRITE_METADATA: Final = "billing_write"
OVERAGE_METADATA: Final = "billing_overage_of_plan"
# Inquiries take no money (docs.stripe.com/disputes/how-disputes-work).
NO_DISPUTE: Final = frozenset(
    {"won", "prevented", "warning_needs_response", "warning_under_review", "warning_closed"}
)


def provider_subscription(subscription: Any) -> ProviderSubscription:
    """The period is that of the item; the expanded schedule tells the next price."""
    item = licensed_item(subscription)
    return ProviderSubscription(
        provider_id=subscription.id,
        customer_id=_id(subscription.customer),
        status=SubscriptionStatus(subscription.status),
        price_id=item.price.id,
        next_price_id=_next_price(subscription),
        period_start=instant(item.current_period_start),
        period_end=instant(item.current_period_end),
        cancel_at_period_end=bool(subscription.cancel_at_period_end or subscription.cancel_at),
        ended_at=instant(subscription.ended_at) if subscription.ended_at else None,
        request_key=request_key(subscription),
    )


@dataclass(frozen=True, slots=True)
class Returned:
    """What was refunded of a payment; `reversal`: None while the payment stands."""

    refunded_minor: int
    reversal: Reversal | None


def provider_invoice(invoice: Any, returned: Mapping[str, Returned]) -> ProviderInvoice:
    """`returned`: the customer's refunds and disputes by payment intent. `payments` is expanded."""
    back = _returned_of(invoice, returned)
    line = _bought_line(invoice)
    issued_at = invoice.status_transitions.finalized_at or invoice.created
    return ProviderInvoice(
        provider_id=invoice.id or "",
        customer_id=_id(invoice.customer),
        subscription_id=_subscription_of(invoice),
        number=invoice.number or "",
        status=InvoiceStatus(invoice.status or InvoiceStatus.DRAFT),
        billing_reason=invoice.billing_reason or "",
        currency=invoice.currency.upper(),
        amount_due_minor=invoice.amount_due,
        amount_paid_minor=invoice.amount_paid,
        refunded_minor=sum(each.refunded_minor for each in back),
        price_id=_price_of(line) if line else None,
        bought_minor=line.amount if line else None,
        period_start=instant(line.period.start) if line else None,
        period_end=instant(line.period.end) if line else None,
        lines=[_line(line) for line in invoice.lines.data],
        request_key=request_key(invoice),
        is_collecting=bool(invoice.auto_advance),
        attempts=invoice.attempt_count,
        reversal=next((each.reversal for each in back if each.reversal), None),
        page_url=invoice.hosted_invoice_url or "",
        pdf_url=invoice.invoice_pdf or "",
        issued_at=instant(issued_at),
    )


def provider_checkout(session: Any) -> ProviderCheckout:
    return ProviderCheckout(
        provider_id=session.id,
        customer_id=_id(session.customer),
        status=session.status or "open",
        url=session.url,
        subscription_id=_id(session.subscription) or None,
    )


def provider_preview(invoice: Any) -> ProviderPreview:
    bought = _bought_line(invoice)
    return ProviderPreview(
        currency=invoice.currency.upper(),
        amount_due_minor=invoice.amount_due,
        period_end=instant(bought.period.end) if bought else None,
        lines=[PreviewLine(line.description or "", line.amount) for line in invoice.lines.data],
    )


def provider_payment_method(method: Any) -> ProviderPaymentMethod:
    card = method.card
    if card is None:
        return ProviderPaymentMethod(method.id, brand=method.type, last4="", expires="")
    return ProviderPaymentMethod(
        provider_id=method.id,
        brand=(card.display_brand or card.brand).replace("_", " ").title(),
        last4=card.last4,
        expires=f"{card.exp_month:02d}/{card.exp_year}",
    )


def provider_event(event: Any) -> ProviderEvent:
    """From an event of the SDK; `payload` is its plain JSON."""
    return provider_event_of(event.to_dict(for_json=True))


def provider_event_of(payload: dict[str, Any]) -> ProviderEvent:
    about = payload["data"]["object"]
    customer = about["id"] if about.get("object") == "customer" else about.get("customer")
    return ProviderEvent(
        id=payload["id"],
        type=payload["type"],
        object_id=str(about.get("id") or ""),
        customer_id=customer if isinstance(customer, str) else "",
        occurred_at=instant(payload["created"]),
        payload=payload,
    )


def metadata(stripe_object: Any) -> dict[str, str]:
    """What we stored on an object."""
    stored = stripe_object.metadata
    return dict(stored.to_dict() if hasattr(stored, "to_dict") else stored or {})


def item(amount: Money, description: str) -> dict[str, Any]:
    """An item of an invoice, as it is given to Stripe."""
    currency = amount.currency.lower()
    return {"amount": amount.minor, "currency": currency, "description": description}


def request_key(stripe_object: Any) -> str:
    """The key of our last request that created or changed it; "" when none did."""
    return metadata(stripe_object).get(WRITE_METADATA, "")


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _id(reference: Any) -> str:
    if reference is None or isinstance(reference, str):
        return reference or ""
    return reference.id


def licensed_item(subscription: Any) -> Any:
    """The item of the plan itself; the other one meters the overage."""
    return next(item for item in subscription.items.data if not is_metered(item))


def metered_items(subscription: Any) -> list[Any]:
    return [item for item in subscription.items.data if is_metered(item)]


def is_metered(item: Any) -> bool:
    return item.price.recurring.usage_type == "metered"


def items_of(prices: OfferPrices) -> list[dict[str, Any]]:
    """Items for these prices, as Stripe takes them: metered ones have no quantity."""
    items: list[dict[str, Any]] = [{"price": prices.price_id, "quantity": 1}]
    return [*items, {"price": prices.overage_price_id}] if prices.overage_price_id else items


def phase_items(phase: Any) -> list[dict[str, Any]]:
    """A phase's items as Stripe takes them: metered ones have no quantity."""
    return [
        {"price": _id(item.price)} | ({"quantity": item.quantity} if item.quantity else {})
        for item in phase.items
    ]


def current_phase(schedule: Any) -> Any:
    start = schedule.current_phase.start_date
    return next(phase for phase in schedule.phases if phase.start_date == start)


def next_phase(schedule: Any) -> Any | None:
    """The phase after the current one; None: nothing is scheduled."""
    if schedule.current_phase is None:
        return None
    end = schedule.current_phase.end_date
    return next((phase for phase in schedule.phases if phase.start_date >= end), None)


def returned(charge: Any, disputes: list[Any]) -> Returned:
    return Returned(charge.amount_refunded, _reversal(charge, disputes))


def _reversal(charge: Any, disputes: list[Any]) -> Reversal | None:
    """Whether a refund or dispute reversed a charge; None: its payment stands."""
    open_ones = [dispute for dispute in disputes if dispute.status not in NO_DISPUTE]
    for dispute in open_ones:
        if dispute.status == "lost":
            return Reversal(ReversalKind.DISPUTE_LOST, instant(dispute.created))
    if charge.refunded:
        return Reversal(ReversalKind.REFUNDED, instant(charge.created))
    if open_ones:
        return Reversal(ReversalKind.DISPUTED, instant(open_ones[0].created))
    return None


def _next_price(subscription: Any) -> str | None:
    schedule = subscription.schedule
    if schedule is None or isinstance(schedule, str):
        return None
    phase = next_phase(schedule)
    return _id(phase.items[0].price) if phase is not None else None


def _returned_of(invoice: Any, returned: Mapping[str, Returned]) -> list[Returned]:
    payments: list[Any] = invoice.payments.data if invoice.payments else []
    intents = [_id(payment.payment.payment_intent) for payment in payments]
    return [returned[intent] for intent in intents if intent in returned]


def _subscription_of(invoice: Any) -> str | None:
    parent = invoice.parent
    details = parent.subscription_details if parent is not None else None
    return _id(details.subscription) if details is not None else None


def _bought_line(invoice: Any) -> Any | None:
    """The line of what the invoice sells: for a subscription, the period that it bills (no
    proration, the latest end); without one, the line of a pack's price."""
    wanted = "subscription_item_details" if _subscription_of(invoice) else "invoice_item_details"
    lines = [
        line
        for line in invoice.lines.data
        if line.parent is not None
        and line.parent.type == wanted
        and not getattr(line.parent, wanted).proration
        and _price_of(line)
    ]
    return max(lines, key=lambda line: line.period.end) if lines else None


def _line(line: Any) -> InvoiceLine:
    plan_sequence = metadata(line).get(OVERAGE_METADATA)
    return InvoiceLine(
        price_id=_price_of(line),
        amount_minor=line.amount,
        period_start=instant(line.period.start),
        overage_of=int(plan_sequence) if plan_sequence else None,
    )


def _price_of(line: Any) -> str | None:
    pricing = line.pricing
    return _id(pricing.price_details.price) if pricing and pricing.price_details else None
