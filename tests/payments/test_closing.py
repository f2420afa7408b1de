"""Closing an organization: the subscription ends at Stripe first, or nothing happens."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from billing_app.db.enums import Scope
from billing_app.payments.calls import NETWORK_RETRIES
from tests import factories
from tests.factories import Holder
from tests.payments.billing_harness import until
from tests.payments.storefront import Customer, Storefront, at_once, problem

CHECK = "/billing/plans/check-executions"


class Closer(Customer):
    """With the key of the product that closes it."""

    def __init__(self, storefront: Storefront, holder: Holder) -> None:
        super().__init__(storefront, holder)
        scopes = (Scope.ACCOUNTS, Scope.PLANS_WRITE, Scope.EXECUTIONS, Scope.PLANS_READ)
        self.product = storefront.client(factories.api_key(storefront.url, *scopes))

    @property
    def path(self) -> str:
        return f"/billing/organizations/{self.holder.organization_id}"

    def close(self) -> httpx.Response:
        return self.product.post(f"{self.path}/close")

    def read(self) -> Any:
        return self.product.get(self.path).json()

    def grant(self, key: str = "k") -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return self.product.post("/billing/plans", json=self.body(executions=10), headers=headers)

    def reserve(self, executions: int) -> str:
        body = self.body(mode="reserve", executions=executions)
        answer = self.product.post(CHECK, json=body, headers={"Idempotency-Key": "r"})
        assert answer.status_code == 200, answer.text
        return answer.json()["reservation"]["id"]

    def open_plans(self) -> int:
        query = "SELECT count(*) FROM plans WHERE account_id = %s AND ended_at IS NULL"
        ((found,),) = self.storefront.rows(query, self.holder.account_number)
        return found

    def entries(self) -> list[str]:
        query = (
            "SELECT action FROM audit_entries WHERE account_id = %s AND action = 'close_account'"
        )
        return [row[0] for row in self.storefront.rows(query, self.holder.account_number)]


@pytest.fixture
def customer(storefront: Storefront) -> Iterator[Closer]:
    yield Closer(storefront, factories.organization(storefront.url))
    storefront.sandbox.http.delete("/_sandbox/faults")
    assert storefront.sandbox.take_violations() == []
    assert "request_failed" not in storefront.log()


def test_subscription_ends_and_nothing_more_is_allowed(customer: Closer) -> None:
    customer.subscribed()
    assert customer.grant().status_code == 201
    invoices = customer.storefront.rows("SELECT count(*) FROM invoices")
    closed = customer.close()
    assert closed.status_code == 200, closed.text
    assert datetime.fromisoformat(closed.json()["closed_at"]) <= datetime.now(UTC)
    assert customer.read() == closed.json()
    assert customer.count("subscriptions") == 0
    assert customer.open_plans() == 0
    assert customer.storefront.rows("SELECT count(*) FROM invoices") == invoices
    assert customer.check().status_code in (402, 404)
    problem(customer.grant("other"), 409, "account_closed")
    problem(customer.product.put(customer.path, json={"name": "Acme"}), 409, "account_closed")
    problem(customer.subscribe(), 409, "account_closed")
    assert customer.grant().status_code == 201, "a retry gets its answer"
    assert customer.open_plans() == 0


def test_closing_twice_or_at_once_is_closing_once(customer: Closer) -> None:
    customer.subscribed()
    answers = at_once(*[customer.close for _ in range(4)])
    assert [(each.status_code, each.text) for each in answers] == [(200, answers[0].text)] * 4
    assert customer.close().json() == answers[0].json()
    assert customer.entries() == ["close_account"]


def test_cancellation_refused_because_of_another_one_is_awaited(customer: Closer) -> None:
    customer.subscribed()
    query = "SELECT count(*) FROM provider_writes WHERE account_id = %s AND state = 'failed'"

    def is_refused() -> bool:
        return customer.storefront.rows(query, customer.holder.account_number) == [(1,)]

    def cancel_as_the_other_one() -> httpx.Response:
        until(is_refused, 60)
        stripe = customer.storefront.sandbox.client()
        (found,) = stripe.v1.subscriptions.list({"customer": customer.customer_id()}).data
        stripe.v1.subscriptions.cancel(found.id)
        return httpx.Response(200)

    refused = {"kind": "status", "status": 400, "method": "DELETE", "times": 1}
    customer.storefront.sandbox.fault(**refused, path="/v1/subscriptions/*")
    closed, _ = at_once(customer.close, cancel_as_the_other_one)
    assert closed.status_code == 200, closed.text


def test_without_stripe_nothing_has_happened(customer: Closer) -> None:
    customer.subscribed()
    customer.storefront.sandbox.fault(kind="status", status=503, path="/v1/*", times=200)
    problem(customer.close(), 502, "payment_provider_unavailable")
    customer.storefront.sandbox.http.delete("/_sandbox/faults")
    assert customer.read()["closed_at"] is None
    assert customer.check().status_code == 200
    assert customer.count("subscriptions") == 1
    assert customer.close().status_code == 200


def test_cancellation_whose_answer_is_lost_can_be_closed_again(customer: Closer) -> None:
    customer.subscribed()
    lost = {"kind": "status", "when": "after", "status": 503, "method": "DELETE"}
    customer.storefront.sandbox.fault(**lost, path="/v1/subscriptions/*", times=NETWORK_RETRIES + 1)
    first = customer.close()
    assert first.status_code in (200, 409, 502), first.text
    customer.storefront.sandbox.http.delete("/_sandbox/faults")
    until(lambda: customer.close().status_code == 200, 60)
    assert customer.count("subscriptions") == 0
    assert customer.entries() == ["close_account"]


def test_held_reservation_is_honoured(customer: Closer) -> None:
    assert customer.grant().status_code == 201
    reservation = customer.reserve(4)
    assert customer.close().status_code == 200
    committed = customer.product.post(f"/billing/reservations/{reservation}/commit")
    assert committed.status_code == 200, committed.text
    query = "SELECT used, held FROM plans WHERE account_id = %s"
    assert customer.storefront.rows(query, customer.holder.account_number) == [(4, 0)]


def test_open_checkout_is_closed(customer: Closer) -> None:
    assert customer.subscribe().json()["checkout_url"]
    assert customer.count("sessions") == 1
    assert customer.close().status_code == 200
    assert customer.count("sessions") == 0


def test_open_checkout_is_closed_by_many_at_once(customer: Closer) -> None:
    assert customer.subscribe().json()["checkout_url"]
    answers = at_once(*[customer.close for _ in range(4)])
    assert [(each.status_code, each.text) for each in answers] == [(200, answers[0].text)] * 4
    assert customer.count("sessions") == 0
    assert customer.entries() == ["close_account"]


def test_unpaid_invoice_stays_and_brings_nothing_back(customer: Closer) -> None:
    customer.subscribed()
    customer.use_card("pm_card_chargeCustomerFail")
    subscription = customer.current()
    customer.put(subscription["id"], "growth")
    assert customer.close().status_code == 200
    assert customer.open_plans() == 0
    assert customer.check().status_code in (402, 404)


def test_organization_without_a_customer_at_stripe(customer: Closer) -> None:
    customer.grant()
    assert customer.close().status_code == 200
    assert customer.open_plans() == 0


def test_unknown_or_foreign_organization(customer: Closer) -> None:
    problem(
        customer.product.post("/billing/organizations/nowhere/close"), 404, "organization_not_found"
    )
    other = customer.storefront.customer()
    bound = customer.storefront.client(other.key(Scope.ACCOUNTS))
    problem(bound.post(f"{customer.path}/close"), 403, "forbidden")
    problem(customer.service.post(f"{customer.path}/close"), 403, "scope_missing")
