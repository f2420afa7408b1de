"""The API's routes for invoices, their lines and payments."""

from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param, wrong_state
from billing_app.stripe_sandbox.registry import cut_page, page, route
from billing_app.stripe_sandbox.render import deleted
from billing_app.stripe_sandbox.resources import (
    cards,
    collection,
    coupons,
    invoicing,
    settlement,
    taxes,
)
from billing_app.stripe_sandbox.resources.common import apply_fields, merged_metadata, remove
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.payment_intents import declined_error
from billing_app.stripe_sandbox.resources.payment_methods import require_attached
from billing_app.stripe_sandbox.world import World


@route("POST", "/v1/invoices", "InvoiceCreateParams")
def create(world: World, params: Json) -> Json:
    if "customer" not in params:
        raise missing_param("customer")
    customer = live_customer(world, params["customer"])
    if params.get("default_payment_method"):
        require_attached(world, params["default_payment_method"], customer)
    now = world.now(customer)
    subscription = world.store.find(params.get("subscription"))
    invoice = invoicing.new_invoice(
        world,
        customer,
        reason="manual",
        now=now,
        currency=params.get("currency") or customer["currency"] or "usd",
        subscription=subscription,
        auto_advance=params.get("auto_advance", False),
        metadata=merged_metadata({}, params.get("metadata")),
    )
    if "automatic_tax" in params:
        enabled = params["automatic_tax"]["enabled"]
        invoice["automatic_tax"] = taxes.of_document(enabled=enabled)
    apply_fields(
        invoice,
        params,
        ("automatically_finalizes_at", "collection_method", "default_payment_method",
         "description", "due_date", "footer"),
    )  # fmt: skip
    if params.get("days_until_due"):
        invoice["due_date"] = now + params["days_until_due"] * DAY_SECONDS
    if params.get("discounts"):
        invoice["discounts"] = coupons.redeem(
            world, params["discounts"], customer, invoice=invoice["id"]
        )
    if params.get("pending_invoice_items_behavior") == "include" or subscription:
        invoicing.pull_pending_items(world, invoice)
    invoicing.total_up(world, invoice, now)
    world.emit("invoice.created", invoice, now=now)
    return invoice


@route("GET", "/v1/invoices", "InvoiceListParams")
def list_all(world: World, params: Json) -> Json:
    wanted = params.get("subscription")

    def matches(invoice: Json) -> bool:
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        return all(
            params.get(name) in (None, invoice[name])
            for name in ("customer", "status", "collection_method")
        ) and wanted in (None, details.get("subscription"))

    return page(params, world.store.all("invoice", matches), "/v1/invoices")


@route("GET", "/v1/invoices/{invoice}")
def retrieve(world: World, params: Json, identifier: str) -> Json:
    invoice = world.store.get(identifier, "invoice")
    return deleted(invoice) if invoice.get("_deleted") else invoice


@route("GET", "/v1/invoices/{invoice}/lines", "InvoiceLineItemListParams")
def list_lines(world: World, params: Json, identifier: str) -> Json:
    rows = world.store.get(identifier, "invoice")["lines"]["data"]
    return cut_page(params, rows, f"/v1/invoices/{identifier}/lines")


@route("POST", "/v1/invoices/{invoice}", "InvoiceUpdateParams")
def update(world: World, params: Json, identifier: str) -> Json:
    world.store.get(identifier, "invoice")
    invoice = world.store.edit(identifier)
    if "automatic_tax" in params and invoice["status"] == "draft":
        enabled = params["automatic_tax"]["enabled"]
        invoice["automatic_tax"] = taxes.of_document(enabled=enabled)
        invoicing.total_up(world, invoice, world.now(invoice))
    apply_fields(
        invoice,
        params,
        ("auto_advance", "automatically_finalizes_at", "default_payment_method", "description",
         "due_date", "footer"),
    )  # fmt: skip
    world.emit_update("invoice", invoice, now=world.now(invoice))
    return invoice


@route("DELETE", "/v1/invoices/{invoice}")
def delete(world: World, params: Json, identifier: str) -> Json:
    invoice = world.store.get(identifier, "invoice")
    if invoice["status"] != "draft" or invoice["billing_reason"] != "manual":
        raise wrong_state("You can only delete draft one-off invoices.", "invoice_not_editable")
    return remove(world, identifier, "invoice", "invoice.deleted")


def _open_invoice(world: World, identifier: str, action: str) -> Json:
    invoice = world.store.get(identifier, "invoice")
    if invoice["status"] not in ("open", "uncollectible"):
        status = invoice["status"]
        message = f"You can't {action} this invoice because it is {status}."
        if status == "paid":
            raise wrong_state("Invoice is already paid", "invoice_already_paid")
        raise wrong_state(message, "invoice_not_editable")
    return invoice


@route("POST", "/v1/invoices/{invoice}/finalize", "InvoiceFinalizeInvoiceParams")
def finalize_call(world: World, params: Json, identifier: str) -> Json:
    invoice = world.store.get(identifier, "invoice")
    now = world.now(invoice)
    invoicing.finalize(world, identifier, now)
    if settlement.settle_if_nothing_due(world, identifier, now):
        return world.store.get(identifier)
    if "auto_advance" in params:
        world.store.edit(identifier)["auto_advance"] = params["auto_advance"]
    return world.store.get(identifier)


@route("POST", "/v1/invoices/{invoice}/pay", "InvoicePayParams")
def pay(world: World, params: Json, identifier: str) -> Json:
    """Pays now. A decline answers 402 and stays on record."""
    invoice = world.store.get(identifier, "invoice")
    now = world.now(invoice)
    if invoice["status"] == "draft":
        invoicing.finalize(world, identifier, now)
        settlement.settle_if_nothing_due(world, identifier, now)
        if world.store.get(identifier)["status"] == "paid":
            return world.store.get(identifier)
    _open_invoice(world, identifier, "pay")
    if params.get("paid_out_of_band"):
        return settlement.mark_paid(world, identifier, now, out_of_band=True)
    return _pay_by_card(world, params, identifier, now)


def _pay_by_card(world: World, params: Json, identifier: str, now: int) -> Json:
    method = params.get("payment_method")
    if method is None and collection.method_to_charge(world, world.store.get(identifier)) is None:
        raise invalid(collection.NO_METHOD.message, code="resource_missing")
    off_session = params.get("off_session", True)
    declined = collection.collect(world, identifier, now, off_session=off_session, method=method)
    invoice = world.store.get(identifier)
    if declined:
        raise declined_error(world, declined, invoice["_intent"])
    if world.store.get(invoice["_intent"])["status"] == "processing":
        return invoice
    if invoice["status"] != "paid":
        needs = cards.Decline(
            "invoice_payment_intent_requires_action",
            "",
            "This payment requires additional user action before it can be completed successfully.",
        )
        raise declined_error(world, needs, invoice["_intent"])
    return invoice


@route("POST", "/v1/invoices/{invoice}/void")
def void_call(world: World, params: Json, identifier: str) -> Json:
    invoice = _open_invoice(world, identifier, "void")
    intent = world.store.find(invoice.get("_intent"))
    if intent is not None and intent["status"] == "processing":
        raise wrong_state(
            "You can't void this invoice while its payment is processing.", "invoice_not_editable"
        )
    return settlement.void(world, identifier, world.now(invoice))


@route("POST", "/v1/invoices/{invoice}/mark_uncollectible")
def mark_uncollectible_call(world: World, params: Json, identifier: str) -> Json:
    invoice = _open_invoice(world, identifier, "mark as uncollectible")
    return settlement.mark_uncollectible(world, identifier, world.now(invoice), "user_forgiven")


@route("POST", "/v1/invoices/{invoice}/send")
def send(world: World, params: Json, identifier: str) -> Json:
    invoice = world.store.get(identifier, "invoice")
    if invoice["status"] == "draft":
        invoicing.finalize(world, identifier, world.now(invoice))
    world.emit("invoice.sent", world.store.get(identifier), now=world.now(invoice))
    return world.store.get(identifier)


@route("GET", "/v1/invoice_payments", "InvoicePaymentListParams")
def list_payments(world: World, params: Json) -> Json:
    invoice, status = params.get("invoice"), params.get("status")
    intent = (params.get("payment") or {}).get("payment_intent")
    rows = world.store.all(
        "invoice_payment",
        lambda p: (
            invoice in (None, p["invoice"])
            and status in (None, p["status"])
            and intent in (None, p["payment"].get("payment_intent"))
        ),
    )
    return page(params, rows, "/v1/invoice_payments")


@route("GET", "/v1/invoice_payments/{invoice_payment}")
def retrieve_payment(world: World, params: Json, identifier: str) -> Json:
    return world.store.get(identifier, "invoice_payment")
