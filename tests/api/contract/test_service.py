"""Health, metrics, HEAD, OpenAPI, the docs page and problem types."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from billing_app import __version__
from billing_app.routes import CHECK_EXECUTIONS
from tests.api.contract.requests import CHECK_FIELDS, ask, done
from tests.factories import Holder


def test_health_and_metrics(anyone: httpx.Client, service: httpx.Client, holder: Holder) -> None:
    assert anyone.get("/healthz").json() == {"status": "alive", "version": __version__}
    ready = anyone.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    checks = ready.json()["checks"]
    assert [checks[name] for name in ("database", "migrations", "executions")] == ["ok"] * 3
    assert checks["jobs"] == "no worker"
    done(ask(service, holder, "consume", 1, "k"))
    metrics = anyone.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "billing_execution_batch_requests_bucket" in metrics.text


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/billing/openapi.json", "/billing/plans/current"]
)
def test_head_is_get_without_a_body(service: httpx.Client, holder: Holder, path: str) -> None:
    params = {"organization_id": holder.organization_id}
    response = service.head(path, params=params)
    assert (response.status_code, response.content) == (200, b"")
    content_type = service.get(path, params=params).headers["content-type"]
    assert response.headers["content-type"] == content_type


def test_openapi_describes_every_route(anyone: httpx.Client) -> None:
    document = done(anyone.get("/billing/openapi.json"))
    assert document["openapi"].startswith("3.")
    assert document["info"] == {"title": "Billing", "version": __version__}
    described = {
        f"{method.upper()} {path}" for path, at in document["paths"].items() for method in at
    }
    assert described >= {
        "POST /billing/plans/check-executions",
        "POST /billing/plans/check-executions/batch",
        "POST /billing/reservations/{id}/commit",
        "POST /billing/reservations/{id}/release",
        "POST /billing/executions/{event_id}/refund",
        "GET /billing/executions/{event_id}",
        "GET /billing/plans/current",
        "GET /billing/plans/history",
        "GET /billing/usage",
        "GET /billing/usage/events",
        "GET /billing/usage/export.csv",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    for reference in _references(document):
        _resolve(document, reference)
    operations = [o for at in document["paths"].values() for o in at.values()]
    names = [o["operationId"] for o in operations if "operationId" in o]
    assert len(names) == len(set(names))
    for path, at in document["paths"].items():
        for operation in at.values():
            assert operation["responses"], path
            given = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert given == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
    refused = document["paths"]["/billing/usage"]["get"]["responses"]["422"]
    assert list(refused["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    check = document["paths"][CHECK_EXECUTIONS]["post"]
    assert {"200", "401", "402", "403", "404", "422", "503"} <= set(check["responses"])
    fields = document["components"]["schemas"]["CheckAnswer"]["properties"]
    assert list(fields) == CHECK_FIELDS


def test_docs_page_is_self_contained(anyone: httpx.Client) -> None:
    response = anyone.get("/billing/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert f"Version {__version__}" in response.text
    assert "/billing/openapi.json" in response.text
    # It must work without internet access.
    assert not re.search(r"""(src|href)=["'](https?:)?//""", response.text)
    assert "<script" not in response.text
    for path in anyone.get("/billing/openapi.json").json()["paths"]:
        assert path in response.text
    assert "from 1 to 1,000,000" in response.text
    codes = re.findall(r"<td>(\d{3})</td><td><code>(\w+)</code>", response.text)
    assert len(codes) > 60
    documented = Path("docs/reference/error-codes.md").read_text()
    assert set(codes) <= set(re.findall(r"^\| (\d+) \| `(\w+)`", documented, re.MULTILINE))


def test_problem_type_can_be_looked_up(service: httpx.Client, holder: Holder) -> None:
    problem = ask(service, holder, "check", 99).json()
    explained = done(service.get(problem["type"]))
    assert explained["code"] == problem["code"]
    assert explained["title"] == problem["title"]
    assert service.get("/billing/problems/no_such").status_code == 404


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in _references(value)]
    if isinstance(part, list):
        return [found for value in part for found in _references(value)]
    return []


def _resolve(document: Any, reference: str) -> None:
    assert reference.startswith("#/"), reference
    for name in reference[2:].split("/"):
        document = document[name]
    assert json.dumps(document)
