"""Missing and invalid fields: the problem names the field."""

from typing import Any

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import raw, refused
from tests.factories import Holder

BAD_FIELDS = [
    ("executions", "0"),
    ("executions", "-1"),
    ("executions", "1000001"),
    ("executions", "9223372036854775808"),
    ("executions", "1" + "0" * 400),
    ("executions", "1.5"),
    ("executions", '"1"'),
    ("executions", "true"),
    ("executions", "null"),
    ("executions", "[1]"),
    ("executions", "{}"),
    ("mode", '"use"'),
    ("mode", "null"),
    ("mode", "1"),
    ("organization_id", '""'),
    ("organization_id", "null"),
    ("organization_id", "7"),
    ("organization_id", r'"a\u0000b"'),
    ("organization_id", r'"line\n"'),
    ("organization_id", '"' + "o" * 256 + '"'),
    ("user_id", '""'),
    ("user_id", r'"\u0000"'),
    ("user_id", r'"u\n"'),
    ("user_id", '"' + "u" * 256 + '"'),
    ("workflow", r'"\u0000"'),
    ("workflow", r'"\u007f"'),
    ("workflow", '"' + "w" * 256 + '"'),
    ("workflow", "3"),
    ("hold_seconds", "0"),
    ("hold_seconds", "-5"),
    ("hold_seconds", "604801"),
    ("hold_seconds", "1.5"),
]


@pytest.mark.parametrize("value", [r"a\n", r"\u0001", r"\u007f"])
@pytest.mark.parametrize("field", ["organization_id", "user_id", "workflow"])
def test_control_characters_are_named(
    service: httpx.Client, holder: Holder, field: str, value: str
) -> None:
    body = f'{{"organization_id": "x", "{field}": "{value}"}}'.encode()
    problem = refused(raw(service, body), 422, "invalid_input")
    assert problem["detail"] == f"{field}: must not contain control characters"
    params = {"organization_id": holder.organization_id, "workflow": "a\n"}
    problem = refused(service.get("/billing/usage/events", params=params), 422, "invalid_input")
    assert problem["detail"] == "workflow: must not contain control characters"


def test_blank_reason_is_refused(service: httpx.Client, event_id: str) -> None:
    path = f"/billing/executions/{event_id}/refund"
    problem = refused(service.post(path, json={"reason": "  "}), 422, "invalid_input")
    assert problem["detail"] == "reason: must not be blank or contain control characters"


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
@pytest.mark.parametrize("mode", ["check", "consume", "reserve"])
def test_invalid_fields(
    service: httpx.Client, holder: Holder, field: str, value: str, mode: str
) -> None:
    body = {"organization_id": f'"{holder.organization_id}"', "mode": f'"{mode}"', field: value}
    content = "{" + ",".join(f'"{name}": {text}' for name, text in body.items()) + "}"
    problem = refused(raw(service, content.encode()), 422, "invalid_input")
    assert problem["field"] == field


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_invalid_fields_in_a_batch_fail_only_their_item(
    service: httpx.Client, holder: Holder, field: str, value: str
) -> None:
    organization_id = f'"{holder.organization_id}"'
    body = {"organization_id": organization_id, "mode": '"check"', field: value}
    bad = "{" + ",".join(f'"{name}": {text}' for name, text in body.items()) + "}"
    good = '{"organization_id": ' + organization_id + "}"
    content = '{"items": [' + f"{good}, {bad}, {good}" + "]}"
    response = service.post(
        CHECK_EXECUTIONS_BATCH, content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [result["status"] for result in results] == [200, 422, 200]
    assert results[1]["code"] == "invalid_input"
    assert results[1]["field"] == field


def test_missing_organization(service: httpx.Client) -> None:
    problem = refused(raw(service, b"{}"), 422, "invalid_input")
    assert problem["field"] == "organization_id"
    assert problem["detail"] == "organization_id is required."


@pytest.mark.parametrize("executions", [0, -1, 1_000_001, 1.5, "1", True, 2])
def test_invalid_commit(service: httpx.Client, reservation_id: str, executions: Any) -> None:
    path = f"/billing/reservations/{reservation_id}/commit"
    response = service.post(path, json={"executions": executions})
    assert refused(response, 422, "invalid_input")["field"] == "executions"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": "\u00a0 "}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "r" * 501}, "reason"),
        ({"reason": "a\0b"}, "reason"),
        ({"reason": "r", "executions": 0}, "executions"),
        ({"reason": "r", "executions": -1}, "executions"),
        ({"reason": "r", "executions": 2}, "executions"),
        ({"reason": "r", "executions": "1"}, "executions"),
    ],
)
def test_invalid_refund(service: httpx.Client, event_id: str, body: Any, field: str | None) -> None:
    response = service.post(f"/billing/executions/{event_id}/refund", json=body)
    assert refused(response, 422, "invalid_input").get("field") == field
