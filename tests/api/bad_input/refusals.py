"""Sends raw requests and checks the shape of every refusal."""

from typing import Any

import httpx

from billing_app.routes import CHECK_EXECUTIONS

PROBLEM_FIELDS = ("type", "title", "status", "detail", "code")
KEYED = {"Idempotency-Key": "k"}
READS = (
    "/billing/plans/current",
    "/billing/plans/history",
    "/billing/usage",
    "/billing/usage/events",
    "/billing/usage/export.csv",
)


def refused(response: httpx.Response, status: int, code: str) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert list(problem)[:5] == list(PROBLEM_FIELDS)
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"/billing/problems/{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem.get("allowed") is not True
    return problem


def raw(
    client: httpx.Client, content: bytes, content_type: str = "application/json", **more: str
) -> httpx.Response:
    headers = {"Content-Type": content_type, **KEYED, **more}
    return client.post(CHECK_EXECUTIONS, content=content, headers=headers)
