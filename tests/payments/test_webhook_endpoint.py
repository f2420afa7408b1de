"""`POST /billing/webhooks/stripe` over real HTTP: signatures, bad bodies, durability, order."""

import hashlib
import hmac
import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.payments.billing_harness import SECRET
from tests.payments.storefront import WEBHOOKS, Storefront, at_once, event_body, problem

STALE_SECONDS = 301


def sign(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    stamp = int(time.time() if at is None else at)
    signed = f"{stamp}.".encode() + body
    return f"t={stamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def send(storefront: Storefront, body: bytes, signature: str | None) -> httpx.Response:
    headers = {"content-type": "application/json"}
    if signature is not None:
        headers["stripe-signature"] = signature
    return httpx.post(storefront.server.url + WEBHOOKS, content=body, headers=headers, timeout=30)


def refused(storefront: Storefront, body: bytes, signature: str | None) -> None:
    """400, in the log, and nothing stored."""
    (stored,) = storefront.rows("SELECT count(*) FROM webhook_events")
    lines = storefront.log().count("webhook_refused")
    problem(send(storefront, body, signature), 400, "invalid_signature")
    assert storefront.log().count("webhook_refused") == lines + 1
    assert storefront.rows("SELECT count(*) FROM webhook_events") == [stored]
    assert SECRET not in storefront.log()


@pytest.fixture
def body() -> bytes:
    return json.dumps(event_body()).encode()


def test_foreign_and_expired_signatures_are_refused(storefront: Storefront, body: bytes) -> None:
    right = sign(body)
    refused(storefront, body, None)
    refused(storefront, body, "")
    refused(storefront, body, "nonsense")
    refused(storefront, body, "t=,v1=")
    refused(storefront, body, right.replace("v1=", "v0="))
    refused(storefront, body, sign(body, "whsec_wrong"))
    for seconds in (-STALE_SECONDS, STALE_SECONDS + 10, 10**9):
        refused(storefront, body, sign(body, at=time.time() + seconds))
    refused(storefront, body.replace(b"plan_1", b"plan_2"), right)
    refused(storefront, body + b" ", right)
    refused(storefront, b"\xff\xfe", sign(b"\xff\xfe"))
    assert send(storefront, body, right).status_code == 200


def test_one_valid_signature_of_several_is_enough(storefront: Storefront, body: bytes) -> None:
    """While a secret is rotated, Stripe signs with both (docs.stripe.com/webhooks/signature)."""
    old, new = sign(body, "whsec_old"), sign(body)
    assert send(storefront, body, f"{old},v1={new.partition('v1=')[2]}").status_code == 200


@pytest.mark.parametrize("foreign", [{"livemode": True}, {"account": "acct_connected"}])
def test_events_of_another_mode_or_account_are_refused(
    storefront: Storefront, foreign: dict[str, Any]
) -> None:
    body = json.dumps(event_body(**foreign)).encode()
    (stored,) = storefront.rows("SELECT count(*) FROM webhook_events")
    lines = storefront.log().count("webhook_refused")
    problem(send(storefront, body, sign(body)), 400, "foreign_event")
    assert storefront.log().count("webhook_refused") == lines + 1
    assert storefront.rows("SELECT count(*) FROM webhook_events") == [stored]
    own = json.dumps(event_body(livemode=False)).encode()
    assert send(storefront, own, sign(own)).status_code == 200


def test_cut_body_is_one_line_in_the_log(storefront: Storefront, body: bytes) -> None:
    port = httpx.URL(storefront.server.url).port or 0
    head = f"POST {WEBHOOKS} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
    before = storefront.log()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
    deadline = time.monotonic() + 20
    while "request_cut" not in (said := storefront.log()[len(before) :]):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    assert len(said.strip().splitlines()) == 1, said


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
def test_signed_non_events_are_refused(storefront: Storefront, change: dict[str, Any]) -> None:
    told = json.dumps(event_body(**change)).encode()
    refused(storefront, told, sign(told))


@pytest.mark.parametrize(
    "told", [b"", b"{", b"[]", b"null", b'"evt_1"', b"7", b"[" * 5_000, b'{"a": "\\ud800"}']
)
def test_signed_non_objects_are_refused(storefront: Storefront, told: bytes) -> None:
    refused(storefront, told, sign(told))


def test_nul_characters_are_replaced_before_storing(storefront: Storefront) -> None:
    told = event_body(data={"object": {"id": "a", "metadata": {"a": "x\u0000", "b": "\U0001f600"}}})
    body = json.dumps(told).encode()
    assert send(storefront, body, sign(body)).status_code == 200
    ((payload,),) = storefront.rows("SELECT payload FROM webhook_events WHERE id = %s", told["id"])
    assert payload["data"]["object"]["metadata"] == {"a": "x\ufffd", "b": "\U0001f600"}


def test_oversized_bodies_are_refused(storefront: Storefront) -> None:
    told = json.dumps(event_body(more="x" * 1_000_001)).encode()
    problem(send(storefront, told, sign(told)), 413, "body_too_large")


def test_other_methods_are_refused(storefront: Storefront) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = httpx.request(method, storefront.server.url + WEBHOOKS)
        problem(answer, 405, "method_not_allowed")


def test_event_is_stored_once(storefront: Storefront, body: bytes) -> None:
    event_id = json.loads(body)["id"]
    answers = at_once(*[lambda: send(storefront, body, sign(body))] * 8)
    assert {answer.status_code for answer in answers} == {200}
    query = "SELECT type, state, payload FROM webhook_events WHERE id = %s"
    ((kind, state, payload),) = storefront.rows(query, event_id)
    assert (kind, state) == ("plan.created", "processed")
    assert payload == json.loads(body)


def test_event_is_applied_as_soon_as_it_arrives(storefront: Storefront) -> None:
    """Well before the sweep that picks up waiting events each minute."""
    customer = storefront.customer().with_card()
    began = time.monotonic()
    subscription_id = customer.subscribed()
    found = storefront.stripe.v1.subscriptions.list({"customer": customer.customer_id()}).data[0]
    storefront.stripe.v1.subscriptions.update(found.id, {"cancel_at_period_end": True})
    while not customer.current()["cancel_at_period_end"]:
        assert time.monotonic() - began < 20
        time.sleep(0.1)
    assert customer.current()["id"] == subscription_id
