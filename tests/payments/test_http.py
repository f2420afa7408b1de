"""The contract of `/billing/subscriptions…` and the portal over real HTTP, with wrong input and
concurrent requests."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from billing_app.db.enums import Scope
from tests.payments.billing_harness import PUBLIC_URL, look, type_card
from tests.payments.storefront import (
    PORTAL,
    SUBSCRIPTIONS,
    WEBHOOKS,
    Customer,
    Storefront,
    at_once,
    codes,
    problem,
)

ELSEWHERE = [
    "https://evil.example/billing",
    "http://localhost:3000.evil.example/",
    "http://localhost:3000@evil.example/",
    "http://evil.example\\@localhost:3000/",
    "https://localhost:3000/",
    "http://localhost:3001/",
    "//localhost:3000/billing",
    "/billing",
    "javascript:alert(1)",
    "http://[",
    "http://localhost:3000/\nx",
    "",
]
WRONG_BODIES: list[Any] = [
    {},
    {"offer": "starter"},
    {"organization_id": 7, "offer": "starter"},
    {"organization_id": "", "offer": "starter"},
    {"organization_id": "a\u0000b", "offer": "starter"},
    {"organization_id": "x" * 256, "offer": "starter"},
    {"organization_id": "x", "offer": None},
    {"organization_id": "x", "offer": ["starter"]},
    {"organization_id": "x", "offer": ""},
    {"organization_id": "x", "offer": "start\u0000er"},
    [],
    "starter",
    None,
]


@pytest.fixture
def customer(storefront: Storefront) -> Iterator[Customer]:
    yield storefront.customer()
    storefront.sandbox.http.delete("/_sandbox/faults")
    assert storefront.sandbox.take_violations() == []
    assert "request_failed" not in storefront.log()


def test_first_purchase_goes_through_checkout(customer: Customer) -> None:
    answer = customer.subscribe()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["subscription", "checkout_url"]
    assert answer.json()["subscription"] is None
    assert customer.current() is None
    assert customer.check().status_code == 404
    again = customer.subscribe()
    assert (again.status_code, again.json()) == (201, answer.json())
    type_card(answer.json()["checkout_url"])
    found = customer.wait_until_subscribed()
    assert (found["status"], found["offer"]["code"]) == ("active", "starter")
    assert customer.check().json()["executions_remaining"] == 5_000


def test_card_on_file_is_charged_at_once(customer: Customer) -> None:
    customer.with_card()
    answer = customer.subscribe("growth", success_url=f"{PUBLIC_URL}/done?x=1#y")
    assert answer.status_code == 201
    assert answer.json()["checkout_url"] is None
    found = answer.json()["subscription"]
    assert found == customer.current()
    assert set(found) >= {"id", "status", "offer", "period_start", "period_end"}
    assert found["account_id"] == customer.holder.account_id
    assert (customer.charged_minor(), customer.plans()) == (7_900, [30_000])
    problem(customer.subscribe("starter"), 409, "subscription_exists")
    assert customer.charged_minor() == 7_900


def test_declined_card_says_why(customer: Customer) -> None:
    customer.with_card("pm_card_chargeCustomerFail")
    told = problem(customer.subscribe(), 402, "payment_declined")
    assert "declined" in told["detail"]
    assert told["decline_reason"]
    assert customer.count("subscriptions") == 0
    assert customer.plans() == []


def test_change_charges_previewed_amount(customer: Customer) -> None:
    path = f"{SUBSCRIPTIONS}/{customer.subscribed()}"
    customer.service.post(
        "/billing/plans/check-executions",
        json=customer.body(executions=1_000, mode="consume"),
        headers={"Idempotency-Key": "k"},
    )
    told = customer.http.post(f"{path}/preview", json={"offer": "growth"})
    assert told.status_code == 200, told.text
    credit = 1_900 * 4_000 // 5_000
    assert told.json()["amount_due_minor"] == 7_900 - credit
    assert told.json()["credit_minor"] == credit
    assert told.json()["currency"] == "USD"
    assert sum(line["amount_minor"] for line in told.json()["lines"]) == 7_900 - credit
    assert customer.charged_minor() == 1_900
    changed = customer.http.put(path, json={"offer": "growth", "when": "now"})
    assert changed.status_code == 200
    assert changed.json()["offer"]["code"] == "growth"
    assert customer.charged_minor() == 1_900 + 7_900 - credit
    plan_end = customer.current()["period_end"]
    body = {"offer": "starter", "when": "period_end"}
    told = customer.http.post(f"{path}/preview", json=body).json()
    assert (told["amount_due_minor"], told["due_at"]) == (1_900, plan_end)
    later = customer.http.put(path, json=body)
    assert later.json()["next_offer"]["code"] == "starter"
    assert later.json()["offer"]["code"] == "growth"


def test_cancel_resume_and_end(customer: Customer) -> None:
    subscription_id = customer.subscribed()
    path = f"{SUBSCRIPTIONS}/{subscription_id}"
    cancelled = customer.http.delete(path)
    assert (cancelled.status_code, cancelled.json()["cancel_at_period_end"]) == (200, True)
    assert customer.http.delete(path, params={"when": "period_end"}).json() == cancelled.json()
    resumed = customer.http.post(f"{path}/resume")
    assert (resumed.status_code, resumed.json()["cancel_at_period_end"]) == (200, False)
    assert customer.http.post(f"{path}/resume").status_code == 200
    problem(customer.http.delete(path, params={"when": "tomorrow"}), 422, "invalid_input")
    ended = customer.http.delete(path, params={"when": "now"})
    assert (ended.status_code, ended.json()["status"]) == (200, "canceled")
    assert customer.current() is None
    for call in (
        customer.http.delete(path),
        customer.put(subscription_id, "growth"),
        customer.http.post(f"{path}/resume"),
        customer.http.post(f"{path}/preview", json={"offer": "growth"}),
    ):
        problem(call, 409, "subscription_ended")


def test_callers_without_permission_are_refused(storefront: Storefront, customer: Customer) -> None:
    subscription_id = customer.subscribed()
    path, body = f"{SUBSCRIPTIONS}/{subscription_id}", customer.body(offer="growth")
    portal_body = customer.body(return_url=f"{PUBLIC_URL}/x")
    nobody = storefront.client("")
    problem(nobody.post(SUBSCRIPTIONS, json=body), 401, "not_authenticated")
    problem(nobody.put(path, json={"offer": "growth"}), 401, "not_authenticated")
    problem(nobody.post(PORTAL, json=portal_body), 401, "not_authenticated")
    for reader in (customer.service, customer.browser("member")):
        code = "scope_missing" if reader is customer.service else "forbidden"
        problem(reader.post(SUBSCRIPTIONS, json=body), 403, code)
        problem(reader.put(path, json={"offer": "growth"}), 403, code)
        problem(reader.post(f"{path}/preview", json={"offer": "growth"}), 403, code)
        problem(reader.delete(path, params={"when": "now"}), 403, code)
        problem(reader.post(PORTAL, json=portal_body), 403, code)
    for manager in (customer.browser("owner"), customer.browser("billing_admin")):
        assert manager.post(f"{path}/preview", json={"offer": "growth"}).status_code == 200
        portal = manager.post(PORTAL, json=portal_body)
        assert portal.status_code == 200, portal.text
    assert customer.current()["offer"]["code"] == "starter"


def test_other_accounts_are_not_found(storefront: Storefront, customer: Customer) -> None:
    theirs, stranger = customer.subscribed(), storefront.customer()
    outsiders = [stranger.http, stranger.browser("owner")]
    for outsider in outsiders:
        path = f"{SUBSCRIPTIONS}/{theirs}"
        problem(outsider.put(path, json={"offer": "growth"}), 404, "subscription_not_found")
        problem(outsider.delete(path), 404, "subscription_not_found")
        problem(outsider.post(f"{path}/resume"), 404, "subscription_not_found")
        told = outsider.post(f"{path}/preview", json={"offer": "growth"})
        problem(told, 404, "subscription_not_found")
    bodies = {
        SUBSCRIPTIONS: customer.body(offer="growth"),
        PORTAL: customer.body(return_url=PUBLIC_URL),
    }
    for target, body in bodies.items():
        answer = stranger.http.post(target, json=body)
        assert answer.status_code in (403, 404), answer.text
        problem(stranger.browser("owner").post(target, json=body), 404, "organization_not_found")
    assert customer.charged_minor() == 1_900


@pytest.mark.parametrize(
    "subscription_id",
    [
        "sub_1",
        "sub_" + "0" * 17,
        "sub_" + "f" * 17,
        "nothing",
        "acc_" + "1" * 16,
        "ö%00",
        "x" * 999,
    ],
)
def test_unknown_subscriptions_are_not_found(customer: Customer, subscription_id: str) -> None:
    path = f"{SUBSCRIPTIONS}/{subscription_id}"
    problem(customer.http.put(path, json={"offer": "growth"}), 404, "subscription_not_found")
    problem(customer.http.delete(path), 404, "subscription_not_found")
    problem(customer.http.post(f"{path}/resume"), 404, "subscription_not_found")


def test_unavailable_offers_are_refused(customer: Customer) -> None:
    problem(customer.subscribe("gold"), 422, "offer_unknown")
    subscription_id = customer.subscribed()
    problem(customer.put(subscription_id, "gold"), 422, "offer_unknown")
    problem(customer.put(subscription_id, "gold", when="period_end"), 422, "offer_unknown")
    problem(customer.put(subscription_id, "starter"), 409, "same_offer")
    problem(customer.put(subscription_id, "starter", when="period_end"), 409, "same_offer")
    problem(customer.put(subscription_id, "pack"), 422, "invalid_input")
    problem(customer.put(subscription_id, "euros"), 409, "currency_differs")
    problem(customer.put(subscription_id, "growth", when="soon"), 422, "invalid_input")
    problem(customer.put(subscription_id, 7), 422, "invalid_input")
    path = f"{SUBSCRIPTIONS}/{subscription_id}/preview"
    problem(customer.http.post(path, json={"offer": "gold"}), 422, "offer_unknown")
    problem(customer.http.post(path, json={"offer": "starter"}), 409, "same_offer")
    assert customer.charged_minor() == 1_900


@pytest.mark.parametrize("url", ELSEWHERE)
def test_return_urls_must_be_our_own(customer: Customer, url: str) -> None:
    told = problem(
        customer.http.post(PORTAL, json=customer.body(return_url=url)), 422, "invalid_input"
    )
    assert told["field"] == "return_url"
    for field in ("success_url", "cancel_url"):
        told = problem(customer.subscribe(**{field: url}), 422, "invalid_input")
        assert told["field"] == field


@pytest.mark.parametrize("body", WRONG_BODIES)
def test_invalid_bodies_are_refused(customer: Customer, body: Any) -> None:
    problem(customer.http.post(SUBSCRIPTIONS, json=body), 422, "invalid_input")
    problem(customer.http.post(PORTAL, json=body), 422, "invalid_input")


@pytest.mark.parametrize("offer", ["a\0b", "\0", "a\nb", "a\x7f"])
def test_malformed_offer_codes_are_refused(customer: Customer, offer: str) -> None:
    path = f"{SUBSCRIPTIONS}/{customer.subscribed()}"
    top_up = {"offer": offer, "threshold_executions": 1, "monthly_cap_minor": 10_000}
    query = {"organization_id": customer.holder.organization_id}
    for answer in (
        customer.subscribe(offer),
        customer.http.put(path, json={"offer": offer}),
        customer.http.post(f"{path}/preview", json={"offer": offer}),
        customer.http.put("/billing/top-up", params=query, json=top_up),
    ):
        assert problem(answer, 422, "invalid_input")["field"] == "offer"


@pytest.mark.parametrize("signature", ["t=1,v1=é", "t=1,v1=\u4e2d", "é", "t=é,v1=a"])
def test_non_ascii_signatures_are_refused(storefront: Storefront, signature: str) -> None:
    lines = storefront.log().count("webhook_refused")
    headers = {b"Stripe-Signature": signature.encode()}
    answer = httpx.post(
        storefront.server.url + WEBHOOKS, content=b"{}", headers=headers, timeout=30
    )
    problem(answer, 400, "invalid_signature")
    assert storefront.log().count("webhook_refused") == lines + 1
    assert "request_failed" not in storefront.log()


def test_non_json_bodies_are_refused(customer: Customer) -> None:
    headers = {"content-type": "application/json"}
    for content in (b"", b"{", b"\xff\xfe", b'{"offer": NaN}'):
        answer = customer.http.post(SUBSCRIPTIONS, content=content, headers=headers)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_unknown_organizations_are_not_found(storefront: Storefront) -> None:
    from tests.factories import api_key

    platform = storefront.client(api_key(storefront.url, Scope.SUBSCRIPTIONS))
    nobody = {"organization_id": "org_nobody"}
    bodies = {SUBSCRIPTIONS: {"offer": "starter"}, PORTAL: {"return_url": PUBLIC_URL}}
    for path, body in bodies.items():
        problem(platform.post(path, json=nobody | body), 404, "organization_not_found")


def test_portal_opens_for_the_accounts_own_customer(
    storefront: Storefront, customer: Customer
) -> None:
    other = storefront.customer().with_card()
    body = customer.body(return_url=f"{PUBLIC_URL}/billing")
    for name in ("customer", "customer_id"):
        named = customer.http.post(PORTAL, json=body | {name: other.customer_id()})
        problem(named, 422, "invalid_input")
    answer = customer.http.post(PORTAL, json=body)
    assert (answer.status_code, list(answer.json())) == (200, ["url"])
    assert customer.customer_id() != other.customer_id()
    assert "Visa" not in look(answer.json()["url"])


def test_local_routes_work_while_stripe_is_down(storefront: Storefront, customer: Customer) -> None:
    """Local routes work; those that need Stripe say so, and when to retry."""
    subscription_id = customer.subscribed()
    storefront.sandbox.fault(kind="status", status=503, path="/v1/*", times=1_000)
    path = f"{SUBSCRIPTIONS}/{subscription_id}"
    fresh = storefront.customer()
    asked: list[httpx.Response] = [
        customer.put(subscription_id, "growth"),
        customer.http.post(f"{path}/preview", json={"offer": "growth"}),
        customer.http.delete(path),
        customer.http.post(PORTAL, json=customer.body(return_url=PUBLIC_URL)),
        fresh.subscribe(),
    ]
    for answer in asked:
        assert answer.status_code in (502, 503), answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["code"] == "payment_provider_unavailable"
    assert customer.check().status_code == 200
    assert customer.current()["id"] == subscription_id
    query = {"organization_id": customer.holder.organization_id}
    for local in ("plans/current", "plans/history", "usage"):
        assert customer.service.get(f"/billing/{local}", params=query).status_code == 200
    assert customer.http.get("/billing/offers").status_code == 200
    storefront.sandbox.http.delete("/_sandbox/faults")
    assert customer.put(subscription_id, "growth").status_code in (200, 409)


def test_rate_limit_answer_says_when_to_retry(storefront: Storefront, customer: Customer) -> None:
    storefront.sandbox.fault(kind="status", status=429, path="/v1/*", times=1_000)
    answer = customer.subscribe()
    problem(answer, 502, "payment_provider_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_concurrent_first_purchases_open_one_checkout(customer: Customer) -> None:
    answers = at_once(*[customer.subscribe] * 8)
    assert set(codes(answers)) <= {201, 409}
    assert codes(answers)[0] == 201
    urls = {answer.json()["checkout_url"] for answer in answers if answer.status_code == 201}
    assert len(urls) == 1
    assert customer.count("sessions") == 1
    assert customer.storefront.rows("SELECT 1 FROM checkouts WHERE account_id = %s"
                              " AND status IN ('creating', 'open')",
                              customer.holder.account_number) == [(1,)]  # fmt: skip


def test_concurrent_purchases_of_different_offers(customer: Customer) -> None:
    offers = ["starter", "growth", "scale"] * 2
    answers = at_once(*[lambda offer=offer: customer.subscribe(offer) for offer in offers])
    assert set(codes(answers)) <= {201, 409}
    assert customer.count("sessions") == 1


def test_concurrent_purchases_with_card_charge_once(customer: Customer) -> None:
    customer.with_card()
    offers = ["starter", "growth"] * 4
    answers = at_once(*[lambda offer=offer: customer.subscribe(offer) for offer in offers])
    assert set(codes(answers)) <= {201, 409}
    assert codes(answers)[0] == 201
    assert customer.count("subscriptions") == 1
    bought = customer.current()["offer"]
    assert customer.charged_minor() == bought["price_minor"]
    assert customer.plans() == [bought["executions"]]
    assert customer.count("sessions") == 0


def test_concurrent_equal_changes_are_done_once(customer: Customer) -> None:
    subscription_id = customer.subscribed()
    answers = at_once(*[lambda: customer.put(subscription_id, "growth")] * 6)
    assert set(codes(answers)) <= {200, 409}
    assert codes(answers)[0] == 200
    assert customer.charged_minor() == 7_900
    assert customer.plans() == [5_000, 30_000]


def test_concurrent_contradicting_changes(customer: Customer) -> None:
    subscription_id = customer.subscribed()
    path = f"{SUBSCRIPTIONS}/{subscription_id}"
    answers = at_once(
        lambda: customer.put(subscription_id, "growth"),
        lambda: customer.put(subscription_id, "scale"),
        lambda: customer.http.delete(path),
        lambda: customer.put(subscription_id, "growth", when="period_end"),
        lambda: customer.http.post(f"{path}/resume"),
    )
    assert set(codes(answers)) <= {200, 409}
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, answer.json()["code"])
    ours = customer.current()
    (theirs,) = customer.storefront.stripe.v1.subscriptions.list(
        {"customer": customer.customer_id()}
    )
    price = theirs["items"].data[0].price.unit_amount
    assert ours["offer"]["price_minor"] == price
    assert ours["cancel_at_period_end"] == theirs.cancel_at_period_end
    assert (ours["next_offer"] is not None) == (theirs.schedule is not None)
