"""Sends checks over HTTP and reads the responses."""

from typing import Any

import httpx

from billing_app.routes import CHECK_EXECUTIONS
from tests.factories import Holder

NUMBERS = ("executions_total", "executions_used", "executions_held", "executions_remaining")
CHECK_FIELDS = [
    "allowed",
    "mode",
    "executions",
    "event_id",
    "reservation",
    "plan",
    "account_id",
    *NUMBERS,
    "period_end",
]


def ask(
    service: httpx.Client, holder: Holder, mode: str, executions: int, key: str = "", **more: Any
) -> httpx.Response:
    body = {"organization_id": holder.organization_id, "mode": mode, "executions": executions}
    headers = {"Idempotency-Key": key} if key else {}
    return service.post(CHECK_EXECUTIONS, json=body | more, headers=headers)


def done(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def numbers(answer: Any) -> tuple[int, ...]:
    return tuple(answer[name] for name in NUMBERS)


def of(holder: Holder, **more: Any) -> dict[str, Any]:
    return {"organization_id": holder.organization_id, **more}
