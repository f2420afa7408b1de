"""The client has what OpenAPI describes for services, and nothing else: routes, fields, codes.

Where OpenAPI leaves an answer open (`additionalProperties`), the server's own types and real
answers take its place.
"""

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_args, get_origin

import httpx
import msgspec
import pytest

import billing_app.api.app  # noqa: F401 - knows every error code
from billing_app.api.portal_links import PortalPage
from billing_app.api.problems import error_codes, kinds
from billing_app.billing.alerts.rule_settings import AlertRulesView
from billing_app.billing.alerts.service import AlertView
from billing_app.billing.errors import DeniedError
from billing_app.billing.executions.lease_views import LeaseView
from billing_app.billing.executions.requests import Mode
from billing_app.billing.overage.views import OverageView
from billing_app.billing.plans.service import PlanView
from billing_app.billing.staff.audit.account_history import HistoryItem
from billing_app.billing.subscriptions.next_executions import NextExecutions
from billing_app.client import (
    AsyncBilling,
    Billing,
    alert_calls,
    answers,
    errors,
    lease_calls,
    lease_reads,
    operations,
    provisioning,
    routes,
    webhook_calls,
)
from billing_app.client.bodies import CheckItem
from billing_app.client.routes import Operation, Route
from billing_app.db.enums import DeliveryStatus, Role
from tests.api.server import ApiServer
from tests.client.driven import Driven
from tests.factories import Holder

# Not for services, and why. Add a route here, or to `client/routes.py` and `client/operations.py`.
NOT_FOR_SERVICES = {
    "POST /billing/webhooks/stripe": "Stripe calls it",
    "GET /billing/problems/{code}": "explains a code to people; `problem.detail` is in the answer",
    "GET /healthz": "for load balancers",
    "GET /readyz": "for load balancers",
    "GET /metrics": "for Prometheus",
}
STAFF = "/billing/admin/"
# Reads that OpenAPI describes without members, with the type that the server answers.
SERVER_TYPES: dict[type[msgspec.Struct], type[Any]] = {
    alert_calls.Alert: AlertView,
    alert_calls.AlertRules: AlertRulesView,
    lease_reads.LeaseView: LeaseView,
    answers.PlanView: PlanView,
    answers.OverageView: OverageView,
    answers.NextExecutions: NextExecutions,
    answers.AccountAction: HistoryItem,
}
ROUTES: dict[str, Route[Any]] = {
    f"{route.method} {route.path}": route
    for module in (routes, lease_calls, lease_reads, alert_calls, webhook_calls)
    for route in vars(module).values()
    if isinstance(route, Route)
}
BUILDERS = {
    name: function
    for module in (operations, provisioning, lease_reads, alert_calls, webhook_calls)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_") and name != "key_of"
}


@pytest.fixture(scope="module")
def document(server: ApiServer) -> Any:
    return httpx.get(f"{server.url}/billing/openapi.json", timeout=30).json()


@pytest.fixture(scope="module")
def described(document: Any) -> dict[str, Any]:
    """The operations that services may call."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not path.startswith(STAFF) and f"{method.upper()} {path}" not in NOT_FOR_SERVICES
    }


def test_every_route_is_there_both_ways(described: dict[str, Any]) -> None:
    assert set(described) - set(ROUTES) == set(), "the client lacks these"
    assert set(ROUTES) - set(described) == set(), "OpenAPI does not have these"


def test_exceptions_exist(document: Any) -> None:
    for name in NOT_FOR_SERVICES:
        method, path = name.split(" ")
        assert method.lower() in document["paths"][path]


@pytest.mark.parametrize("name", ROUTES)
def test_parameters_agree(described: dict[str, Any], name: str) -> None:
    found = described[name].get("parameters", [])
    query = {each["name"] for each in found if each["in"] == "query"}
    assert query == members(ROUTES[name].query)
    headers = {each["name"] for each in found if each["in"] == "header"}
    assert headers == ({"Idempotency-Key"} if ROUTES[name].takes_key else set())


@pytest.mark.parametrize("name", ROUTES)
def test_bodies_agree(document: Any, described: dict[str, Any], name: str) -> None:
    body = described[name].get("requestBody")
    assert (body is None) == (ROUTES[name].body is None)
    if body is not None:
        compare(document, body["content"]["application/json"]["schema"], ROUTES[name].body)


@pytest.mark.parametrize("name", ROUTES)
def test_answers_agree(document: Any, described: dict[str, Any], name: str) -> None:
    found = [answer for status, answer in described[name]["responses"].items() if status < "300"]
    assert found
    for answer in found:
        content = answer.get("content", {})
        if ROUTES[name].is_streamed:
            assert list(content) == ["text/csv"]
        elif not content:
            assert ROUTES[name].answer is type(None)
        elif ROUTES[name] is not routes.CHECK_BATCH:
            compare(document, content["application/json"]["schema"], ROUTES[name].answer)


def test_batch_answers_agree(document: Any, described: dict[str, Any]) -> None:
    answer = described["POST /billing/plans/check-executions/batch"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == members(routes.BatchResults)
    options = schema["properties"]["results"]["items"]["oneOf"]
    assert [each["$ref"].rpartition("/")[2] for each in options] == ["CheckAnswer", "Problem"]


def test_choices_agree(document: Any) -> None:
    schemas = document["components"]["schemas"]
    from billing_app.client import bodies

    for name in ("When", "EventKind", "GroupBy", "Separator"):
        assert list(get_args(getattr(bodies, name))) == schemas[name]["enum"]
    assert set(get_args(bodies.Mode)) == set(Mode)
    assert set(get_args(bodies.PortalRole)) == set(Role)
    assert set(get_args(bodies.PortalPage)) == set(PortalPage)
    assert set(get_args(webhook_calls.DeliveryStatus)) == set(DeliveryStatus)


@pytest.mark.parametrize("ours", SERVER_TYPES)
def test_undescribed_types_agree(ours: type[msgspec.Struct]) -> None:
    assert members(ours) == {each.name for each in fields(SERVER_TYPES[ours])}


def test_undescribed_answers_agree(
    server: ApiServer, key: str, holder: Holder, billing: Billing
) -> None:
    """Of real answers: what is there, and what the client expects."""
    billing.consume(holder.organization_id, executions=2, workflow="w", user_id="u")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as raw:
        for name, route in ROUTES.items():
            if not name.startswith("GET ") or "{" in name or route.is_streamed:
                continue
            wants = {"organization_id": holder.organization_id} if route.query else {}
            found = raw.get(route.path, params=wants)
            assert found.status_code == 200, found.text
            same(found.json(), route.answer, name)


def test_every_route_has_a_method() -> None:
    built = {call.route for call in map(sample, BUILDERS.values())}
    leased = {lease_calls.OPEN_LEASE, lease_calls.SETTLE_LEASE}
    assert {*ROUTES.values()} - built == {routes.CHECK_BATCH, *leased}, "made by `batch`, `lease`"


@pytest.mark.parametrize("client", [Billing, AsyncBilling])
def test_both_clients_have_every_operation(client: type[Any]) -> None:
    assert [name for name in BUILDERS if not callable(getattr(client, name, None))] == []
    for name, builder in BUILDERS.items():
        assert getattr(client, name).__doc__ == builder.__doc__


def test_both_clients_have_the_same_methods() -> None:
    def public(client: type[Any]) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")}

    assert public(Billing) == public(AsyncBilling)


def test_every_code_has_its_family() -> None:
    denials = {kind.code for kind in kinds(DeniedError)}
    for status, code, _ in error_codes():
        problem = errors.Problem(
            status=status, code=code, allowed=False if code in denials else None
        )
        family = type(errors.error_of(problem))
        assert family is not errors.ProblemError, (status, code)
        assert (family is errors.DeniedError) == (code in denials), code


def test_denial_figures_agree() -> None:
    denied = DeniedError("", remaining=1, requested=2, period_end=None)
    assert {*denied.extensions, "upgrade_url", "next_executions"} <= members(errors.Problem)


def test_next_executions_of_denials_agree(document: Any) -> None:
    problem = document["components"]["schemas"]["Problem"]
    schema = problem["properties"]["next_executions"]
    compare(document, schema, answers.NextExecutions)
    assert {"type": "null"} in schema["anyOf"]


def members(struct: type[msgspec.Struct] | None) -> set[str]:
    """Names as JSON has them."""
    if struct is None:
        return set()
    return {each.encode_name for each in msgspec.structs.fields(struct)}


def sample(builder: Any) -> Operation[Any]:
    """A call with something for each required parameter."""
    required = [
        each
        for each in inspect.signature(builder).parameters.values()
        if each.default is inspect.Parameter.empty
    ]
    values = {each.name: 1 if "int" in str(each.annotation) else "x" for each in required}
    return builder(**values)


def compare(document: Any, schema: Any, ours: Any, path: str = "") -> None:
    """Members of a schema and of a type, all the way down."""
    schema = resolved(document, schema)
    if schema.get("type") == "array":
        (item,) = get_args(ours)
        compare(document, schema["items"], item, f"{path}[]")
        return
    if "properties" not in schema:
        wrapped = schema.get("additionalProperties")
        if isinstance(wrapped, dict) and "anyOf" in wrapped:  # {"subscription": … or null}
            (field,) = msgspec.structs.fields(ours)
            compare(document, wrapped, without_none(field.type), field.encode_name)
        return
    assert set(schema["properties"]) == members(struct_of(ours)), path
    for field in msgspec.structs.fields(struct_of(ours)):
        inner = schema["properties"][field.encode_name]
        if is_object(document, inner):
            compare(document, inner, without_none(field.type), f"{path}.{field.name}")
        else:
            assert not is_struct(without_none(field.type)), f"{path}.{field.name}"


def resolved(document: Any, schema: Any) -> Any:
    """Without references and without null."""
    for each in schema.get("anyOf", []):
        if each != {"type": "null"}:
            return resolved(document, each)
    reference = schema.get("$ref")
    if reference is None:
        return schema
    return document["components"]["schemas"][reference.rpartition("/")[2]]


def is_object(document: Any, schema: Any) -> bool:
    found = resolved(document, schema)
    if found.get("type") == "array":
        return is_object(document, found["items"])
    return "properties" in found


def is_struct(kind: Any) -> bool:
    return isinstance(struct_of(kind), type) and issubclass(struct_of(kind), msgspec.Struct)


def struct_of(kind: Any) -> Any:
    """`Page` of `Page[Plan]`."""
    origin = get_origin(kind)
    return origin if isinstance(origin, type) and issubclass(origin, msgspec.Struct) else kind


def without_none(kind: Any) -> Any:
    if get_origin(kind) in {typing.Union, types.UnionType}:
        (kind,) = [each for each in get_args(kind) if each not in (type(None), msgspec.UnsetType)]
    return kind


def same(found: Any, kind: Any, path: str) -> None:
    """A JSON value has the members of the type; of UsageRow, those of its group."""
    kind = without_none(kind)
    if isinstance(found, list) and found:
        same(found[0], get_args(kind)[0], f"{path}[0]")
    elif isinstance(found, dict) and is_struct(kind):
        groups = {"workflow", "user"} if kind is answers.UsageRow else set()
        assert set(found) == members(struct_of(kind)) - groups, path
        for name, inner in typed_members(kind):
            same(found.get(name), inner, f"{path}.{name}")


def typed_members(kind: Any) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        yield field.encode_name, field.type


def test_item_is_a_check_with_a_key() -> None:
    assert members(CheckItem) - members(routes.CHECK.body) == {"idempotency_key"}


def test_methods_are_named_as_their_operations(driven: Driven) -> None:
    assert {getattr(driven.client, name).__name__ for name in BUILDERS} == set(BUILDERS)
