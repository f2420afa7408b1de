"""The hosted checkout page and the 3-D Secure challenge."""

from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.pages import layout
from billing_app.stripe_sandbox.pages.actions import desk_of, read_card, read_form
from billing_app.stripe_sandbox.resources import checkout, checkout_payment
from billing_app.stripe_sandbox.resources.checkout_payment import Outcome
from billing_app.stripe_sandbox.resources.payment_intent_routes import complete_challenge
from billing_app.stripe_sandbox.resources.setup_intents import complete_setup_challenge
from billing_app.stripe_sandbox.world import World

_VERBS = {"subscription": "Subscribe", "payment": "Pay", "setup": "Save card"}


async def show(request: Request) -> Response:
    session = desk_of(request).world.store.find(request.path_params["id"])
    if session is None or session["object"] != "checkout.session":
        return layout.message("Checkout", "This checkout session does not exist.", 404)
    return _page(session, form=_known_address(desk_of(request).world, session))


async def submit(request: Request) -> Response:
    desk, identifier = desk_of(request), request.path_params["id"]
    session = desk.world.store.find(identifier)
    if session is None:
        return layout.message("Checkout", "This checkout session does not exist.", 404)
    form = await read_form(request)
    if form.get("action") == "promotion":
        return _try_code(request, session, form.get("promotion_code", ""))
    card = read_card(form)
    if isinstance(card, str):
        return _page(session, card, form)
    outcome = desk.act(lambda: checkout_payment.submit(desk.world, identifier, card))
    return _go(request, outcome, form)


def _known_address(world: World, session: Json) -> dict[str, str]:
    """The customer's, as the form's values."""
    address = (world.store.find(session["customer"]) or {}).get("address") or {}
    return {name: value for name, value in address.items() if value}


def _try_code(request: Request, session: Json, code: str) -> Response:
    desk = desk_of(request)
    found = desk.act(lambda: checkout.use_promotion_code(desk.world, session["id"], code))
    fresh = desk.world.store.get(session["id"])
    return _page(fresh, "" if found else "This promotion code is not valid.")


async def come_back(request: Request) -> Response:
    desk, identifier = desk_of(request), request.path_params["id"]
    outcome = desk.act(lambda: checkout_payment.after_challenge(desk.world, identifier))
    return _go(request, outcome, {})


def _go(request: Request, outcome: Outcome, form: dict[str, str]) -> Response:
    session = desk_of(request).world.store.get(request.path_params["id"])
    if outcome.kind == "challenge":
        return RedirectResponse(f"{outcome.text}?session={session['id']}", 303)
    if outcome.kind == "declined":
        return _page(session, outcome.text, form)
    if session["status"] != "complete":
        return _page(session)
    url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return RedirectResponse(url, 303)


def _page(session: Json, problem: str = "", form: dict[str, str] | None = None) -> Response:
    if session["status"] != "open":
        text = {
            "complete": "You are all done here.",
            "expired": "This checkout session has expired.",
        }
        return layout.message("Checkout", text[session["status"]])
    status = 402 if problem else 200
    body = f'<div class="two">{_summary(session)}{_form(session, problem, form or {})}</div>'
    return layout.document("Checkout", body, status)


def _summary(session: Json) -> str:
    currency = session["currency"] or "usd"
    rows = "".join(
        layout.row(_row_text(entry), money.text(entry["amount_subtotal"], currency))
        for entry in session["_lines"]
    )
    details = session["total_details"] or {}
    if details.get("amount_discount"):
        rows += layout.row("Discount", money.text(-details["amount_discount"], currency))
    if details.get("amount_tax"):
        rows += layout.row("Tax", money.text(details["amount_tax"], currency))
    due = ""
    if session["mode"] != "setup":
        due = f'<p class="price">{escape(money.text(session["amount_total"], currency))}</p>'
    trial = "<p>Your trial is free; nothing is due today.</p>" if checkout.is_trial(session) else ""
    back = ""
    if session["cancel_url"]:
        back = f'<p><a href="{escape(session["cancel_url"])}">Go back without paying</a></p>'
    heading = "Save a card" if session["mode"] == "setup" else "Due today"
    code = _code_form(session)
    return f"<section><h1>{heading}</h1>{due}{trial}<dl>{rows}</dl>{code}{back}</section>"


def _code_form(session: Json) -> str:
    if not session["allow_promotion_codes"]:
        return ""
    return (
        '<form method="post"><label for="promotion_code">Promotion code</label>'
        '<input id="promotion_code" name="promotion_code" autocomplete="off">'
        '<div class="actions"><button name="action" value="promotion">Apply code</button>'
        "</div></form>"
    )


def _row_text(entry: Json) -> str:
    recurring = entry["price"]["recurring"]
    every = ""
    if recurring:
        count, interval = recurring["interval_count"], recurring["interval"]
        every = f" every {interval}" if count == 1 else f" every {count} {interval}s"
    quantity = entry["quantity"]
    many = f"{quantity} × " if quantity not in (None, 1) else ""  # noqa: RUF001
    return f"{many}{entry['description']}{every}"


def _form(session: Json, problem: str, form: dict[str, str]) -> str:
    name = escape(form.get("name", ""))
    email = form.get("email") or session["customer_email"] or ""
    ask_email = ""
    if session["customer"] is None:
        ask_email = (
            '<label for="email">Email</label><input id="email" name="email" type="email" '
            f'autocomplete="email" required value="{escape(email)}">'
        )
    ask_address = ""
    if asks_for_address(session):
        is_required = session["billing_address_collection"] == "required"
        ask_address = layout.address_fields(dict(form), is_required=is_required)
    return (
        '<section class="card"><h2 style="margin-top:0">Pay with card</h2>'
        f'{layout.alert(problem)}<form method="post">{ask_email}{layout.card_fields(problem)}'
        '<label for="name">Name on card</label>'
        f'<input id="name" name="name" autocomplete="cc-name" value="{name}">'
        f"{ask_address}{_tax_id_fields(session, form)}"
        f'<button class="main-action">{_VERBS[session["mode"]]}</button></form></section>'
    )


def asks_for_address(session: Json) -> bool:
    """`auto`: only where it is needed to compute a tax."""
    is_required = session["billing_address_collection"] == "required"
    return is_required or session["automatic_tax"]["enabled"]


def _tax_id_fields(session: Json, form: dict[str, str]) -> str:
    if not (session["tax_id_collection"] or {}).get("enabled"):
        return ""
    name, tax_id = form.get("business_name"), form.get("tax_id")
    return (
        "<details><summary>I'm purchasing as a business</summary>"
        + layout.text_field("business_name", "Business name", name, "organization")
        + layout.text_field("tax_id", "Tax ID", tax_id, "off")
        + "</details>"
    )


async def show_challenge(request: Request) -> Response:
    intent = desk_of(request).world.store.find(request.path_params["id"])
    if intent is None or intent["object"] not in ("payment_intent", "setup_intent"):
        return layout.message("3-D Secure", "There is nothing to confirm.", 404)
    if intent["status"] != "requires_action":
        return layout.message("3-D Secure", "There is nothing left to confirm.")
    amount = ""
    if intent["object"] == "payment_intent":
        amount = f" a payment of {money.text(intent['amount'], intent['currency'])}"
    session = layout.hidden(session=request.query_params.get("session", ""))
    body = (
        '<div class="card narrow"><h1>Confirm that it is you</h1>'
        f"<p>Confirm{escape(amount) or ' saving your card'} (3-D Secure test page).</p>"
        f'<form method="post">{session}'
        '<button class="main-action" name="result" value="approve">Complete</button>'
        '<div class="actions"><button name="result" value="fail">Fail</button></div></form></div>'
    )
    return layout.document("3-D Secure", body)


async def answer_challenge(request: Request) -> Response:
    desk, identifier = desk_of(request), request.path_params["id"]
    form = await read_form(request)
    intent = desk.world.store.find(identifier)
    if intent is None:
        return layout.message("3-D Secure", "There is nothing to confirm.", 404)
    finish = (
        complete_challenge if intent["object"] == "payment_intent" else complete_setup_challenge
    )
    passed = form.get("result") == "approve"
    desk.act(lambda: finish(desk.world, identifier, passed=passed))
    if form.get("session"):
        return RedirectResponse(f"/checkout/{form['session']}/return", 303)
    target = desk.world.store.get(identifier).get("_return_url")
    if target:
        return RedirectResponse(target, 303)
    return layout.message("3-D Secure", "Confirmed." if passed else "Not confirmed.")
