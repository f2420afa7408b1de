"""Translates Stripe's objects (API 2026-10-28.endive) to billing's snapshots, without SDK types.

Sources: docs.stripe.com/api/subscriptions/object, /invoices/object, /checkout/sessions/object.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from billing_app.billing.money import Money
from billing_app.billing.subscriptions.provider import (
    Credit,
    InvoiceLine,
    OfferPrices,
    PreviewLine,
    ProviderCheckout,
    ProviderEvent,
    ProviderInvoice,
    ProviderPaymentMethod,
    ProviderPreview,
    ProviderSubscription,
    ReturnedPayment,
    Reversal,
    ReversalKind,
    SubscriptionItem,
)
from billing_app.db.enums import InvoiceStatus, SubscriptionStatus

ACCOUNT_METADATA: Final = "billing_account"
INSTALLATION_METADATA: Final = "billing_installation"
WRITE_METADATA: Final = "billing_write"
TRIAL_METADATA: Final = "billing_trial"
OVERAGE_METADATA: Final = "billing_overage_of_plan"
# What a line of an invoice comes from (docs.stripe.com/api/invoice-line-item/object).
PERIOD: Final = "subscription_item_details"
ITEM: Final = "invoice_item_details"
# Payment methods of which the bank tells days later whether it has paid
# (docs.stripe.com/payments/bank-debits).
DEBITS: Final = {
    "us_bank_account": "Bank account",
    "sepa_debit": "SEPA Direct Debit",
    "bacs_debit": "Bacs Direct Debit",
    "au_becs_debit": "BECS Direct Debit",
    "acss_debit": "Pre-authorized debit",
}
# Inquiries take no money (docs.stripe.com/disputes/how-disputes-work).
NO_DISPUTE: Final = frozenset(
    {"won", "prevented", "warning_needs_response", "warning_under_review", "warning_closed"}
)


def provider_subscription(subscription: Any) -> ProviderSubscription:
    """The expanded schedule tells the next prices, the expanded method whose trial it is."""
    items = sorted(subscription.items.data, key=is_metered)
    return ProviderSubscription(
        provider_id=subscription.id,
        customer_id=_id(subscription.customer),
        status=SubscriptionStatus(subscription.status),
        items=[
            SubscriptionItem(
                price_id=item.price.id,
                quantity=1 if item.quantity is None else item.quantity,
                period_start=instant(item.current_period_start),
                period_end=instant(item.current_period_end),
            )
            for item in items
        ],
        next_price_ids=_next_prices(subscription),
        cancel_at=_cancel_at(subscription, items),
        is_collecting=subscription.pause_collection is None,
        ended_at=instant(subscription.ended_at) if subscription.ended_at else None,
        request_key=request_key(subscription),
        trial_card=_trial_card(subscription),
    )


def _trial_card(subscription: Any) -> str:
    """The fingerprint of the expanded default payment method
    (docs.stripe.com/api/payment_methods/object#payment_method_object-card-fingerprint)."""
    method = subscription.default_payment_method
    if TRIAL_METADATA not in metadata(subscription) or method is None or isinstance(method, str):
        return ""
    card = _card_of(method)
    return (card.fingerprint or "") if card is not None else ""


def _card_of(method: Any) -> Any | None:
    """Only the member of its own type is there (docs.stripe.com/api/payment_methods/object)."""
    return getattr(method, "card", None)


def _cancel_at(subscription: Any, items: list[Any]) -> datetime | None:
    if subscription.cancel_at:
        return instant(subscription.cancel_at)
    if subscription.cancel_at_period_end:
        return instant(max(item.current_period_end for item in items))
    return None


def provider_invoice(
    invoice: Any, returned: Mapping[str, ReturnedPayment], processing: Collection[str] = ()
) -> ProviderInvoice:
    """`returned`: the customer's refunds and disputes by payment intent; `processing`: payment
    intents that the bank has not decided. `payments` is expanded."""
    intents = intents_of(invoice)
    issued_at = invoice.status_transitions.finalized_at or invoice.created
    paid_at = invoice.status_transitions.paid_at
    translated = ProviderInvoice(
        provider_id=invoice.id or "",
        customer_id=_id(invoice.customer),
        subscription_id=subscription_of(invoice),
        number=invoice.number or "",
        status=InvoiceStatus(invoice.status or InvoiceStatus.DRAFT),
        billing_reason=invoice.billing_reason or "",
        currency=invoice.currency.upper(),
        amount_due_minor=invoice.amount_due,
        amount_paid_minor=invoice.amount_paid,
        refunded_minor=0,
        total_minor=invoice.total,
        waived_minor=_waived_minor(invoice),
        lines=[_line(line) for line in invoice.lines.data],
        request_key=request_key(invoice),
        is_collecting=bool(invoice.auto_advance),
        attempts=invoice.attempt_count,
        due_at=instant(invoice.due_date) if invoice.due_date else None,
        is_processing=any(intent in processing for intent in intents),
        paid_at=instant(paid_at) if paid_at else None,
        reversal=None,
        page_url=invoice.hosted_invoice_url or "",
        pdf_url=invoice.invoice_pdf or "",
        issued_at=instant(issued_at),
        payment_ids=tuple(intents),
    )
    return translated.with_returned([returned[each] for each in intents if each in returned])


def provider_checkout(session: Any) -> ProviderCheckout:
    return ProviderCheckout(
        provider_id=session.id,
        customer_id=_id(session.customer),
        status=session.status or "open",
        url=session.url,
        subscription_id=_id(session.subscription) or None,
        invoice_id=_id(session.invoice) or None,
        is_paid=session.payment_status == "paid",
        is_subscription=session.mode == "subscription",
        business_name=_business_name(session.customer_details),
    )


def _business_name(details: Any) -> str:
    """docs.stripe.com/tax/checkout/tax-ids: it is on the invoices."""
    if details is None or not details.tax_ids:
        return ""
    return getattr(details, "business_name", details.name) or ""


def provider_preview(invoice: Any, *, credit: Credit | None = None) -> ProviderPreview:
    """`credit`: what one of its discounts stands for."""
    ends = [
        instant(line.period.end)
        for line in invoice.lines.data
        if _details(line, PERIOD) and not is_proration(line)
    ]
    return ProviderPreview(
        currency=invoice.currency.upper(),
        amount_due_minor=invoice.amount_due,
        period_end=max(ends, default=None),
        lines=_preview_lines(invoice, credit),
    )


def pack_preview(invoice: Any, price_id: str) -> ProviderPreview:
    """Without what else is pending for the customer: it is charged alone."""
    preview = provider_preview(invoice)
    bought = [line for line in invoice.lines.data if price_of(line) == price_id]
    if len(bought) == len(invoice.lines.data):
        return preview
    total = sum(_line(line).net_minor + _sum_minor(line.taxes) for line in bought)
    due = max(0, total + invoice.starting_balance)
    return replace(preview, amount_due_minor=due, lines=[])


def tax_minor(invoice: Any) -> int:
    """The tax that is added to the prices."""
    return invoice.total - (invoice.subtotal - _sum_minor(invoice.total_discount_amounts))


def is_taxed(invoice: Any) -> bool:
    return any(_sum_minor(line.taxes) for line in invoice.lines.data)


def _preview_lines(invoice: Any, credit: Credit | None) -> list[PreviewLine]:
    """They add up to what is due. A preview has its first ten lines only, and no other can be
    fetched: one stands for the rest."""
    lines = [PreviewLine(line.description or "", line.amount) for line in invoice.lines.data]
    credited = [PreviewLine(credit.description, -credit.amount.minor)] if credit else []
    off_minor = _sum_minor(invoice.total_discount_amounts)
    summed = {
        "Other items": invoice.subtotal - sum(line.amount_minor for line in lines),
        "Discounts": (credit.amount.minor if credit else 0) - off_minor,
        "Tax": tax_minor(invoice),
        "Account balance": invoice.amount_due - invoice.total,
    }
    rest = [PreviewLine(text, minor) for text, minor in summed.items() if minor]
    return lines + credited + rest


def _sum_minor(amounts: Any) -> int:
    rows: list[Any] = amounts or []
    return sum(row.amount for row in rows)


def provider_payment_method(method: Any) -> ProviderPaymentMethod:
    card = _card_of(method)
    if card is None:
        return _other_method(method)
    return ProviderPaymentMethod(
        provider_id=method.id,
        brand=(card.display_brand or card.brand).replace("_", " ").title(),
        last4=card.last4,
        expires=f"{card.exp_month:02d}/{card.exp_year}",
    )


def _other_method(method: Any) -> ProviderPaymentMethod:
    last4: str = getattr(getattr(method, method.type, None), "last4", None) or ""
    kind: str = method.type
    name = DEBITS.get(kind, kind.replace("_", " ").capitalize())
    return ProviderPaymentMethod(method.id, name, last4, "", is_debit=kind in DEBITS)


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


def licensed_items(subscription: Any) -> list[Any]:
    return [item for item in subscription.items.data if not is_metered(item)]


def metered_items(subscription: Any) -> list[Any]:
    return [item for item in subscription.items.data if is_metered(item)]


def is_metered(item: Any) -> bool:
    return item.price.recurring.usage_type == "metered"


def items_of(prices: OfferPrices, quantity: int = 1) -> list[dict[str, Any]]:
    """Items for these prices, as Stripe takes them: metered ones have no quantity."""
    items: list[dict[str, Any]] = [{"price": prices.price_id, "quantity": quantity}]
    return [*items, {"price": prices.overage_price_id}] if prices.overage_price_id else items


def kept_item(item: Any) -> dict[str, Any]:
    """An item of a subscription or of a phase, as Stripe takes it."""
    return {"price": _id(item.price)} | ({"quantity": item.quantity} if item.quantity else {})


def phase_items(phase: Any) -> list[dict[str, Any]]:
    return [kept_item(item) for item in phase.items]


def discounts_of(subscription: Any) -> list[dict[str, str]]:
    """Its own discounts, as Stripe takes them."""
    discounts: list[Any] = subscription.discounts or []
    return [{"discount": _id(each)} for each in discounts]


def subscription_terms(subscription: Any) -> dict[str, Any]:
    """What each phase of a schedule must repeat of its subscription, else it is lost."""
    method = subscription.default_payment_method
    rates: list[Any] = subscription.default_tax_rates or []
    terms: dict[str, Any] = {
        "collection_method": subscription.collection_method,
        "default_payment_method": _id(method) if method else None,
        "default_tax_rates": [_id(rate) for rate in rates],
        "automatic_tax": {"enabled": True} if subscription.automatic_tax.enabled else None,
        "description": subscription.description,
        "discounts": discounts_of(subscription),
        "metadata": metadata(subscription),
    }
    if subscription.collection_method == "send_invoice":
        terms["invoice_settings"] = {"days_until_due": subscription.days_until_due}
    return {name: value for name, value in terms.items() if value}


def current_phase(schedule: Any) -> Any:
    start = schedule.current_phase.start_date
    return next(phase for phase in schedule.phases if phase.start_date == start)


def next_phase(schedule: Any) -> Any | None:
    """The phase after the current one; None: nothing is scheduled."""
    if schedule.current_phase is None:
        return None
    end = schedule.current_phase.end_date
    return next((phase for phase in schedule.phases if phase.start_date >= end), None)


def returned(charge: Any, disputes: list[Any]) -> ReturnedPayment:
    lost = sum(dispute.amount for dispute in disputes if dispute.status == "lost")
    intent_id = _id(charge.payment_intent)
    return ReturnedPayment(intent_id, charge.amount_refunded, lost, _reversal(charge, disputes))


def _reversal(charge: Any, disputes: list[Any]) -> Reversal | None:
    """Whether a refund or dispute reversed a charge; None: its payment stands."""
    open_ones = [dispute for dispute in disputes if dispute.status not in NO_DISPUTE]
    lost = [dispute for dispute in open_ones if dispute.status == "lost"]
    if lost:
        amount = sum(dispute.amount for dispute in lost)
        if amount + charge.amount_refunded >= charge.amount:
            amount = charge.amount  # nothing of the payment is left
        return Reversal(ReversalKind.DISPUTE_LOST, instant(lost[0].created), amount)
    if charge.refunded:
        return Reversal(ReversalKind.REFUNDED, instant(charge.created), charge.amount_refunded)
    if open_ones:
        amount = sum(dispute.amount for dispute in open_ones)
        return Reversal(ReversalKind.DISPUTED, instant(open_ones[0].created), amount)
    return None


def _next_prices(subscription: Any) -> list[str]:
    schedule = subscription.schedule
    if schedule is None or isinstance(schedule, str):
        return []
    phase = next_phase(schedule)
    return [_id(item.price) for item in phase.items] if phase is not None else []


def _waived_minor(invoice: Any) -> int:
    """Below zero, a balance is credit (docs.stripe.com/billing/customer/balance)."""
    before, after = min(invoice.starting_balance, 0), min(invoice.ending_balance or 0, 0)
    notes = invoice.pre_payment_credit_notes_amount
    return max(0, after - before) + notes


def intents_of(invoice: Any) -> list[str]:
    """The payment intents of an invoice whose payments are expanded."""
    payments: list[Any] = invoice.payments.data if invoice.payments else []
    return [intent for each in payments if (intent := _id(each.payment.payment_intent))]


def subscription_of(invoice: Any) -> str | None:
    parent = invoice.parent
    details = parent.subscription_details if parent is not None else None
    return _id(details.subscription) if details is not None else None


def _line(line: Any) -> InvoiceLine:
    plan_sequence = metadata(line).get(OVERAGE_METADATA)
    return InvoiceLine(
        line_id=line.id,
        price_id=price_of(line),
        quantity=1 if line.quantity is None else line.quantity,
        amount_minor=line.amount,
        net_minor=line.amount - _sum_minor(line.discount_amounts),
        period_start=instant(line.period.start),
        period_end=instant(line.period.end),
        is_period=is_period(line),
        is_proration=is_proration(line),
        overage_of=int(plan_sequence) if plan_sequence else None,
        description=line.description or "",
    )


def is_period(line: Any) -> bool:
    return _details(line, PERIOD) is not None


def is_proration(line: Any) -> bool:
    details = _details(line, PERIOD) or _details(line, ITEM)
    return details is not None and bool(details.proration)


def _details(line: Any, of: str) -> Any | None:
    parent = line.parent
    return getattr(parent, of) if parent is not None and parent.type == of else None


def price_of(line: Any) -> str | None:
    pricing = line.pricing
    return _id(pricing.price_details.price) if pricing and pricing.price_details else None
