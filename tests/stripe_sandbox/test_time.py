"""The sandbox's own time: what is due next, and that it happens without a request."""

import time
from typing import Any

from stripe import StripeClient

from billing_app.stripe_sandbox import registry, resources
from billing_app.stripe_sandbox.due import next_due_at, run_due
from billing_app.stripe_sandbox.world import World
from tests.stripe_sandbox.factories import customer, price, subscribe

assert resources


def call(world: World, method: str, path: str, **params: Any) -> dict[str, Any]:
    entry, identifiers = registry.find_route(method, path)
    with world.store.savepoint():
        return entry.handler(world, params, *identifiers)


def subscription(world: World) -> dict[str, Any]:
    who = call(world, "POST", "/v1/customers")["id"]
    call(world, "POST", "/v1/payment_methods/pm_card_visa/attach", customer=who)
    monthly = call(
        world,
        "POST",
        "/v1/prices",
        currency="usd",
        unit_amount=1000,
        recurring={"interval": "month"},
        product_data={"name": "Plan"},
    )
    items = [{"price": monthly["id"]}]
    terms: Any = {"collection_method": "send_invoice", "days_until_due": 30}
    made = call(world, "POST", "/v1/subscriptions", customer=who, items=items, **terms)
    # Else its due date is due, too.
    call(world, "POST", f"/v1/invoices/{made['latest_invoice']}/pay", paid_out_of_band=True)
    return made


def test_next_due_moment_follows_every_change() -> None:
    world = World("http://127.0.0.1:1")
    assert next_due_at(world, None) is None
    made = subscription(world)
    end = made["items"]["data"][0]["current_period_end"]
    assert next_due_at(world, None) == end
    path = f"/v1/subscriptions/{made['id']}"
    soon = end - 1_000
    call(world, "POST", path, cancel_at=soon)
    assert next_due_at(world, None) == soon
    call(world, "POST", path, cancel_at="")
    assert next_due_at(world, None) == end
    assert run_due(world, None, end - 1) == 0
    assert run_due(world, None, end) == 1
    assert next_due_at(world, None) == end + 3_600
    call(world, "DELETE", path)
    assert next_due_at(world, None) is None


def test_undone_changes_leave_the_agenda_as_it_was() -> None:
    world = World("http://127.0.0.1:1")
    made = subscription(world)
    end = made["items"]["data"][0]["current_period_end"]
    with world.store.rehearsal():
        call(world, "DELETE", f"/v1/subscriptions/{made['id']}")
        assert next_due_at(world, None) is None
    assert next_due_at(world, None) == end


def test_due_moment_passes_without_a_request(client: StripeClient) -> None:
    made = subscribe(client, customer(client), price(client, 1000).id)
    pause: Any = {"behavior": "void", "resumes_at": int(time.time()) + 2}
    client.v1.subscriptions.update(made.id, {"pause_collection": pause})
    time.sleep(4)
    events = client.v1.events.list({"type": "customer.subscription.updated", "limit": 1})
    assert events.data[0].data.object["pause_collection"] is None
