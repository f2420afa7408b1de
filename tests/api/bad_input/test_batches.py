"""Invalid items of a batch: each fails on its own, the others are decided."""

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import PROBLEM_FIELDS, refused
from tests.factories import Holder

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "item",
    [
        "null",
        "1",
        '"x"',
        "[]",
        "true",
        "{}",
        '{"organization_id": "x", "executions": 1e999}',
        '{"organization_id": "x", "executions": -1e999}',
        '{"organization_id": "x", "executions": ' + "9" * 5_000 + "}",
        '{"organization_id": "x", "note": 1e999, "executions": 0}',
        r'{"organization_id": "x", "workflow": "Invoice \ud83d"}',
        r'{"organization_id": "x", "workflow": "\udc00 cut"}',
        r'{"organization_id": "x", "note": "\ud83d\ud83d", "\ude00": 1}',
    ],
)
def test_invalid_item(service: httpx.Client, holder: Holder, item: str) -> None:
    good = f'{{"organization_id": "{holder.organization_id}"}}'
    content = f'{{"items": [{good}, {item}, {good}]}}'
    response = service.post(CHECK_EXECUTIONS_BATCH, content=content, headers=JSON)
    assert response.status_code == 200, response.text
    first, bad, last = response.json()["results"]
    assert (first["status"], bad["status"], last["status"]) == (200, 422, 200)
    assert tuple(bad)[:5] == PROBLEM_FIELDS
    assert bad["code"] in {"invalid_input", "malformed_json"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"items": [{"a": 1},]}',
        b'{"items": [{"a" 1}]}',
        b'{"items": [nul]}',
        b'{"items": [1',
        b'{"items": [{"workflow": "\xff"}]}',
        b'{"items": [{"workflow": "\\ud83d"}, NaN]}',
    ],
)
def test_batch_that_is_not_json(service: httpx.Client, content: bytes) -> None:
    response = service.post(CHECK_EXECUTIONS_BATCH, content=content, headers=JSON)
    refused(response, 422, "malformed_json")
