"""Unknown routes and methods that are not allowed."""

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import refused


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/billing"),
        ("GET", "/billing/"),
        ("GET", "/billing/nothing"),
        ("GET", "/billing/usage/"),
        ("POST", "/billing/plans/"),
        ("POST", "/billing/plans/check-executions/"),
        ("POST", "/billing/plans/check-executions/batch/more"),
        ("GET", "/billing/%00"),
        ("GET", "/billing/%ff"),
        ("GET", "/billing/x%0ay"),
        ("GET", "/billing/%0a"),
        ("GET", "/billing/plans/current%0a"),
        ("GET", "/billing/usage%0a"),
        ("GET", "/healthz%0a"),
        ("POST", "/billing/plans/check-executions%0a"),
        ("GET", "/billing/executions/a%0ab"),
        ("GET", "/billing/%7f"),
        ("POST", "/billing/reservations/a/b/commit"),
    ],
)
def test_unknown_routes(service: httpx.Client, method: str, path: str) -> None:
    refused(service.request(method, path), 404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CHECK_EXECUTIONS),
        ("PUT", CHECK_EXECUTIONS),
        ("GET", CHECK_EXECUTIONS_BATCH),
        ("DELETE", "/billing/plans/current"),
        ("POST", "/billing/usage"),
        ("POST", "/healthz"),
        ("GET", "/billing/reservations/rsv_1/commit"),
        ("GET", "/billing/executions/evt_1/refund"),
    ],
)
def test_methods_not_allowed(
    service: httpx.Client, anyone: httpx.Client, method: str, path: str
) -> None:
    for client in (service, anyone):
        response = client.request(method, path)
        refused(response, 405, "method_not_allowed")
        assert response.headers["allow"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/billing/subscriptions/x", "DELETE, PUT"),
        ("GET", "/billing/subscriptions/x", "DELETE, PUT"),
        ("PATCH", "/billing/subscriptions/current", "DELETE, GET, HEAD, PUT"),
        ("POST", "/billing/overage-limit", "GET, HEAD, PUT"),
        ("PATCH", "/billing/top-up", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/billing/admin/staff", "GET, HEAD, POST"),
        ("DELETE", "/billing/usage", "GET, HEAD"),
        ("GET", "/billing/webhooks/stripe", "POST"),
    ],
)
def test_allow_header_names_all_methods(
    anyone: httpx.Client, method: str, path: str, allowed: str
) -> None:
    response = anyone.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed
