"""Requests have an id, and those that are slow or failed a line in the log."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from billing_app.db.enums import Scope
from tests.api.server import ApiServer
from tests.factories import api_key, organization

CHECK = "/billing/plans/check-executions"
USAGE = "/billing/usage"


@pytest.fixture
def slow_server(own_database_url: str) -> Iterator[ApiServer]:
    """Finds every request slow."""
    server = ApiServer(own_database_url)
    server.environment |= {"SLOW_REQUEST_SECONDS": "0.000001", "LOG_FORMAT": "json"}
    server.start()
    yield server
    server.stop()


def lines(log: Path, count: int, **about: str) -> list[dict[str, Any]]:
    """So many lines about answers; they are written just after the answer is sent."""
    deadline = time.monotonic() + 20
    while True:
        parsed = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
        found = [line for line in parsed if about.items() <= line.items()]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def test_callers_id_is_given_back_and_logged(slow_server: ApiServer, own_database_url: str) -> None:
    holder = organization(own_database_url, 10)
    key = api_key(own_database_url, Scope.EXECUTIONS, Scope.PLANS_READ)
    headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "order-7.a"}
    with httpx.Client(base_url=slow_server.url, headers=headers, timeout=20) as client:
        read = client.get(USAGE, params={"organization_id": holder.organization_id})
        body = {"organization_id": holder.organization_id}
        checked = client.post(CHECK, json=body)
    assert (read.status_code, read.headers["x-request-id"]) == (200, "order-7.a")
    assert (checked.status_code, "x-request-id" in checked.headers) == (200, False)
    logged = lines(slow_server.log, 2, event="answer_slow", request_id="order-7.a")
    assert [(line["method"], line["path"], line["status"]) for line in logged] == [
        ("GET", USAGE, 200),
        ("POST", CHECK, 200),
    ]
    assert logged[0]["account_id"] == read.json()["account_id"]
    assert key not in slow_server.log.read_text()


def test_malformed_id_is_replaced_and_paths_are_patterns(slow_server: ApiServer) -> None:
    with httpx.Client(base_url=slow_server.url, timeout=20) as client:
        read = client.get("/billing/executions/ada@example.com", headers={"X-Request-Id": "a b"})
        unknown = client.get("/billing/ada@example.com")
    assert len(read.headers["x-request-id"]) == 32
    assert read.headers["x-request-id"] != unknown.headers["x-request-id"]
    for path in ("/billing/executions/{event_id}", "unmatched"):
        assert len(lines(slow_server.log, 1, path=path)) == 1
    assert "example.com" not in slow_server.log.read_text()
