"""Drawing up invoices: lines, discounts, totals, the customer's balance, finalization.

Sources: https://docs.stripe.com/invoicing/overview and https://docs.stripe.com/billing/customer/balance
"""

from collections.abc import Iterable
from dataclasses import dataclass

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.contract.blank import blank_nested
from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json, wrong_state
from billing_app.stripe_sandbox.render import includable
from billing_app.stripe_sandbox.resources import coupons, tax_ids, taxes
from billing_app.stripe_sandbox.resources.customers import set_balance
from billing_app.stripe_sandbox.resources.payment_intents import new_intent
from billing_app.stripe_sandbox.world import World, list_object


@dataclass(frozen=True)
class Line:
    """A line for an invoice; `item` is the subscription item that it bills, if any."""

    amount: int
    description: str | None
    start: int
    end: int
    price: Json | None = None
    quantity: int = 1
    item: str | None = None
    invoice_item: str | None = None
    proration: bool = False
    discountable: bool = True
    credited: Json | None = None
    metadata: Json | None = None


def pricing_of(price: Json | None) -> Json | None:
    if price is None:
        return None
    return {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def new_invoice(
    world: World,
    customer: Json,
    *,
    reason: str,
    now: int,
    currency: str,
    subscription: Json | None = None,
    **fields: object,
) -> Json:
    """Creates an empty draft."""
    identifier = world.new_id("invoice")
    invoice = world.create(
        "invoice",
        id=identifier,
        account_country="US",
        account_name=world.settings.account_name,
        amount_due=0,
        amount_overpaid=0,
        amount_paid=0,
        amount_remaining=0,
        amount_shipping=0,
        attempt_count=0,
        auto_advance=True,
        automatic_tax=taxes.of_document(enabled=False),
        billing_reason=reason,
        collection_method="charge_automatically",
        created=now,
        currency=currency,
        custom_fields=customer["invoice_settings"]["custom_fields"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_phone=customer["phone"],
        customer_address=customer["address"],
        customer_shipping=customer["shipping"],
        customer_tax_exempt=customer["tax_exempt"],
        customer_tax_ids=tax_ids.brief(tax_ids.of_customer(world, customer["id"])),
        issuer={"account": None, "type": "self"},
        lines=list_object([], f"/v1/invoices/{identifier}/lines"),
        parent=_parent(subscription),
        period_end=now,
        period_start=now,
        post_payment_credit_notes_amount=0,
        pre_payment_credit_notes_amount=0,
        starting_balance=customer["balance"],
        status="draft",
        subtotal=0,
        test_clock=customer["test_clock"],
        total=0,
        total_discount_amounts=[],
        total_pretax_credit_amounts=[],
        total_taxes=[],
        webhooks_delivered_at=now,
    )
    if subscription is not None:
        _apply_terms(world, invoice, subscription)
    elif customer["discount"]:
        invoice["discounts"] = [customer["discount"]["id"]]
    invoice |= fields
    return invoice


def _parent(subscription: Json | None) -> Json | None:
    if subscription is None:
        return None
    return {
        "type": "subscription_details",
        "quote_details": None,
        "subscription_details": {
            "metadata": dict(subscription["metadata"]),
            "subscription": subscription["id"],
            "subscription_proration_date": None,
        },
    }


def _apply_terms(world: World, invoice: Json, subscription: Json) -> None:
    invoice["collection_method"] = subscription["collection_method"]
    invoice["discounts"] = coupons.standing(world, subscription)
    invoice["automatic_tax"] = taxes.of_document(enabled=subscription["automatic_tax"]["enabled"])
    invoice["description"] = subscription["description"]
    days = subscription["days_until_due"]
    if subscription["collection_method"] == "send_invoice" and days is not None:
        invoice["due_date"] = invoice["created"] + days * DAY_SECONDS


def subscription_of(world: World, invoice: Json) -> Json | None:
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    return world.store.find(details.get("subscription"))


def add_lines(world: World, invoice: Json, lines: Iterable[Line]) -> None:
    for line in lines:
        invoice["lines"]["data"].append(_stored_line(world, invoice, line))


def _stored_line(world: World, invoice: Json, line: Line) -> Json:
    subscription = (subscription_of(world, invoice) or {}).get("id")
    return world.draft(
        "line_item",
        amount=line.amount,
        currency=invoice["currency"],
        description=line.description,
        discount_amounts=[],
        discountable=line.discountable and not line.proration,
        invoice=invoice["id"],
        metadata=dict(line.metadata or {}),
        parent=_line_parent(line, subscription),
        period={"start": line.start, "end": line.end},
        pretax_credit_amounts=[],
        pricing=pricing_of(line.price),
        quantity=line.quantity,
        quantity_decimal=str(line.quantity),
        subscription=subscription,
        subtotal=line.amount,
        taxes=[],
        _item=line.item,
    )


def _line_parent(line: Line, subscription: str | None) -> Json | None:
    details: Json = {
        "invoice_item": line.invoice_item,
        "proration": line.proration,
        "proration_details": {"credited_items": line.credited} if line.proration else None,
        "subscription": subscription,
    }
    if line.item is not None:
        details["subscription_item"] = line.item
        return {
            "type": "subscription_item_details",
            "subscription_item_details": details,
            "invoice_item_details": None,
        }
    return {
        "type": "invoice_item_details",
        "invoice_item_details": details,
        "subscription_item_details": None,
    }


def pull_pending_items(world: World, invoice: Json, *, only: frozenset[str] | None = None) -> None:
    """Moves pending items onto the invoice: those of its subscription and of no subscription."""
    subscription = subscription_of(world, invoice)
    own = subscription["id"] if subscription else None
    for item in list(world.store.all("invoiceitem", lambda i: _waits(i, invoice, own))):
        if only is not None and item["id"] not in only:
            continue
        stored = world.store.edit(item["id"])
        stored["invoice"] = invoice["id"]
        add_lines(world, invoice, [_line_of_item(world, stored)])


def _waits(item: Json, invoice: Json, subscription: str | None) -> bool:
    if item["invoice"] or item.get("_deleted") or item["customer"] != invoice["customer"]:
        return False
    details = (item["parent"] or {}).get("subscription_details") or {}
    belongs = details.get("subscription")
    return belongs in (None, subscription) and item["currency"] == invoice["currency"]


def _line_of_item(world: World, item: Json) -> Line:
    price = ((item["pricing"] or {}).get("price_details") or {}).get("price")
    details = (item["parent"] or {}).get("subscription_details") or {}
    return Line(
        amount=item["amount"],
        description=item["description"],
        start=item["period"]["start"],
        end=item["period"]["end"],
        price=world.store.find(price),
        quantity=item["quantity"],
        item=details.get("subscription_item"),
        invoice_item=item["id"],
        proration=item["proration"],
        discountable=item["discountable"],
        credited=item.get("_credited"),
        metadata=item["metadata"],
    )


def total_up(world: World, invoice: Json, now: int) -> None:
    """Recomputes discounts, taxes, totals and the amount due from the lines."""
    lines = invoice["lines"]["data"]
    for line in lines:
        line["discount_amounts"] = []
    running = coupons.running(world, invoice["discounts"], now)
    coupons.discount_lines(world, lines, running)
    invoice["total_discount_amounts"] = [
        {"discount": entry["id"], "amount": _total_off(lines, entry["id"])} for entry in running
    ]
    off = sum(entry["amount"] for entry in invoice["total_discount_amounts"])
    subtotal = sum(line["amount"] for line in lines)
    invoice |= {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": subtotal - off + taxes.tax_invoice(world, invoice),
        "total_excluding_tax": subtotal - off,
    }
    due, _ = _due(invoice)
    invoice |= {"amount_due": due, "amount_remaining": due}


def _total_off(lines: list[Json], discount: str) -> int:
    return sum(
        entry["amount"]
        for line in lines
        for entry in line["discount_amounts"]
        if entry["discount"] == discount
    )


def _due(invoice: Json) -> tuple[int, int]:
    """The amount due now, and the customer's balance afterwards.

    Unused credit and amounts too small to charge stay in the balance.
    """
    owed = invoice["total"] + invoice["starting_balance"]
    if owed < money.minimum_charge(invoice["currency"]):
        return 0, owed
    return owed, 0


def net_of_line(line: Json) -> int:
    return line["amount"] - sum(entry["amount"] for entry in line["discount_amounts"])


def finalize(world: World, identifier: str, now: int) -> Json:
    """Finalizes a draft: number, totals, balance, and a payment intent for what is due."""
    invoice = world.store.edit(identifier)
    if invoice["status"] != "draft":
        raise wrong_state(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            "invoice_not_editable",
        )
    customer = world.store.edit(invoice["customer"])
    _require_location(world, invoice, customer)
    customer["currency"] = customer["currency"] or invoice["currency"]
    invoice["starting_balance"] = customer["balance"]
    total_up(world, invoice, now)
    due, balance = _due(invoice)
    set_balance(world, customer, balance, "applied_to_invoice", invoice=identifier)
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] = number + 1
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "automatically_finalizes_at": None,
        "effective_at": now,
        "ending_balance": balance,
        "hosted_invoice_url": f"{world.base_url}/invoices/{identifier}",
        "invoice_pdf": f"{world.base_url}/invoices/{identifier}/pdf",
        "number": f"{customer['invoice_prefix']}-{number:04d}",
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = now
    if due:
        _prepare_payment(world, invoice, customer, now)
    world.emit("invoice.finalized", invoice, now=now)
    return invoice


def _require_location(world: World, invoice: Json, customer: Json) -> None:
    """A subscription goes on without tax; an invoice of its own is refused
    (https://docs.stripe.com/tax/customer-locations#invoice-finalization-errors)."""
    if not invoice["automatic_tax"]["enabled"] or taxes.location(customer):
        return
    subscription = subscription_of(world, invoice)
    if subscription is None:
        raise taxes.location_invalid()
    taxes.stop(invoice, "finalization_requires_location_inputs")
    taxes.stop(world.store.edit(subscription["id"]), "requires_location_inputs")


def _prepare_payment(world: World, invoice: Json, customer: Json, now: int) -> None:
    intent = new_intent(
        world,
        invoice["amount_due"],
        invoice["currency"],
        customer,
        description=_payment_description(invoice),
        _invoice=invoice["id"],
    )
    invoice["_intent"] = intent["id"]
    world.create(
        "invoice_payment",
        amount_requested=invoice["amount_due"],
        created=now,
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        status="open",
        status_transitions=blank_nested("invoice_payment", "status_transitions"),
    )


def _payment_description(invoice: Json) -> str:
    descriptions = {"subscription_create": "Subscription creation", "manual": "Payment for Invoice"}
    return descriptions.get(invoice["billing_reason"], "Subscription update")


@includable("invoice", "payments")
def _payments(world: World, invoice: Json) -> Json:
    rows = world.store.all("invoice_payment", lambda p: p["invoice"] == invoice["id"])
    return list_object(list(rows), "/v1/invoice_payments")


@includable("invoice", "confirmation_secret")
def _confirmation_secret(world: World, invoice: Json) -> Json | None:
    intent = world.store.find(invoice.get("_intent"))
    if intent is None or invoice["status"] != "open":
        return None
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}
