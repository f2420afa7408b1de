"""Undoing is exact: every write goes through the store, and failures leave no trace."""

import json
from typing import Any

import pytest

from billing_app.stripe_sandbox import registry, resources
from billing_app.stripe_sandbox.errors import StripeError
from billing_app.stripe_sandbox.store import Store
from billing_app.stripe_sandbox.world import World

assert resources
JAN_31 = 1_801_353_600


class Audited:
    """Runs calls and checks that only objects taken for writing have changed."""

    def __init__(self) -> None:
        self.world = World("http://127.0.0.1:1")

    def call(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        before = self.snapshot()
        with self.world.store.savepoint():
            entry, identifiers = registry.find_route(method, path)
            answer = entry.handler(self.world, params, *identifiers)
            touched = set(self.world.store.touched())
        after = self.snapshot()
        changed = {key for key in before if before[key] != after.get(key)}
        assert changed <= touched, f"{method} {path} changed {changed - touched} without `edit`"
        return answer

    def snapshot(self) -> dict[str, str]:
        return {key: json.dumps(value) for key, value in self.world.store.objects.items()}

    def customer(self, card: str = "pm_card_visa") -> tuple[str, str]:
        clock = self.call("POST", "/v1/test_helpers/test_clocks", frozen_time=JAN_31)["id"]
        who = self.call("POST", "/v1/customers", test_clock=clock)["id"]
        method = self.call("POST", f"/v1/payment_methods/{card}/attach", customer=who)["id"]
        settings = {"default_payment_method": method}
        self.call("POST", f"/v1/customers/{who}", invoice_settings=settings)
        return clock, who

    def price(self, amount: int) -> str:
        return self.call(
            "POST",
            "/v1/prices",
            currency="usd",
            unit_amount=amount,
            recurring={"interval": "month"},
            product_data={"name": "Plan"},
        )["id"]

    def advance(self, clock: str, to: int) -> None:
        self.call("POST", f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=to)


def test_every_write_is_journaled() -> None:
    audited = Audited()
    clock, who = audited.customer()
    small, big = audited.price(1000), audited.price(3000)
    coupon = audited.call("POST", "/v1/coupons", percent_off=10.0, duration="once")["id"]
    made = audited.call(
        "POST",
        "/v1/subscriptions",
        customer=who,
        items=[{"price": small}],
        discounts=[{"coupon": coupon}],
    )
    path, item = f"/v1/subscriptions/{made['id']}", made["items"]["data"][0]["id"]
    audited.advance(clock, JAN_31 + 1_000_000)
    change: Any = {"items": [{"id": item, "price": big}], "proration_behavior": "always_invoice"}
    for behavior in ("allow_incomplete", "pending_if_incomplete"):
        audited.call("POST", path, **change, payment_behavior=behavior)
    audited.call("POST", path, cancel_at_period_end=True)
    audited.call("POST", path, cancel_at_period_end=False)
    schedule = audited.call("POST", "/v1/subscription_schedules", from_subscription=made["id"])
    first = {"items": [{"price": big}], "end_date": schedule["phases"][0]["end_date"]}
    phases = [first, {"items": [{"price": small}]}]
    audited.call("POST", f"/v1/subscription_schedules/{schedule['id']}", phases=phases)
    audited.advance(clock, JAN_31 + 40 * 86_400)
    audited.advance(clock, JAN_31 + 70 * 86_400)
    audited.call("POST", "/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=who)
    audited.call("DELETE", path, prorate=True, invoice_now=True)


def test_previews_and_failures_change_nothing() -> None:
    audited = Audited()
    _, who = audited.customer()
    small, big = audited.price(1000), audited.price(3000)
    made = audited.call("POST", "/v1/subscriptions", customer=who, items=[{"price": small}])
    item = made["items"]["data"][0]["id"]
    before = audited.snapshot()
    for behavior in ("always_invoice", "create_prorations", "none"):
        details = {"items": [{"id": item, "price": big}], "proration_behavior": behavior}
        audited.call(
            "POST",
            "/v1/invoices/create_preview",
            subscription=made["id"],
            subscription_details=details,
        )
    with pytest.raises(StripeError):
        audited.call(
            "POST", f"/v1/subscriptions/{made['id']}", items=[{"id": item, "price": "price_nope"}]
        )
    assert audited.snapshot() == before


def test_savepoints_nest_and_keep_named_objects() -> None:
    store = Store()
    store.add({"id": "a", "object": "x", "n": 0})
    with pytest.raises(StripeError):
        _fail_after_writing(store)
    assert store.get("a")["n"] == 0
    assert [row["id"] for row in store.all("x")] == ["a", "kept"]


def _fail_after_writing(store: Store) -> None:
    with store.savepoint():
        store.edit("a")["n"] = 1
        with store.rehearsal():
            store.edit("a")["n"] = 2
            store.remove("a")
        assert store.get("a")["n"] == 1
        store.add({"id": "kept", "object": "x"})
        store.add({"id": "gone", "object": "x"})
        raise StripeError(402, "card_error", "no", keep=frozenset({"kept"}))
