"""Idempotency, faults, pagination, expansion, rate limits, restarts."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox.factories import customer, price, subscribe
from tests.stripe_sandbox.running import KEY, Sandbox, SandboxProcess, free_port


def key() -> str:
    return f"key-{time.time_ns()}"


def test_retry_gets_the_first_answer(client: StripeClient) -> None:
    options: Any = {"idempotency_key": key()}
    first = client.v1.customers.create({"email": "i@x.co"}, options)
    client.v1.customers.update(first.id, {"email": "new@x.co"})
    again = client.v1.customers.create({"email": "i@x.co"}, options)
    assert (again.id, again.email) == (first.id, "i@x.co")
    response = again.last_response
    assert response is not None
    assert response.headers["idempotent-replayed"] == "true"
    assert response.headers["original-request"] == first.last_response.request_id  # type: ignore[union-attr]


def test_reused_key_with_other_parameters_is_refused(client: StripeClient) -> None:
    options: Any = {"idempotency_key": key()}
    made = client.v1.customers.create({"email": "i@x.co"}, options)
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"email": "j@x.co"}, options)
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.update(made.id, {"email": "i@x.co"}, options)


def test_declined_charge_is_replayed(client: StripeClient) -> None:
    options: Any = {"idempotency_key": key()}
    who = customer(client, card="pm_card_chargeCustomerFail")
    card = client.v1.customers.payment_methods.list(who).data[0].id
    params: Any = {"amount": 500, "currency": "usd", "customer": who, "payment_method": card,
                   "confirm": True}  # fmt: skip
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            client.v1.payment_intents.create(params, options)
    assert declined.value.error is not None
    assert declined.value.error.decline_code == "generic_decline"
    assert len(client.v1.payment_intents.list({"customer": who}).data) == 1


@pytest.mark.breaks_contract
def test_invalid_parameters_do_not_use_up_the_key(client: StripeClient) -> None:
    options: Any = {"idempotency_key": key()}
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"foo": "bar"}, options)  # type: ignore[typeddict-unknown-key]
    assert client.v1.customers.create({"email": "ok@x.co"}, options).email == "ok@x.co"


def test_failed_request_has_no_effect(client: StripeClient) -> None:
    who, what = customer(client), price(client, 1000)
    items: Any = [{"price": what.id}, {"price": "price_nope"}]
    events = client.v1.events.list({"limit": 1}).data[0].id
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.create({"customer": who, "items": items})
    assert client.v1.subscriptions.list({"customer": who, "status": "all"}).data == []
    assert client.v1.events.list({"limit": 1}).data[0].id == events


def test_fault_status_before_the_effect(client: StripeClient, sandbox: Sandbox) -> None:
    who, what = customer(client), price(client, 1000)
    sandbox.fault(kind="status", path="/v1/subscriptions*", method="POST", status=503)
    with pytest.raises(stripe.APIError) as failed:
        subscribe(client, who, what.id)
    assert failed.value.http_status == 503
    assert client.v1.subscriptions.list({"customer": who}).data == []


@pytest.mark.parametrize("kind", ["status", "reset", "hang"])
def test_retry_with_the_same_key_after_a_late_fault_creates_nothing_twice(
    sandbox: Sandbox, kind: str
) -> None:
    client = sandbox.client(http_client=stripe.RequestsClient(timeout=0.3))
    who, what = customer(client), price(client, 1000)
    options: Any = {"idempotency_key": key()}
    params: Any = {"customer": who, "items": [{"price": what.id}]}
    seconds = 0.8 if kind == "hang" else 0
    sandbox.fault(kind=kind, path="/v1/subscriptions", when="after", seconds=seconds)
    with pytest.raises((stripe.APIConnectionError, stripe.APIError)):
        client.v1.subscriptions.create(params, options)
    time.sleep(seconds)
    made = client.v1.subscriptions.create(params, options)
    assert [row.id for row in client.v1.subscriptions.list({"customer": who}).data] == [made.id]


def test_fault_reset_before_the_effect(client: StripeClient, sandbox: Sandbox) -> None:
    who = customer(client)
    sandbox.fault(kind="reset", path="/v1/customers/*", method="POST")
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.update(who, {"name": "n"})
    assert client.v1.customers.retrieve(who).name == "Ada"


def test_sdk_retries_on_its_own(sandbox: Sandbox) -> None:
    client = sandbox.client(max_network_retries=2)
    sandbox.fault(kind="reset", path="/v1/customers", when="after")
    sandbox.fault(kind="status", path="/v1/customers", status=500)
    before = len(sandbox.requests())
    made = client.v1.customers.create({"email": "retry@x.co"})
    assert made.email == "retry@x.co"
    tries = [entry["path"] for entry in sandbox.requests()[before:]]
    assert tries.count("/v1/customers") >= 1


async def test_concurrent_requests_with_the_same_key(sandbox: Sandbox) -> None:
    client = sandbox.client(http_client=stripe.HTTPXClient())
    options: Any = {"idempotency_key": key()}
    sandbox.fault(kind="hang", path="/v1/customers", when="after", seconds=0.3)
    calls = [client.v1.customers.create_async({"email": "x@y.co"}, options) for _ in range(2)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [r for r in results if isinstance(r, stripe.StripeError)]
    assert len(errors) == 1
    assert errors[0].http_status == 409
    assert errors[0].json_body["error"]["code"] == "idempotency_key_in_use"  # type: ignore[index]


def test_rate_limit(client: StripeClient, sandbox: Sandbox) -> None:
    sandbox.control("settings", rate_limit_per_second=3)
    try:
        with pytest.raises(stripe.RateLimitError):
            _list_often(client)
    finally:
        sandbox.control("settings", rate_limit_per_second=0)


def _list_often(client: StripeClient) -> None:
    for _ in range(6):
        client.v1.customers.list({"limit": 1})


def test_pages(client: StripeClient) -> None:
    who = customer(client)
    made = [
        client.v1.invoice_items.create({"customer": who, "amount": n, "currency": "usd"}).id
        for n in range(1, 8)
    ][::-1]
    first = client.v1.invoice_items.list({"customer": who, "limit": 3})
    assert ([row.id for row in first.data], first.has_more) == (made[:3], True)
    params: Any = {"customer": who, "limit": 3, "starting_after": made[2]}
    assert [row.id for row in client.v1.invoice_items.list(params).data] == made[3:6]
    back = client.v1.invoice_items.list({"customer": who, "limit": 2, "ending_before": made[3]})
    assert ([row.id for row in back.data], back.has_more) == (made[1:3], True)
    everything = client.v1.invoice_items.list({"customer": who, "limit": 2}).auto_paging_iter()
    assert [row.id for row in everything] == made
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoice_items.list({"limit": 101})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoice_items.list({"starting_after": "ii_nope"})


def test_created_range(client: StripeClient) -> None:
    made = client.v1.customers.create({})
    older: Any = {"created": {"lt": made.created - 1_000_000}}
    assert client.v1.customers.list(older).data == []
    same: Any = {"created": {"gte": made.created}, "limit": 1}
    assert client.v1.customers.list(same).data[0].id == made.id


def test_expand(client: StripeClient) -> None:
    made = subscribe(client, customer(client), price(client, 1000).id)
    paths = ["customer", "latest_invoice.payments", "items.data.price.product"]
    full = client.v1.subscriptions.retrieve(made.id, {"expand": paths})
    assert isinstance(full.customer, stripe.Customer)
    assert isinstance(full["items"].data[0].price.product, stripe.Product)
    assert isinstance(full.latest_invoice, stripe.Invoice)
    assert full.latest_invoice.payments is not None
    listed = client.v1.subscriptions.list({"limit": 1, "expand": ["data.customer"]})
    assert isinstance(listed.data[0].customer, stripe.Customer)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.subscriptions.retrieve(made.id, {"expand": ["unicorn"]})


def test_foreign_host_names_are_refused(sandbox: Sandbox) -> None:
    response = sandbox.http.get("/_sandbox/health", headers={"Host": "evil.example"})
    assert response.status_code == 400


def test_account_survives_a_kill_before_the_first_write(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "stripe.json"
    ids: set[str] = set()
    for _ in range(2):
        running = SandboxProcess(port, "--data", str(file))
        ids.add(running.client().v1.accounts.retrieve_current().id)
        running.process.kill()
        running.process.wait()
    assert len(ids) == 1


def test_state_survives_a_restart(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "stripe.json"
    first = SandboxProcess(port, "--data", str(file))
    options: Any = {"idempotency_key": key()}
    who = customer(first.client())
    made = subscribe(first.client(), who, price(first.client(), 1000).id)
    kept = first.client().v1.customers.create({"email": "kept@x.co"}, options)
    account = first.client().v1.accounts.retrieve_current().id
    first.stop()
    second = SandboxProcess(port, "--data", str(file))
    try:
        client = second.client()
        assert client.v1.subscriptions.retrieve(made.id).status == "active"
        assert client.v1.accounts.retrieve_current().id == account
        assert client.v1.customers.create({"email": "kept@x.co"}, options).id == kept.id
        assert second.take_violations() == []
    finally:
        second.stop()
    assert KEY not in file.read_text()
