"""The pages as a browser without scripts uses them: checkout, 3-D Secure, portal, invoices."""

import re
import shutil
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox.factories import (
    DAY,
    HOUR,
    JAN_31,
    advance,
    clock,
    customer,
    price,
    subscribe,
    totals,
    use_card,
)
from tests.stripe_sandbox.running import Sandbox

GOOD, DECLINED, CHALLENGED, POOR = (
    "4242 4242 4242 4242",
    "4000 0000 0000 0002",
    "4000 0000 0000 3220",
    "4000 0000 0000 9995",
)


def checkout(client: StripeClient, what: str | None, **more: Any) -> stripe.checkout.Session:
    params: Any = {
        "mode": "subscription",
        "success_url": "http://127.0.0.1:9/ok?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1:9/no",
        **more,
    }
    if what:
        params["line_items"] = [{"price": what, "quantity": 1}]
    return client.v1.checkout.sessions.create(params)


def type_card(url: str, number: str, **more: str) -> httpx.Response:
    form = {"number": number, "expiry": "12 / 34", "cvc": "123", "name": "Ada", **more}
    return httpx.post(url, data=form)


def reload(client: StripeClient, session: stripe.checkout.Session) -> stripe.checkout.Session:
    return client.v1.checkout.sessions.retrieve(session.id)


def test_checkout_page_is_labelled_as_a_sandbox(client: StripeClient) -> None:
    session = checkout(client, price(client, 2000, name="Pro <b>").id, customer=customer(client))
    page = httpx.get(str(session.url))
    assert page.status_code == 200
    for text in ("Stripe sandbox", "no real money", "$20.00", "Pro &lt;b&gt;", 'lang="en"',
                 "prefers-color-scheme:dark", 'autocomplete="cc-number"'):  # fmt: skip
        assert text in page.text
    labels = set(re.findall(r'<label for="(\w+)"', page.text))
    assert {"number", "expiry", "cvc", "name"} <= labels


def test_checkout_asks_leave_to_save_name_and_address(client: StripeClient) -> None:
    """Stripe's own sentences, as people report them."""
    who, what = customer(client), price(client, 2000).id
    for more, sentence in (
        ({"tax_id_collection": {"enabled": True}}, r"set `customer_update\[name\]` to `auto`"),
        ({"automatic_tax": {"enabled": True}}, "requires a valid address on the Customer"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=sentence):
            checkout(client, what, customer=who, **more)


def test_checkout_adds_the_tax_of_the_country(client: StripeClient) -> None:
    session = checkout(
        client,
        price(client, 2000).id,
        customer=customer(client, card=None),
        automatic_tax={"enabled": True},
        customer_update={"address": "auto"},
    )
    assert (session.amount_total, session.automatic_tax.status) == (
        2_000,
        "requires_location_inputs",
    )
    assert type_card(str(session.url), GOOD).status_code == 402
    assert type_card(str(session.url), GOOD, country="GB", line1="1 Strand").status_code == 303
    after = reload(client, session)
    assert after.total_details is not None
    assert (after.amount_total, after.total_details.amount_tax) == (2_400, 400)
    invoice = client.v1.invoices.retrieve(str(after.invoice))
    assert (invoice.total, invoice.total_excluding_tax, invoice.amount_paid) == (
        2_400,
        2_000,
        2_400,
    )
    (line,) = invoice.lines.data
    assert [(tax.amount, tax.taxable_amount) for tax in line.taxes or []] == [(400, 2_000)]


def test_checkout_pays_a_subscription(client: StripeClient) -> None:
    who = customer(client, card=None)
    session = checkout(
        client,
        price(client, 2000).id,
        customer=who,
        client_reference_id="acc_1",
        metadata={"a": "b"},
        subscription_data={"metadata": {"account": "acc_1"}},
    )
    done = type_card(str(session.url), GOOD)
    assert done.status_code == 303
    assert done.headers["location"] == f"http://127.0.0.1:9/ok?session={session.id}"
    after = reload(client, session)
    assert (after.status, after.payment_status, after.url) == ("complete", "paid", None)
    made = client.v1.subscriptions.retrieve(str(after.subscription))
    assert (made.status, made.metadata["account"]) == ("active", "acc_1")
    assert made.latest_invoice == after.invoice
    assert made.default_payment_method is not None
    assert totals(client, who).paid == 2000
    assert "all done" in httpx.get(f"{session.url}").text


@pytest.mark.parametrize(("number", "message"), [(DECLINED, "declined"), (POOR, "insufficient")])
def test_declined_checkout_leaves_nothing_open(
    client: StripeClient, number: str, message: str
) -> None:
    who = customer(client, card=None)
    session = checkout(client, price(client, 2000).id, customer=who)
    refused = type_card(str(session.url), number)
    assert refused.status_code == 402
    assert message in refused.text
    assert 'role="alert"' in refused.text
    assert client.v1.subscriptions.list({"customer": who, "status": "all"}).data == []
    assert client.v1.invoices.list({"customer": who}).data == []
    assert reload(client, session).status == "open"
    assert [c.status for c in client.v1.charges.list({"customer": who}).data] == ["failed"]
    assert type_card(str(session.url), GOOD).status_code == 303
    assert totals(client, who).paid == 2000
    assert len(client.v1.subscriptions.list({"customer": who, "status": "all"}).data) == 1


def challenge(response: httpx.Response, base: str, result: str) -> httpx.Response:
    url = response.headers["location"]
    assert "Complete" in httpx.get(url).text
    session = url.partition("session=")[2]
    back = httpx.post(url.partition("?")[0], data={"result": result, "session": session})
    return httpx.get(base + back.headers["location"])


def test_three_d_secure_approved(client: StripeClient, sandbox: Sandbox) -> None:
    who = customer(client, card=None)
    session = checkout(client, price(client, 2000).id, customer=who)
    waiting = type_card(str(session.url), CHALLENGED)
    assert client.v1.subscriptions.list({"customer": who}).data[0].status == "incomplete"
    done = challenge(waiting, sandbox.url, "approve")
    assert done.status_code == 303
    assert client.v1.subscriptions.list({"customer": who}).data[0].status == "active"
    assert client.v1.customers.payment_methods.list(who).data
    assert reload(client, session).status == "complete"


def test_three_d_secure_failed(client: StripeClient, sandbox: Sandbox) -> None:
    who = customer(client, card=None)
    session = checkout(client, price(client, 2000).id, customer=who)
    refused = challenge(type_card(str(session.url), CHALLENGED), sandbox.url, "fail")
    assert refused.status_code == 402
    assert "unable to authenticate" in refused.text
    assert [i.status for i in client.v1.invoices.list({"customer": who}).data] == ["void"]
    ended = client.v1.subscriptions.list({"customer": who, "status": "all"}).data
    assert [row.status for row in ended] == ["incomplete_expired"]
    assert type_card(str(session.url), GOOD).status_code == 303
    assert totals(client, who).paid == 2000


def test_new_customer_and_promotion_code(client: StripeClient) -> None:
    coupon = client.v1.coupons.create({"percent_off": 50, "duration": "once"})
    code = client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    session = checkout(client, price(client, 3000).id, allow_promotion_codes=True)
    wrong = {"action": "promotion", "promotion_code": "NOPE"}
    assert "not valid" in httpx.post(str(session.url), data=wrong).text
    right = {"action": "promotion", "promotion_code": code.code.lower()}
    assert "$15.00" in httpx.post(str(session.url), data=right).text
    type_card(str(session.url), GOOD, email="new@x.co")
    after = reload(client, session)
    assert after.customer_details is not None
    assert (after.customer_details.email, after.amount_total) == ("new@x.co", 1500)
    assert totals(client, str(after.customer)).paid == 1500


def test_trial_saves_the_card(client: StripeClient) -> None:
    who = customer(client, card=None)
    session = checkout(
        client, price(client, 2000).id, customer=who, subscription_data={"trial_period_days": 7}
    )
    assert "nothing is due today" in httpx.get(str(session.url)).text
    type_card(str(session.url), GOOD)
    after = reload(client, session)
    assert after.payment_status == "no_payment_required"
    assert client.v1.subscriptions.retrieve(str(after.subscription)).status == "trialing"
    assert totals(client, who).paid == 0


def test_setup_mode(client: StripeClient) -> None:
    who = customer(client, card=None)
    session = checkout(client, None, mode="setup", customer=who, currency="usd")
    assert type_card(str(session.url), DECLINED).status_code == 402
    type_card(str(session.url), GOOD)
    after = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert isinstance(after.setup_intent, stripe.SetupIntent)
    assert after.setup_intent.status == "succeeded"
    assert client.v1.customers.payment_methods.list(who).data


def test_payment_mode_with_invoice(client: StripeClient) -> None:
    who = customer(client, card=None)
    pack = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 4900, "product_data": {"name": "Pack"}}
    )
    session = checkout(
        client,
        pack.id,
        mode="payment",
        customer=who,
        invoice_creation={"enabled": True},
        payment_intent_data={"metadata": {"pack": "1"}, "setup_future_usage": "off_session"},
    )
    type_card(str(session.url), GOOD)
    after = client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent", "invoice.payments"]}
    )
    assert isinstance(after.payment_intent, stripe.PaymentIntent)
    assert after.payment_intent.metadata["pack"] == "1"
    assert isinstance(after.invoice, stripe.Invoice)
    assert (after.invoice.status, after.invoice.amount_paid) == ("paid", 4900)
    assert len(client.v1.charges.list({"customer": who}).data) == 1
    assert client.v1.customers.payment_methods.list(who).data


@pytest.mark.parametrize(
    ("number", "expiry"),
    [("4242 4242 4242 4241", "12/34"), ("4242424242424242", "12/20"), ("", "12/34"), ("4", "x")],
)
def test_invalid_card_input_is_refused(client: StripeClient, number: str, expiry: str) -> None:
    who = customer(client, card=None)
    session = checkout(client, price(client, 2000).id, customer=who)
    refused = httpx.post(str(session.url), data={"number": number, "expiry": expiry, "cvc": "1"})
    assert refused.status_code == 402
    assert client.v1.subscriptions.list({"customer": who, "status": "all"}).data == []


def test_expired_session(client: StripeClient) -> None:
    session = checkout(client, price(client, 2000).id, customer=customer(client))
    client.v1.checkout.sessions.expire(session.id)
    assert "expired" in type_card(f"{session.url}", GOOD).text
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.expire(session.id)


def test_session_expires_by_itself(client: StripeClient) -> None:
    watch = clock(client)
    session = checkout(client, price(client, 2000).id, customer=customer(client, on=watch))
    advance(client, watch, JAN_31 + DAY)
    assert reload(client, session).status == "expired"


def test_hosted_invoice_and_pdf(client: StripeClient) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_chargeCustomerFail")
    advance(client, watch, made["items"].data[0].current_period_end + HOUR)
    invoice = client.v1.invoices.list({"customer": who}).data[0]
    url = str(invoice.hosted_invoice_url)
    assert "Pay this invoice" in httpx.get(url).text
    assert type_card(url, DECLINED).status_code == 402
    assert "declined" in type_card(url, DECLINED).text
    paid = type_card(url, GOOD)
    assert '<strong id="status">paid</strong>' in paid.text
    assert client.v1.subscriptions.retrieve(made.id).status == "active"
    pdf = httpx.get(str(invoice.invoice_pdf))
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-1.4")
    assert str(invoice.number).encode() in pdf.content


def portal(client: StripeClient, who: str, **more: Any) -> str:
    params: Any = {"customer": who, "return_url": "http://127.0.0.1:9/back", **more}
    return client.v1.billing_portal.sessions.create(params).url


def test_portal(client: StripeClient) -> None:
    who = customer(client)
    made = subscribe(client, who, price(client, 1000, name="Small").id)
    bigger = price(client, 2500, name="Bigger")
    url = portal(client, who)
    assert "Small" in httpx.get(url).text
    chosen = {"subscription": made.id}
    httpx.post(url, data={**chosen, "action": "cancel"})
    assert client.v1.subscriptions.retrieve(made.id).cancel_at_period_end
    httpx.post(url, data={**chosen, "action": "keep"})
    assert client.v1.subscriptions.retrieve(made.id).cancel_at is None
    httpx.post(url, data={**chosen, "action": "change", "price": bigger.id})
    changed = client.v1.subscriptions.retrieve(made.id)
    assert changed["items"].data[0].price.id == bigger.id
    new_card = {"action": "add_card", "number": "5555 5555 5555 4444", "expiry": "11/39"}
    assert httpx.post(url, data=new_card).status_code == 303
    default = client.v1.customers.retrieve(
        who, {"expand": ["invoice_settings.default_payment_method"]}
    )
    assert default.invoice_settings is not None
    method = default.invoice_settings.default_payment_method
    assert isinstance(method, stripe.PaymentMethod)
    assert method.card is not None
    assert method.card.brand == "mastercard"
    page = httpx.get(url).text
    assert "Mastercard ending in 4444" in page
    assert page.count("/invoices/in_") == 2


def test_portal_refuses_another_customers_subscription(client: StripeClient) -> None:
    mine, other = customer(client), customer(client)
    foreign = subscribe(client, other, price(client, 1000).id)
    url = portal(client, mine)
    refused = httpx.post(url, data={"subscription": foreign.id, "action": "cancel"})
    assert refused.status_code == 402
    assert not client.v1.subscriptions.retrieve(foreign.id).cancel_at_period_end


def test_portal_downgrade_waits_for_the_period_end(client: StripeClient) -> None:
    who = customer(client)
    big, small = price(client, 5000), price(client, 1000)
    made = subscribe(client, who, big.id)
    features: Any = {
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "products": [{"product": small.product, "prices": [small.id]}],
            "proration_behavior": "always_invoice",
            "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
        }
    }
    configuration = client.v1.billing_portal.configurations.create({"features": features})
    url = portal(client, who, configuration=configuration.id)
    httpx.post(url, data={"subscription": made.id, "action": "change", "price": small.id})
    waiting = client.v1.subscriptions.retrieve(made.id)
    assert waiting["items"].data[0].price.id == big.id
    assert waiting.schedule is not None
    assert client.v1.invoices.create_preview({"subscription": made.id}).amount_due == 1000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_paying_in_a_browser(
    client: StripeClient, sandbox: Sandbox, scheme: Any, width: int
) -> None:
    from playwright.sync_api import sync_playwright

    who = customer(client, card=None)
    success = f"{sandbox.url}/?session={{CHECKOUT_SESSION_ID}}"
    session = checkout(client, price(client, 2000).id, customer=who, success_url=success)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        page.goto(str(session.url))
        page.get_by_label("Card number").fill("4000000000003220")
        page.get_by_label("Expires").fill("12 / 34")
        page.get_by_label("Security code").fill("123")
        wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        page.get_by_role("button", name="Subscribe").click()
        page.get_by_role("button", name="Complete").click()
        page.wait_for_url("**/?session=cs_test_*")
        browser.close()
    assert not wide
    assert reload(client, session).status == "complete"
