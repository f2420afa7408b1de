"""OpenAPI says what a route may answer, who may ask, and what to send."""

from typing import Any

import httpx
import pytest

from tests.api.contract.asking import done

OPEN = {"/billing/offers", "/billing/problems/{code}", "/billing/webhooks/stripe"}
EITHER = [{"key": []}, {"session": []}]


@pytest.fixture(scope="module")
def document(anyone: httpx.Client) -> Any:
    return done(anyone.get("/billing/openapi.json"))


@pytest.mark.parametrize(
    ("route", "statuses"),
    [
        ("POST /billing/subscriptions", "402 409 413 415 502"),
        ("PUT /billing/subscriptions/{subscription_id}", "402 409 413 415 502"),
        ("DELETE /billing/subscriptions/{subscription_id}", "409 415 502"),
        ("POST /billing/subscriptions/{subscription_id}/preview", "409 413 415 502"),
        ("POST /billing/subscriptions/{subscription_id}/resume", "409 415 502"),
        ("POST /billing/portal-sessions", "413 415 502"),
        ("PUT /billing/overage-limit", "413 415"),
        ("PUT /billing/top-up", "409 413 415 502"),
        ("POST /billing/webhooks/stripe", "400 413 415 502 503"),
        ("POST /billing/admin/accounts/{account_id}/offer", "402 409 413 415 502"),
        ("POST /billing/admin/audit/{entry_id}/undo", "402 409 502"),
    ],
)
def test_statuses_that_are_really_sent(document: Any, route: str, statuses: str) -> None:
    method, path = route.lower().split()
    responses = document["paths"][path][method]["responses"]
    assert set(statuses.split()) <= set(responses)
    for status in statuses.split():
        assert list(responses[status]["content"]) == ["application/problem+json"]


def test_who_may_ask(document: Any) -> None:
    assert document["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "billing_session"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_open = path in OPEN or not path.startswith("/billing/")
            is_hot = operation["tags"] == ["executions"] and not path.endswith("{event_id}")
            if is_open:
                assert "security" not in operation, path
                assert not {"401", "403"} & set(operation["responses"])
            elif not is_hot:
                assert operation["security"] == EITHER, path
                assert {"401", "403"} <= set(operation["responses"])


def test_bodies_that_are_needed(document: Any) -> None:
    paths = document["paths"]
    assert paths["/billing/executions/{event_id}/refund"]["post"]["requestBody"]["required"] is True
    commit = paths["/billing/reservations/{id}/commit"]["post"]
    assert commit["requestBody"]["required"] is False
    webhook = paths["/billing/webhooks/stripe"]["post"]
    assert webhook["requestBody"]["required"] is True
    assert [(sent["name"], sent["in"]) for sent in webhook["parameters"]] == [
        ("Stripe-Signature", "header")
    ]


def test_answers_that_are_no_problem_and_no_json(document: Any) -> None:
    export = document["paths"]["/billing/usage/export.csv"]["get"]["responses"]
    assert list(export["200"]["content"]) == ["text/csv"]
    assert "503" in document["paths"]["/readyz"]["get"]["responses"]
