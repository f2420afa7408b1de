"""Every call of the sandbox, made with the real SDK; each answer fits the SDK's classes."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from billing_app.stripe_sandbox import resources
from billing_app.stripe_sandbox.registry import ROUTES
from tests.stripe_sandbox.factories import customer, data, price, subscribe
from tests.stripe_sandbox.running import Sandbox

assert resources


def test_customers(client: StripeClient) -> None:
    made = client.v1.customers.create({"email": "a@b.co", "metadata": {"u": "1", "v": "2"}})
    assert data(made.metadata) == {"u": "1", "v": "2"}
    changed = client.v1.customers.update(made.id, {"name": "B", "metadata": {"u": ""}})
    assert (changed.name, data(changed.metadata)) == ("B", {"v": "2"})
    expanded = client.v1.customers.retrieve(
        made.id, {"expand": ["subscriptions", "sources", "tax_ids"]}
    )
    assert expanded.subscriptions is not None
    client.v1.customers.balance_transactions.create(made.id, {"amount": -500, "currency": "usd"})
    assert client.v1.customers.retrieve(made.id).balance == -500
    assert len(client.v1.customers.balance_transactions.list(made.id).data) == 1
    assert client.v1.customers.delete(made.id).deleted
    assert client.v1.customers.retrieve(made.id).deleted


def test_catalog(client: StripeClient) -> None:
    product = client.v1.products.create({"name": "Pro", "metadata": {"k": "v"}})
    key = f"pro-{time.time_ns()}"
    made = client.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 2000,
            "recurring": {"interval": "month"},
            "lookup_key": key,
        }
    )
    assert client.v1.prices.list({"lookup_keys": [key]}).data[0].id == made.id
    assert client.v1.prices.update(made.id, {"nickname": "n"}).nickname == "n"
    assert client.v1.products.update(product.id, {"name": "Pro 2"}).name == "Pro 2"
    assert product.id in [p.id for p in client.v1.products.list({"active": True}).data]
    loose = client.v1.products.create({"name": "Unused"})
    assert client.v1.products.delete(loose.id).deleted


def test_coupons(client: StripeClient) -> None:
    coupon = client.v1.coupons.create({"percent_off": 20, "duration": "once"})
    code = client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": f"C{time.time_ns()}"}
    )
    assert client.v1.promotion_codes.list({"code": code.code}).data[0].id == code.id
    assert client.v1.coupons.update(coupon.id, {"name": "Twenty"}).name == "Twenty"
    assert client.v1.promotion_codes.update(code.id, {"active": False}).active is False
    assert client.v1.coupons.list().data
    assert client.v1.coupons.delete(coupon.id).deleted


def test_tax_ids(client: StripeClient) -> None:
    who, tax_ids = customer(client), client.v1.customers.tax_ids
    made = tax_ids.create(who, {"type": "eu_vat", "value": "de 123456789"})
    assert (made.country, made.value) == ("DE", "DE123456789")
    assert tax_ids.retrieve(who, made.id).id == made.id
    expanded = client.v1.customers.retrieve(who, {"expand": ["tax_ids"]})
    assert [row.id for row in expanded.tax_ids.data] == [made.id]  # pyright: ignore[reportOptionalMemberAccess]
    assert tax_ids.delete(who, made.id).deleted
    assert tax_ids.list(who).data == []
    with pytest.raises(stripe.InvalidRequestError) as refused:
        tax_ids.create(who, {"type": "eu_vat", "value": "!"})
    assert refused.value.code == "tax_id_invalid"


def test_payment_methods(client: StripeClient) -> None:
    who = customer(client, card=None)
    card: Any = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    method = client.v1.payment_methods.create({"type": "card", "card": card})
    assert method.card is not None
    assert (method.card.brand, method.card.last4) == ("visa", "4242")
    client.v1.payment_methods.attach(method.id, {"customer": who})
    assert client.v1.customers.payment_methods.list(who).data[0].id == method.id
    assert client.v1.customers.payment_methods.retrieve(who, method.id).id == method.id
    assert client.v1.payment_methods.list({"customer": who, "type": "card"}).data
    billing: Any = {"billing_details": {"name": "Ada"}}
    assert client.v1.payment_methods.update(method.id, billing).billing_details.name == "Ada"
    assert client.v1.payment_methods.detach(method.id).customer is None


def test_intents_charges_refunds(client: StripeClient) -> None:
    who = customer(client)
    card = client.v1.customers.payment_methods.list(who).data[0].id
    made = client.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "usd",
            "customer": who,
            "payment_method": card,
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
    )
    assert made.status == "succeeded"
    charge = client.v1.charges.retrieve(str(made.latest_charge), {"expand": ["refunds"]})
    assert charge.paid
    part = client.v1.refunds.create({"payment_intent": made.id, "amount": 300})
    assert part.status == "succeeded"
    rest = client.v1.refunds.create({"charge": charge.id})
    assert rest.amount == 700
    assert client.v1.charges.retrieve(charge.id).refunded
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"
    assert len(client.v1.refunds.list({"charge": charge.id}).data) == 2
    waiting = client.v1.payment_intents.create({"amount": 900, "currency": "usd"})
    assert client.v1.payment_intents.cancel(waiting.id).status == "canceled"
    assert client.v1.payment_intents.list({"customer": who}).data[0].id == made.id
    assert client.v1.charges.list({"customer": who}).data[0].id == charge.id


def test_setup_intents(client: StripeClient) -> None:
    who = customer(client, card=None)
    intent = client.v1.setup_intents.create({"customer": who, "usage": "off_session"})
    done = client.v1.setup_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert done.status == "succeeded"
    assert client.v1.customers.payment_methods.list(who).data
    other = client.v1.setup_intents.create({"customer": who})
    assert client.v1.setup_intents.cancel(other.id).status == "canceled"
    assert client.v1.setup_intents.list({"customer": who}).data


def test_disputes(client: StripeClient, sandbox: Sandbox) -> None:
    who = customer(client)
    card = client.v1.customers.payment_methods.list(who).data[0].id
    paid = client.v1.payment_intents.create(
        {"amount": 700, "currency": "usd", "customer": who, "payment_method": card, "confirm": True}
    )
    made = sandbox.control("disputes", charge=paid.latest_charge, reason="fraudulent")
    assert client.v1.disputes.retrieve(made["id"]).status == "needs_response"
    assert client.v1.charges.retrieve(str(paid.latest_charge)).disputed
    evidence: Any = {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    assert client.v1.disputes.update(made["id"], evidence).status == "won"
    assert client.v1.disputes.list({"charge": str(paid.latest_charge)}).data
    by_card = customer(client, card="pm_card_createDispute")
    method = client.v1.customers.payment_methods.list(by_card).data[0].id
    params = {"amount": 800, "currency": "usd", "customer": by_card, "payment_method": method}
    lost = client.v1.payment_intents.create({**params, "confirm": True})  # type: ignore[arg-type]
    dispute = client.v1.disputes.list({"payment_intent": lost.id}).data[0]
    assert client.v1.disputes.close(dispute.id).status == "lost"


def test_manual_invoices(client: StripeClient) -> None:
    who = customer(client)
    item = client.v1.invoice_items.create(
        {"customer": who, "amount": 1500, "currency": "usd", "description": "Work"}
    )
    assert client.v1.invoice_items.retrieve(item.id).amount == 1500
    assert client.v1.invoice_items.list({"customer": who, "pending": True}).data
    draft = client.v1.invoices.create(
        {"customer": who, "pending_invoice_items_behavior": "include", "auto_advance": False}
    )
    assert (draft.status, draft.total) == ("draft", 1500)
    opened = client.v1.invoices.finalize_invoice(
        draft.id, {"expand": ["payments", "confirmation_secret"]}
    )
    assert (opened.status, opened.amount_due) == ("open", 1500)
    assert opened.hosted_invoice_url
    assert opened.invoice_pdf
    paid = client.v1.invoices.pay(draft.id)
    assert (paid.status, paid.amount_paid) == ("paid", 1500)
    assert client.v1.invoices.line_items.list(draft.id).data[0].amount == 1500
    payment = client.v1.invoice_payments.list({"invoice": draft.id}).data[0]
    assert client.v1.invoice_payments.retrieve(payment.id).status == "paid"


def test_voiding_and_writing_off_invoices(client: StripeClient) -> None:
    who = customer(client)
    for action in ("void_invoice", "mark_uncollectible"):
        client.v1.invoice_items.create({"customer": who, "amount": 900, "currency": "usd"})
        draft = client.v1.invoices.create(
            {"customer": who, "pending_invoice_items_behavior": "include"}
        )
        client.v1.invoices.update(draft.id, {"description": "d"})
        client.v1.invoices.finalize_invoice(draft.id)
        closed = getattr(client.v1.invoices, action)(draft.id)
        assert closed.status == {"void_invoice": "void"}.get(action, "uncollectible")
    empty = client.v1.invoices.create({"customer": who})
    assert client.v1.invoices.delete(empty.id).deleted


def test_subscriptions(client: StripeClient) -> None:
    who, monthly = customer(client), price(client, 2000)
    made = subscribe(client, who, monthly.id, expand=["latest_invoice.payments", "customer"])
    assert made.status == "active"
    assert client.v1.subscriptions.list({"customer": who}).data[0].id == made.id
    assert client.v1.subscription_items.list({"subscription": made.id}).data
    client.v1.subscriptions.update(made.id, {"metadata": {"a": "b"}, "description": "d"})
    ending = client.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    assert ending.cancel_at_period_end
    back = client.v1.subscriptions.update(made.id, {"cancel_at_period_end": False})
    assert back.cancel_at is None
    paused = client.v1.subscriptions.update(made.id, {"pause_collection": {"behavior": "void"}})
    assert paused.pause_collection is not None
    assert client.v1.subscriptions.cancel(made.id).status == "canceled"
    assert client.v1.subscriptions.list({"customer": who}).data == []
    assert client.v1.subscriptions.list({"customer": who, "status": "all"}).data


def test_portal_and_checkout(client: StripeClient) -> None:
    who, monthly = customer(client), price(client, 2000)
    configuration = client.v1.billing_portal.configurations.create(
        {"features": {"invoice_history": {"enabled": True}}}
    )
    client.v1.billing_portal.configurations.update(configuration.id, {"name": "Mine"})
    assert client.v1.billing_portal.configurations.retrieve(configuration.id).name == "Mine"
    assert client.v1.billing_portal.configurations.list().data
    session = client.v1.billing_portal.sessions.create(
        {"customer": who, "return_url": "http://127.0.0.1/", "configuration": configuration.id}
    )
    assert session.url
    checkout = client.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": who,
            "line_items": [{"price": monthly.id, "quantity": 1}],
            "success_url": "http://127.0.0.1/ok",
        }
    )
    assert checkout.amount_total == 2000
    assert client.v1.checkout.sessions.line_items.list(checkout.id).data[0].amount_total == 2000
    expanded = client.v1.checkout.sessions.retrieve(checkout.id, {"expand": ["line_items"]})
    assert expanded.line_items is not None
    assert client.v1.checkout.sessions.list({"customer": who, "status": "open"}).data
    assert client.v1.checkout.sessions.expire(checkout.id).status == "expired"


def test_metered_usage(client: StripeClient) -> None:
    who, name = customer(client), f"runs_{time.time_ns()}"
    meter = client.v1.billing.meters.create(
        {"display_name": "Runs", "event_name": name, "default_aggregation": {"formula": "sum"}}
    )
    event = {"event_name": name, "payload": {"stripe_customer_id": who, "value": "3"}}
    client.v1.billing.meter_events.create({**event, "identifier": f"{name}-1"})  # type: ignore[arg-type]
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier") as again:
        client.v1.billing.meter_events.create({**event, "identifier": f"{name}-1"})  # type: ignore[arg-type]
    assert again.value.code is None
    with pytest.raises(stripe.InvalidRequestError, match="minute boundaries"):
        client.v1.billing.meters.event_summaries.list(
            meter.id, {"customer": who, "start_time": 60, "end_time": 121}
        )
    now = int(time.time()) // 60 * 60
    summary = client.v1.billing.meters.event_summaries.list(
        meter.id, {"customer": who, "start_time": now - 60, "end_time": now + 60}
    )
    assert summary.data[0].aggregated_value == 3
    assert client.v1.billing.meters.list({"status": "active"}).data


def test_clocks_events_endpoints(client: StripeClient) -> None:
    clock = client.v1.test_helpers.test_clocks.create({"frozen_time": int(time.time())})
    customer(client, on=clock.id)
    assert client.v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready"
    assert client.v1.test_helpers.test_clocks.list().data
    assert client.v1.test_helpers.test_clocks.delete(clock.id).deleted
    endpoint = client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/x", "enabled_events": ["invoice.paid"]}
    )
    assert endpoint.secret
    assert getattr(client.v1.webhook_endpoints.retrieve(endpoint.id), "secret", None) is None
    client.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    assert client.v1.webhook_endpoints.list().data
    assert client.v1.webhook_endpoints.delete(endpoint.id).deleted
    event = client.v1.events.list({"limit": 1}).data[0]
    assert client.v1.events.retrieve(event.id).id == event.id
    assert client.v1.events.list({"types": ["customer.created"]}).data


async def test_async_client(sandbox: Sandbox) -> None:
    client = sandbox.client(http_client=stripe.HTTPXClient())
    made = await client.v1.customers.create_async({"email": "async@b.co"})
    found = await client.v1.customers.retrieve_async(made.id)
    assert found.email == "async@b.co"


Refusal = tuple[Callable[[StripeClient], object], type[stripe.StripeError], str | None, int]
REFUSALS: dict[str, Refusal] = {
    "unknown object": (
        lambda c: c.v1.customers.retrieve("cus_nope"),
        stripe.InvalidRequestError, "resource_missing", 404,
    ),
    "unknown parameter": (
        lambda c: c.v1.customers.create({"foo": "bar"}),  # type: ignore[typeddict-unknown-key]
        stripe.InvalidRequestError, "parameter_unknown", 400,
    ),
    "missing parameter": (
        lambda c: c.v1.prices.create({}),  # type: ignore[typeddict-item]
        stripe.InvalidRequestError, "parameter_missing", 400,
    ),
    "old anchor format": (
        lambda c: c.v1.subscriptions.update("sub_x", {"billing_cycle_anchor": "now"}),  # type: ignore[typeddict-item]
        stripe.InvalidRequestError, None, 400,
    ),
    "unknown address": (
        lambda c: c.raw_request("get", "/v1/unicorns"),
        stripe.InvalidRequestError, None, 404,
    ),
}  # fmt: skip


@pytest.mark.breaks_contract
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(client: StripeClient, name: str) -> None:
    call, error, code, status = REFUSALS[name]
    with pytest.raises(error) as refused:
        call(client)
    assert refused.value.http_status == status
    assert refused.value.code == code
    assert refused.value.request_id


@pytest.mark.breaks_contract
def test_bad_requests_are_recorded(client: StripeClient, sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"foo": "bar"})  # type: ignore[typeddict-unknown-key]
    assert "unknown parameter: foo" in sandbox.take_violations()[0]["problem"]


def test_invalid_keys_are_refused(sandbox: Sandbox) -> None:
    addresses: Any = {"api": sandbox.url}
    for key in ("bad", "pk_test_1"):
        with pytest.raises(stripe.AuthenticationError):
            StripeClient(key, base_addresses=addresses).v1.customers.list()


@pytest.mark.breaks_contract
def test_live_keys_are_refused_and_recorded(sandbox: Sandbox) -> None:
    addresses: Any = {"api": sandbox.url}
    with pytest.raises(stripe.AuthenticationError) as refused:
        StripeClient("sk_live_secretsecret", base_addresses=addresses).v1.customers.list()
    assert "secretsecret" not in str(refused.value)
    assert sandbox.take_violations()[0]["problem"] == "a live key was sent"


def test_account_of_the_key(client: StripeClient) -> None:
    account = client.v1.accounts.retrieve_current()
    assert account.id.startswith("acct_")
    assert client.v1.accounts.retrieve_current().id == account.id


def test_all_routes_are_registered() -> None:
    assert len(ROUTES) > 110
