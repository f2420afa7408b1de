"""NUL and huge numbers, sent to every parameter and field in OpenAPI."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from billing_app.db.enums import Scope, StaffRole
from tests.api.server import ApiServer
from tests.factories import api_key, staff_key

NUL = "a\0b"
BIG_NUMBERS = (2**31, 2**63, 10**30)
LONG_NUMBER = "9" * 5_000
OFFER = "kept"
EXAMPLES = {"currency": "USD", "interval": "month", "email": "x@example.com", "code": "another"}
NO_WORKER = "jobs_unavailable"


@pytest.fixture(scope="module")
def clients(server: ApiServer, api_database_url: str) -> Iterator[dict[str, httpx.Client]]:
    """Callers that may do anything: a service on customer routes, an admin on staff routes."""
    secrets = {
        "customer": api_key(api_database_url, *Scope),
        "staff": staff_key(api_database_url, StaffRole.ADMIN),
    }
    opened = {
        name: httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30
        )
        for name, secret in secrets.items()
    }
    yield opened
    for client in opened.values():
        client.close()


@pytest.fixture(scope="module", autouse=True)
def _an_offer(clients: dict[str, httpx.Client]) -> None:
    """It must exist: a 404 would never reach the database."""
    terms = {"name": "x", "executions": 9, "price_minor": 900, "currency": "USD"}
    body = {"code": OFFER, "interval": "month", "reason": "why", **terms}
    assert clients["staff"].post("/billing/admin/offers", json=body).status_code == 201


@pytest.fixture(scope="module")
def document(anyone: httpx.Client) -> Any:
    return anyone.get("/billing/openapi.json").json()


def test_unstorable_text_in_every_parameter(
    clients: dict[str, httpx.Client], document: Any
) -> None:
    asked = 0
    for method, path, operation in _operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "header":
                continue  # HTTP parsers reject a NUL in a header.
            name, is_in_path = parameter["name"], parameter["in"] == "path"
            for value in (NUL, *map(str, BIG_NUMBERS), LONG_NUMBER):
                address = _address(path, **{name: value} if is_in_path else {})
                query = {} if is_in_path else {name: value}
                answer = _client(clients, path).request(method, address, params=query)
                if value == NUL and not is_in_path:
                    assert answer.status_code in {404, 422}, (method, path, name, answer.text)
                _not_our_fault(answer, (method, path, name, value[:32]))
                asked += 1
    assert asked > 500


def test_unstorable_text_in_every_body_field(
    clients: dict[str, httpx.Client], document: Any
) -> None:
    asked = 0
    for method, path, operation in _operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        schema = _resolved(document, content["schema"])
        right = {name: _example(document, schema, name) for name in schema.get("required", [])}
        for name in schema.get("properties", {}):
            for value in (NUL, *BIG_NUMBERS, -(10**30)):
                body = {**right, name: value}
                answer = _client(clients, path).request(method, _address(path), json=body)
                _not_our_fault(answer, (method, path, name, value))
                asked += 1
    assert asked > 300


@pytest.mark.parametrize("version", ["0", "2147483648", "9" * 5_000, "1_0", "1.0", "a%00b"])
def test_invalid_versions(clients: dict[str, httpx.Client], version: str) -> None:
    answer = clients["staff"].get(f"/billing/admin/offers/{OFFER}/versions/{version}/accounts")
    assert answer.status_code in {404, 422}, answer.text


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9998-01-01T00:00:00Z"]
)
def test_timestamps_out_of_range(clients: dict[str, httpx.Client], moment: str) -> None:
    staff = clients["staff"]
    grant = {"executions": 1, "reason": "why", "ends_at": moment}
    asked = (
        staff.post("/billing/admin/accounts/acc_1/grants", json=grant),
        staff.get("/billing/admin/reconciliations/differences", params={"began_at": moment}),
    )
    for answer in asked:
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_unstorable_text_in_sign_in_forms(server: ApiServer) -> None:
    for path in ("/billing/session", "/billing/users"):
        for name in ("email", "password", "name", "next"):
            form = {"email": "x@example.com", "password": "p" * 12, "name": "x", name: NUL}
            with httpx.Client(base_url=server.url, headers={"Origin": server.url}) as browser:
                assert browser.post(path, data=form).status_code in {303, 422}, (path, name)


def _operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _client(clients: dict[str, httpx.Client], path: str) -> httpx.Client:
    return clients["staff" if path.startswith("/billing/admin") else "customer"]


def _address(path: str, **given: str) -> str:
    """The path with its parameters filled in: the existing offer, `1` for everything else."""
    given = {"code": OFFER, **given}
    parts = [part[1:-1] if part.startswith("{") else "" for part in path.split("/")]
    values = [given.get(name, "1").replace("\0", "%00") if name else "" for name in parts]
    return "/".join(value or part for value, part in zip(values, path.split("/"), strict=True))


def _not_our_fault(answer: httpx.Response, what: object) -> None:
    """Stripe is not configured here, and no worker runs."""
    if answer.status_code in {502, 503}:
        assert answer.json()["code"] in {"payment_provider_unavailable", NO_WORKER}, what
    else:
        assert answer.status_code < 500, (what, answer.text)


def _example(document: Any, schema: Any, name: str) -> Any:
    field = _resolved(document, schema["properties"][name])
    if name in EXAMPLES:
        return EXAMPLES[name]
    if "enum" in field:
        return field["enum"][0]
    if field.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    kinds = {"integer": 1, "array": [], "boolean": True, "string": "x"}
    return kinds.get(field.get("type", "string"), 1)


def _resolved(document: Any, schema: Any) -> Any:
    if "$ref" not in schema:
        return schema
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
