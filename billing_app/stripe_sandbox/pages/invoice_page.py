"""The hosted invoice page, with its payment form and PDF."""

from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.dates import day_text
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.pages import layout
from billing_app.stripe_sandbox.pages.actions import desk_of, read_card, read_form
from billing_app.stripe_sandbox.pdf import document_pdf
from billing_app.stripe_sandbox.resources import collection, payment_intents
from billing_app.stripe_sandbox.resources.checkout_payment import CardInput
from billing_app.stripe_sandbox.resources.payment_methods import new_card
from billing_app.stripe_sandbox.world import World


def _find(request: Request) -> Json | None:
    invoice = desk_of(request).world.store.find(request.path_params["id"])
    usable = invoice is not None and invoice["object"] == "invoice" and invoice["number"]
    return invoice if usable else None


async def show(request: Request) -> Response:
    invoice = _find(request)
    if invoice is None:
        return layout.message("Invoice", "This invoice does not exist.", 404)
    return _page(invoice)


async def pay(request: Request) -> Response:
    desk, invoice = desk_of(request), _find(request)
    if invoice is None:
        return layout.message("Invoice", "This invoice does not exist.", 404)
    card = read_card(await read_form(request))
    if isinstance(card, str):
        return _page(invoice, card)
    problem = desk.try_to(lambda: _pay(desk.world, invoice, card))
    fresh = desk.world.store.get(invoice["id"])
    intent = desk.world.store.get(fresh["_intent"])
    if intent["status"] == "requires_action":
        return RedirectResponse(intent["next_action"]["redirect_to_url"]["url"], 303)
    error = intent["last_payment_error"] or {}
    return _page(fresh, problem or error.get("message", ""))


def _pay(world: World, invoice: Json, card: CardInput) -> None:
    if invoice["status"] != "open":
        return
    method = new_card(world, card.number, (card.exp_month, card.exp_year))
    intent = world.store.edit(invoice["_intent"])
    intent |= {"payment_method": method["id"], "_return_url": invoice["hosted_invoice_url"]}
    payment_intents.attempt(world, intent["id"])
    collection.settle_from_intent(world, intent["id"])


async def pdf(request: Request) -> Response:
    invoice = _find(request)
    if invoice is None:
        return layout.message("Invoice", "This invoice does not exist.", 404)
    name = f"invoice-{invoice['number']}.pdf"
    return Response(
        document_pdf(_pdf_lines(invoice)),
        media_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )


def _pdf_lines(invoice: Json) -> list[tuple[str, str]]:
    currency = invoice["currency"]
    lines = [
        (f"Invoice {invoice['number']}", ""),
        (invoice["account_name"], "Stripe sandbox - not a real invoice"),
        (f"Bill to: {invoice['customer_name'] or invoice['customer_email'] or ''}", ""),
        (f"Date of issue: {day_text(invoice['effective_at'])}", invoice["status"]),
        ("", ""),
    ]
    rows = [
        (line["description"] or "", money.text(line["amount"], currency))
        for line in invoice["lines"]["data"]
    ]
    return [*lines, *rows, ("", ""), *_totals(invoice)]


def _totals(invoice: Json) -> list[tuple[str, str]]:
    currency = invoice["currency"]
    off = sum(entry["amount"] for entry in invoice["total_discount_amounts"])
    applied = invoice["amount_due"] - invoice["total"]
    rows = [("Subtotal", invoice["subtotal"])]
    if off:
        rows.append(("Discount", -off))
    if tax := invoice["total"] - invoice["total_excluding_tax"]:
        rows.append(("Tax", tax))
    rows.append(("Total", invoice["total"]))
    if applied:
        rows.append(("Applied balance", applied))
    rows += [("Amount due", invoice["amount_due"]), ("Amount paid", invoice["amount_paid"])]
    return [(name, money.text(amount, currency)) for name, amount in rows]


def _page(invoice: Json, problem: str = "") -> Response:
    currency = invoice["currency"]
    lines = "".join(
        f"<tr><td>{escape(line['description'] or '')}</td>"
        f'<td class="number">{escape(money.text(line["amount"], currency))}</td></tr>'
        for line in invoice["lines"]["data"]
    )
    totals = "".join(layout.row(*pair) for pair in _totals(invoice))
    body = (
        f'<div class="two"><section><h1>Invoice {escape(invoice["number"])}</h1>'
        f'<p class="price">{escape(money.text(invoice["amount_due"], currency))}</p>'
        f'<p>Status: <strong id="status">{escape(invoice["status"])}</strong>, issued '
        f"{day_text(invoice['effective_at'])}</p>"
        f'<p><a href="/invoices/{invoice["id"]}/pdf">Download PDF</a></p></section>'
        '<section class="card"><div class="scroll"><table><thead><tr><th scope="col">Item</th>'
        '<th scope="col" class="number">Amount</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
        f"<dl>{totals}</dl>{_payment(invoice, problem)}</section></div>"
    )
    return layout.document(f"Invoice {invoice['number']}", body, 402 if problem else 200)


def _payment(invoice: Json, problem: str) -> str:
    if invoice["status"] != "open":
        return ""
    return (
        f'<h2>Pay this invoice</h2>{layout.alert(problem)}<form method="post">'
        f'{layout.card_fields(problem)}<button class="main-action">Pay</button></form>'
    )
