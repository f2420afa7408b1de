"""`POST /billing/webhooks/stripe` over real HTTP: signatures, bad bodies, durability, order."""

import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import pytest

from tests.payments.billing_harness import SECRET
from tests.payments.storefront import WEBHOOKS, Shop, at_once, event_body, problem

STALE_SECONDS = 301


def sign(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    stamp = int(time.time() if at is None else at)
    signed = f"{stamp}.".encode() + body
    return f"t={stamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def send(shop: Shop, body: bytes, signature: str | None) -> httpx.Response:
    headers = {"content-type": "application/json"}
    if signature is not None:
        headers["stripe-signature"] = signature
    return httpx.post(shop.server.url + WEBHOOKS, content=body, headers=headers, timeout=30)


def refused(shop: Shop, body: bytes, signature: str | None) -> None:
    """400, in the log, and nothing stored."""
    (stored,) = shop.rows("SELECT count(*) FROM webhook_events")
    lines = shop.log().count("webhook_refused")
    problem(send(shop, body, signature), 400, "invalid_signature")
    assert shop.log().count("webhook_refused") == lines + 1
    assert shop.rows("SELECT count(*) FROM webhook_events") == [stored]
    assert SECRET not in shop.log()


@pytest.fixture
def body() -> bytes:
    return json.dumps(event_body()).encode()


def test_signatures_that_are_not_ours(shop: Shop, body: bytes) -> None:
    right = sign(body)
    refused(shop, body, None)
    refused(shop, body, "")
    refused(shop, body, "nonsense")
    refused(shop, body, "t=,v1=")
    refused(shop, body, right.replace("v1=", "v0="))
    refused(shop, body, sign(body, "whsec_wrong"))
    refused(shop, body, sign(body, at=time.time() - STALE_SECONDS))
    refused(shop, body.replace(b"plan_1", b"plan_2"), right)
    refused(shop, body + b" ", right)
    refused(shop, b"\xff\xfe", sign(b"\xff\xfe"))
    assert send(shop, body, right).status_code == 200


def test_one_of_several_signatures_is_enough(shop: Shop, body: bytes) -> None:
    """While a secret is rolled, Stripe signs with both (docs.stripe.com/webhooks/signature)."""
    old, new = sign(body, "whsec_old"), sign(body)
    assert send(shop, body, f"{old},v1={new.partition('v1=')[2]}").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": 7},
        {"id": ""},
        {"id": "evt_" + "x" * 300},
        {"id": "evt_\u0000"},
        {"type": None},
        {"type": "x" * 300},
        {"created": None},
        {"created": "soon"},
        {"created": 10**30},
        {"created": True},
        {"data": None},
        {"data": {"object": []}},
        {"data": {"object": {"id": "x" * 300}}},
        {"data": {"object": {"customer": "x" * 300}}},
        {"data": {"object": {"id": "a", "customer": ["cus_1"]}}},
    ],
)
def test_signed_bodies_that_are_no_events(shop: Shop, change: dict[str, Any]) -> None:
    told = json.dumps(event_body(**change)).encode()
    refused(shop, told, sign(told))


@pytest.mark.parametrize(
    "told", [b"", b"{", b"[]", b"null", b'"evt_1"', b"7", b"[" * 5_000, b'{"a": "\\ud800"}']
)
def test_signed_bodies_that_are_not_even_objects(shop: Shop, told: bytes) -> None:
    refused(shop, told, sign(told))


def test_what_postgresql_cannot_keep_is_kept_in_other_words(shop: Shop) -> None:
    told = event_body(data={"object": {"id": "a", "metadata": {"a": "x\u0000", "b": "\U0001f600"}}})
    body = json.dumps(told).encode()
    assert send(shop, body, sign(body)).status_code == 200
    ((payload,),) = shop.rows("SELECT payload FROM webhook_events WHERE id = %s", told["id"])
    assert payload["data"]["object"]["metadata"] == {"a": "x\ufffd", "b": "\U0001f600"}


def test_too_long_bodies(shop: Shop) -> None:
    told = json.dumps(event_body(more="x" * 1_000_001)).encode()
    problem(send(shop, told, sign(told)), 413, "body_too_large")


def test_other_methods(shop: Shop) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = httpx.request(method, shop.server.url + WEBHOOKS)
        problem(answer, 405, "method_not_allowed")


def test_an_event_is_kept_once(shop: Shop, body: bytes) -> None:
    event_id = json.loads(body)["id"]
    answers = at_once(*[lambda: send(shop, body, sign(body))] * 8)
    assert {answer.status_code for answer in answers} == {200}
    query = "SELECT type, state, payload FROM webhook_events WHERE id = %s"
    ((kind, state, payload),) = shop.rows(query, event_id)
    assert (kind, state) == ("plan.created", "processed")
    assert payload == json.loads(body)


def test_an_event_counts_as_soon_as_it_came(shop: Shop) -> None:
    """Well before the minute in which forgotten events are looked for."""
    customer = shop.customer().with_card()
    began = time.monotonic()
    subscription_id = customer.subscribed()
    found = shop.stripe.v1.subscriptions.list({"customer": customer.customer_id()}).data[0]
    shop.stripe.v1.subscriptions.update(found.id, {"cancel_at_period_end": True})
    while not customer.current()["cancel_at_period_end"]:
        assert time.monotonic() - began < 20
        time.sleep(0.1)
    assert customer.current()["id"] == subscription_id
