"""Webhook deliveries as Stripe makes them, and every way they can go wrong."""

import time
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox.factories import customer, price, subscribe
from tests.stripe_sandbox.running import Hooks, Sandbox, free_port


@pytest.fixture
def secret(client: StripeClient, sandbox: Sandbox, hooks: Hooks) -> Any:
    sandbox.control("settings", webhook_retry_seconds=[0.05, 0.05])
    endpoint = client.v1.webhook_endpoints.create({"url": hooks.url, "enabled_events": ["*"]})
    yield endpoint.secret
    client.v1.webhook_endpoints.delete(endpoint.id)


def settle(sandbox: Sandbox, *, retries: bool = False) -> None:
    assert sandbox.control("settle", retries=retries)["settled"]


def kinds(hooks: Hooks, secret: str) -> list[str]:
    return [event.type for event in hooks.events(secret)]


def test_subscription_events_arrive_signed_and_in_order(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    subscribe(client, customer(client), price(client, 1000).id)
    settle(sandbox)
    seen = kinds(hooks, secret)
    story = [
        "customer.created",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "customer.subscription.updated",
    ]
    assert [kind for kind in seen if kind in story and kind != "customer.updated"] == story
    updated = next(e for e in hooks.events(secret) if e.type == "customer.subscription.updated")
    assert updated.data.previous_attributes is not None
    assert updated.data.previous_attributes.to_dict() == {"status": "incomplete"}
    assert updated.api_version == "2026-10-28.endive"
    assert client.v1.events.retrieve(updated.id).pending_webhooks == 0


def test_endpoint_receives_enabled_events_only(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks
) -> None:
    endpoint = client.v1.webhook_endpoints.create(
        {"url": hooks.url, "enabled_events": ["customer.deleted"]}
    )
    client.v1.customers.delete(customer(client, card=None))
    settle(sandbox)
    assert kinds(hooks, str(endpoint.secret)) == ["customer.deleted"]
    client.v1.webhook_endpoints.delete(endpoint.id)


def test_failed_deliveries_are_retried(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    hooks.answers = [500, 503]
    client.v1.customers.create({})
    settle(sandbox, retries=True)
    assert kinds(hooks, secret) == ["customer.created"] * 3
    assert len({event.id for event in hooks.events(secret)}) == 1


def test_retries_stop_after_the_last_delay(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    hooks.answers = [500] * 9
    client.v1.customers.create({})
    settle(sandbox, retries=True)
    assert len(hooks.bodies) == 3
    event = hooks.events(secret)[0]
    assert client.v1.events.retrieve(event.id).pending_webhooks == 1
    hooks.answers.clear()
    sandbox.control(f"events/{event.id}/resend")
    settle(sandbox)
    assert client.v1.events.retrieve(event.id).pending_webhooks == 0


def test_duplicated_delivery(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    sandbox.fault(kind="duplicate", event_type="customer.created", count=3)
    client.v1.customers.create({})
    settle(sandbox)
    assert kinds(hooks, secret) == ["customer.created"] * 3


def test_dropped_delivery(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    sandbox.fault(kind="drop", event_type="customer.*", times=1)
    made = client.v1.customers.create({})
    settle(sandbox, retries=True)
    assert kinds(hooks, secret) == []
    missed = client.v1.events.list({"type": "customer.created", "delivery_success": False})
    assert missed.data[0].data.object["id"] == made.id


def test_delayed_delivery(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    sandbox.fault(kind="delay", event_type="customer.created", seconds=0.2)
    made = client.v1.customers.create({})
    client.v1.customers.update(made.id, {"name": "n"})
    settle(sandbox, retries=True)
    assert kinds(hooks, secret) == ["customer.updated", "customer.created"]


def test_reordered_deliveries(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str
) -> None:
    sandbox.fault(kind="reorder", event_type="customer.*", count=3)
    made = client.v1.customers.create({})
    client.v1.customers.update(made.id, {"name": "n"})
    client.v1.customers.delete(made.id)
    settle(sandbox)
    assert kinds(hooks, secret) == ["customer.deleted", "customer.updated", "customer.created"]


@pytest.mark.parametrize("kind", ["stale", "wrong_secret"])
def test_bad_signatures(
    client: StripeClient, sandbox: Sandbox, hooks: Hooks, secret: str, kind: str
) -> None:
    sandbox.fault(kind=kind)
    client.v1.customers.create({})
    settle(sandbox)
    with pytest.raises(stripe.SignatureVerificationError):
        hooks.events(secret)


def test_unreachable_endpoint_does_not_block_requests(
    client: StripeClient, sandbox: Sandbox
) -> None:
    sandbox.control("settings", webhook_retry_seconds=[0.05])
    endpoint = client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/", "enabled_events": ["*"]}
    )
    started = time.monotonic()
    client.v1.customers.create({})
    assert time.monotonic() - started < 1
    settle(sandbox, retries=True)
    client.v1.webhook_endpoints.delete(endpoint.id)


def test_endpoint_with_a_known_secret(client: StripeClient, sandbox: Sandbox, hooks: Hooks) -> None:
    made = sandbox.control("webhook_endpoints", url=hooks.url, secret="whsec_known")
    client.v1.customers.create({})
    settle(sandbox)
    assert kinds(hooks, "whsec_known") == ["customer.created"]
    client.v1.webhook_endpoints.delete(made["id"])


def test_endpoint_from_the_command_line(hooks: Hooks) -> None:
    options = ("--webhook-url", hooks.url, "--webhook-secret", "whsec_command_line")
    own = Sandbox(free_port(), *options, "--webhook-events", "customer.created")
    try:
        own.client().v1.customers.delete(customer(own.client(), card=None))
        settle(own)
    finally:
        own.stop()
    assert kinds(hooks, "whsec_command_line") == ["customer.created"]
