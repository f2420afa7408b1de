"""The customer portal: subscription, cards, invoices."""

from collections.abc import Callable
from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.dates import day_text
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.pages import layout
from billing_app.stripe_sandbox.pages.actions import desk_of, read_card, read_form
from billing_app.stripe_sandbox.resources import billing_details, portal_actions, tax_ids
from billing_app.stripe_sandbox.resources.subscription_items import items_of, period_end
from billing_app.stripe_sandbox.world import World

_KEPT_INVOICES = 24


def _find(request: Request) -> Json | None:
    session = desk_of(request).world.store.find(request.path_params["id"])
    usable = session is not None and session["object"] == "billing_portal.session"
    return session if usable else None


async def show(request: Request) -> Response:
    session = _find(request)
    if session is None:
        return layout.message("Customer portal", "This portal link is not valid.", 404)
    return _page(desk_of(request).world, session)


async def act(request: Request) -> Response:
    desk, session = desk_of(request), _find(request)
    if session is None:
        return layout.message("Customer portal", "This portal link is not valid.", 404)
    form = await read_form(request)
    problem = _carry_out(desk.world, session, form, desk.try_to)
    if problem:
        return _page(desk.world, session, problem)
    return RedirectResponse(f"/portal/{session['id']}", 303)


def _carry_out(
    world: World,
    session: Json,
    form: dict[str, str],
    try_to: Callable[[Callable[[], object]], str],
) -> str:
    subscription, method = form.get("subscription", ""), form.get("method", "")
    if form.get("action") == "add_card":
        card = read_card(form)
        if isinstance(card, str):
            return card
        expiry = (card.exp_month, card.exp_year)
        return try_to(lambda: portal_actions.add_card(world, session, card.number, expiry))
    steps: dict[str, Callable[[], object]] = {
        "cancel": lambda: portal_actions.cancel(world, session, subscription),
        "keep": lambda: portal_actions.keep(world, session, subscription),
        "change": lambda: portal_actions.change_plan(
            world, session, subscription, form.get("price", "")
        ),
        "default_card": lambda: portal_actions.make_default(world, session, method),
        "remove_card": lambda: portal_actions.remove_card(world, session, method),
        "update_customer": lambda: portal_actions.update_customer(
            world, session, billing_details.read(form)
        ),
        "remove_tax_id": lambda: portal_actions.remove_tax_id(
            world, session, form.get("tax_id", "")
        ),
    }
    step = steps.get(form.get("action", ""))
    return try_to(step) if step else "Unknown action."


def _page(world: World, session: Json, problem: str = "") -> Response:
    subscriptions = portal_actions.subscriptions_of(world, session)
    parts = "".join(_subscription(world, session, entry) for entry in subscriptions)
    back = ""
    if session["return_url"]:
        back = f'<p><a href="{escape(session["return_url"])}">Return to the service</a></p>'
    body = (
        f"{back}<h1>Your billing</h1>{layout.alert(problem)}"
        f"<h2>Subscriptions</h2>{parts or '<p>You have no subscription.</p>'}"
        f"{_cards(world, session)}{_billing_details(world, session)}{_invoices(world, session)}"
    )
    return layout.document("Customer portal", body, 402 if problem else 200)


def _price_text(world: World, price: Json) -> str:
    name = world.store.get(price["product"])["name"]
    recurring = price["recurring"]
    if price["unit_amount"] is None:
        return name
    return (
        f"{name}, {money.text(price['unit_amount'], price['currency'])} / {recurring['interval']}"
    )


def _subscription(world: World, session: Json, subscription: Json) -> str:
    names = " + ".join(_price_text(world, item["price"]) for item in items_of(subscription))
    hidden = layout.hidden(subscription=subscription["id"])
    return (
        f'<section class="card"><h3 style="margin:0">{escape(names)}</h3>'
        f"<p>{escape(_state_text(subscription))}</p>"
        f"{_change_form(world, session, subscription, hidden)}"
        f'<div class="actions">{_end_forms(world, session, subscription, hidden)}</div></section>'
    )


def _state_text(subscription: Json) -> str:
    end = day_text(period_end(subscription))
    if subscription["cancel_at"]:
        return f"Cancels on {day_text(subscription['cancel_at'])}."
    if subscription["schedule"]:
        return f"Changes at the end of the period, on {end}."
    states = {"trialing": f"Trial until {end}.", "past_due": "The last payment failed."}
    return states.get(subscription["status"], f"Renews on {end}. Status: {subscription['status']}.")


def _change_form(world: World, session: Json, subscription: Json, hidden: str) -> str:
    offered = portal_actions.offered_prices(world, session, subscription)
    if not offered or subscription["cancel_at"] or subscription["schedule"]:
        return ""
    identifier = f"price-{subscription['id']}"
    options = "".join(
        f'<option value="{escape(p["id"])}">{escape(_price_text(world, p))}</option>'
        for p in offered
    )
    return (
        f'<form method="post">{hidden}<label for="{identifier}">Change plan to</label>'
        f'<select id="{identifier}" name="price">{options}</select>'
        '<div class="actions"><button name="action" value="change">Change plan</button></div>'
        "</form>"
    )


def _end_forms(world: World, session: Json, subscription: Json, hidden: str) -> str:
    if subscription["cancel_at"] or subscription["schedule"]:
        return _button(hidden, "keep", "Keep my current plan")
    if portal_actions.features_of(world, session)["subscription_cancel"]["enabled"]:
        return _button(hidden, "cancel", "Cancel plan")
    return ""


def _button(hidden: str, action: str, text: str) -> str:
    return (
        f'<form method="post">{hidden}<button name="action" value="{action}">{text}</button></form>'
    )


def _cards(world: World, session: Json) -> str:
    if not portal_actions.features_of(world, session)["payment_method_update"]["enabled"]:
        return ""
    customer = world.store.get(session["customer"])
    default = customer["invoice_settings"]["default_payment_method"]
    rows = "".join(
        _card(method, is_default=method["id"] == default)
        for method in world.store.all("payment_method", lambda m: m["customer"] == customer["id"])
    )
    return (
        f'<h2>Payment methods</h2><section class="card">{rows or "<p>No card saved.</p>"}'
        '<details><summary>Add a card</summary><form method="post">'
        f'{layout.card_fields()}<div class="actions"><button name="action" value="add_card">'
        "Save card</button></div></form></details></section>"
    )


def _card(method: Json, *, is_default: bool) -> str:
    card = method["card"]
    expiry = f"{card['exp_month']:02d}/{card['exp_year']}"
    text = f"{card['brand'].title()} ending in {card['last4']}, {expiry}"
    hidden = layout.hidden(method=method["id"])
    mark = '<span class="good"> (default)</span>' if is_default else ""
    make = "" if is_default else _button(hidden, "default_card", "Make default")
    remove = _button(hidden, "remove_card", "Remove")
    buttons = f'<div class="actions">{make}{remove}</div>'
    return f'<div><p style="margin:0">{escape(text)}{mark}</p>{buttons}</div>'


def _billing_details(world: World, session: Json) -> str:
    takes_address = portal_actions.may_update(world, session, "address")
    takes_tax_id = portal_actions.may_update(world, session, "tax_id")
    if not takes_address and not takes_tax_id:
        return ""
    customer = world.store.get(session["customer"])
    fields = layout.address_fields(customer["address"] or {}, is_required=True)
    if takes_tax_id:
        fields += layout.text_field("tax_id", "Add a tax ID", "", "off")
    kept = "".join(
        f"<p>{escape(row['value'])}</p>"
        + _button(layout.hidden(tax_id=row["id"]), "remove_tax_id", "Remove tax ID")
        for row in tax_ids.of_customer(world, customer["id"])
    )
    return (
        f'<h2>Billing information</h2><section class="card">{kept}<form method="post">{fields}'
        '<div class="actions"><button name="action" value="update_customer">Save</button></div>'
        "</form></section>"
    )


def _invoices(world: World, session: Json) -> str:
    if not portal_actions.features_of(world, session)["invoice_history"]["enabled"]:
        return ""
    rows = [
        invoice
        for invoice in world.store.all("invoice", lambda i: i["customer"] == session["customer"])
        if invoice["number"]
    ][::-1][:_KEPT_INVOICES]
    body = "".join(
        f'<tr><td><a href="/invoices/{row["id"]}">{escape(row["number"])}</a></td>'
        f"<td>{day_text(row['created'])}</td><td>{escape(row['status'])}</td>"
        f'<td class="number">{escape(money.text(row["total"], row["currency"]))}</td></tr>'
        for row in rows
    )
    titles = ("Invoice", "Date", "Status")
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    head += '<th scope="col" class="number">Total</th>'
    return (
        '<h2>Invoices</h2><section class="card"><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )
