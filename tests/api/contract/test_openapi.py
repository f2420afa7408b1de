"""OpenAPI documents statuses, security and bodies."""

from typing import Any

import httpx
import pytest
from fastapi.params import Form
from fastapi.routing import APIRoute

from billing_app.api import (
    granted_plans,
    organizations,
    overage,
    password_resets,
    portal_links,
    sign_in,
    staff,
    subscriptions,
    top_ups,
    usage,
    users,
    webhook_endpoints,
)
from billing_app.api.routing import JsonRoute
from tests.api.contract.requests import done

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
        ("PUT /billing/organizations/{external_id}", "403 409 413 415"),
        ("PUT /billing/users/{external_id}", "403 409 413 415"),
        ("PUT /billing/overage-limit", "413 415"),
        ("PUT /billing/top-up", "409 413 415 502"),
        ("POST /billing/webhooks/stripe", "400 413 415 502 503"),
        ("POST /billing/admin/accounts/{account_id}/offer", "402 409 413 415 502"),
        ("POST /billing/admin/audit/{entry_id}/undo", "402 409 502"),
    ],
)
def test_documented_statuses(document: Any, route: str, statuses: str) -> None:
    method, path = route.lower().split()
    responses = document["paths"][path][method]["responses"]
    assert set(statuses.split()) <= set(responses)
    for status in statuses.split():
        assert list(responses[status]["content"]) == ["application/problem+json"]


def test_security_of_every_route(document: Any) -> None:
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


def test_key_is_documented_where_it_is_read(document: Any) -> None:
    takes_key = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation["tags"] == ["executions"]
        and any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", []))
    }
    check, refund = "/billing/plans/check-executions", "/billing/executions/{event_id}/refund"
    assert takes_key == {check, refund}
    key = document["components"]["schemas"]["CheckItem"]["properties"]["idempotency_key"]
    assert {"type": "string", "minLength": 1, "maxLength": 255} in key["anyOf"]


def test_metrics_are_plain_text(document: Any) -> None:
    answer = document["paths"]["/metrics"]["get"]["responses"]["200"]
    assert list(answer["content"]) == ["text/plain"]


def test_every_json_body_is_read_strictly() -> None:
    customers = (overage, top_ups, subscriptions, sign_in, password_resets, usage)
    provisioning = (organizations, users, granted_plans, portal_links, webhook_endpoints)
    modules = (*customers, *provisioning, *staff.modules)
    routes = [route for module in modules for route in module.router.routes]
    with_body = [
        route
        for route in routes
        if isinstance(route, APIRoute)
        and route.body_field is not None
        and not isinstance(route.body_field.field_info, Form)
    ]
    assert len(with_body) > 20
    assert [route.path for route in with_body if not isinstance(route, JsonRoute)] == []


def test_required_bodies(document: Any) -> None:
    paths = document["paths"]
    assert paths["/billing/executions/{event_id}/refund"]["post"]["requestBody"]["required"] is True
    commit = paths["/billing/reservations/{id}/commit"]["post"]
    assert commit["requestBody"]["required"] is False
    webhook = paths["/billing/webhooks/stripe"]["post"]
    assert webhook["requestBody"]["required"] is True
    assert [(sent["name"], sent["in"]) for sent in webhook["parameters"]] == [
        ("Stripe-Signature", "header")
    ]


def test_responses_that_are_neither_problem_nor_json(document: Any) -> None:
    export = document["paths"]["/billing/usage/export.csv"]["get"]["responses"]
    assert list(export["200"]["content"]) == ["text/csv"]
    assert "503" in document["paths"]["/readyz"]["get"]["responses"]


def test_days_are_dates_and_either_id_names_the_account(document: Any) -> None:
    seen = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            given = {each["name"]: each for each in operation.get("parameters", [])}
            for name in {"from", "to"} & set(given):
                assert given[name]["schema"]["format"] == "date"
                seen += 1
            if {"organization_id", "account_id"} <= set(given) and "user_id" in given:
                assert "without account_id" in given["organization_id"]["description"]
                assert "instead of organization_id" in given["account_id"]["description"]
    assert seen > 10
